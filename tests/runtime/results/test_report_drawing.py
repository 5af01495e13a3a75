"""What the report draws over a frame, in a real browser: every call to its canvas, against places
computed from the result.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Page
from helpers.reports import DESKTOP, FRAME, PHONE, opened, report_result
from samotion.results.colours import hex_colour
from samotion.results.report import frames
from samotion.results.result import Result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

# every call to the upper canvas, and the points of every path
RECORD = """{
  const wrap = (type, name, note) => {
    const plain = type.prototype[name];
    type.prototype[name] = function (...given) { note(this, given); return plain.apply(this, given); };
  };
  for (const name of ["moveTo", "lineTo"]) {
    wrap(Path2D, name, (path, given) => { (path.points ||= []).push(given); });
  }
  for (const name of ["clearRect", "moveTo", "lineTo", "arc", "strokeRect", "roundRect", "fillText",
      "fill", "stroke"]) {
    wrap(CanvasRenderingContext2D, name, (pen, given) => window.drawn.push({ name,
      given: given.map((one) => one.points || one),
      fill: pen.fillStyle, stroke: pen.strokeStyle, wide: pen.lineWidth }));
  }
}"""
VECTORS = "document.querySelector('.vectors')"
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE])
SCORE_COLOURS = np.array([[74, 134, 232], [170, 174, 182], [255, 122, 26]])  # of 0, 0.5 and 1


def drawn(page: Page, layers: str, key: str = "ArrowRight") -> list[dict[str, Any]]:
    """What is drawn, with some layers alone, on the frame that a key leads to."""
    page.run(f"""document.querySelectorAll('.layers button').forEach((one) => {{
      const wanted = '{layers}'.includes(one.textContent.toLowerCase());
      if (wanted !== (one.ariaPressed === 'true')) one.click();
    }})""")
    if page.run("!window.drawn"):
        page.run(RECORD)
    page.run("window.drawn = []")
    before = page.run(FRAME)
    page.press(key)
    page.wait(f"{FRAME} !== {before}")
    calls: list[dict[str, Any]] = page.run("window.drawn")
    last = max(k for k, call in enumerate(calls) if call["name"] == "clearRect")
    assert calls[last]["given"] == [0, 0, *canvas(page)]
    return calls[last + 1 :]


def canvas(page: Page) -> list[int]:
    """Width and height of the upper canvas, in the screen's px."""
    size: list[int] = page.run(f"[{VECTORS}.width, {VECTORS}.height]")
    return size


def scales(page: Page, result: Result) -> tuple[float, float]:
    """The screen's px of one of the clip's, and of one of the page's."""
    wide = canvas(page)[0]
    return wide / result.labels.shape[2], wide / page.run(f"{VECTORS}.clientWidth")


Segments = set[frozenset[tuple[float, float]]]


def expected_outline(own: np.ndarray) -> Segments:
    """Between the centres of four pixels each: a line cuts off those that are in a mask (H,W)."""
    segments: Segments = set()
    for y, x in np.ndindex(own.shape[0] - 1, own.shape[1] - 1):
        corners = [own[y, x], own[y, x + 1], own[y + 1, x + 1], own[y + 1, x]]
        sides = [(x + 1.0, y + 0.5), (x + 1.5, y + 1.0), (x + 1.0, y + 1.5), (x + 0.5, y + 1.0)]
        crossed = [side for k, side in enumerate(sides) if corners[k] != corners[(k + 1) % 4]]
        if len(crossed) == 2:
            segments.add(frozenset(crossed))
        elif crossed:
            segments |= {frozenset([sides[k - 1], sides[k]]) for k in range(4) if corners[k]}
    return segments


@SIZES
def test_outlines_run_between_the_pixels_of_objects(
    page: Page, tmp_path: Path, size: tuple[int, int]
) -> None:
    result = report_result()
    noise = np.random.default_rng(3).integers(0, 3, (6, 14, 22), np.uint8)
    result.labels[:] = 0
    result.labels[:, 95:109, 117:139] = noise  # all kinds of corners, to the last pixel but one
    opened(page, tmp_path, result, size)
    strokes = drawn(page, "outlines")
    scale, unit = scales(page, result)
    assert unit == pytest.approx(1 + (size == PHONE), rel=0.01)
    assert [call["name"] for call in strokes] == ["stroke"] * 4
    colours = [call["stroke"] for call in strokes]
    assert colours == ["#ffffff", hex_colour(1), "#ffffff", hex_colour(2)]
    assert [call["wide"] / unit for call in strokes] == pytest.approx([4.5, 2.2] * 2, abs=0.01)
    for call, label in zip(strokes, (1, 1, 2, 2)):
        points = [tuple(xy) for xy in np.round(np.array(call["given"][0]) / scale, 2).tolist()]
        segments = {frozenset(ends) for ends in zip(points[::2], points[1::2])}
        assert 2 * len(segments) == len(points)
        assert segments == expected_outline(result.labels[1] == label)


def test_lines_are_drawn_anew_for_another_window(page: Page, tmp_path: Path) -> None:
    result = report_result(1)
    opened(page, tmp_path, result)
    before = canvas(page)
    page.resize((700, 500))
    page.wait(f"{VECTORS}.width === {VECTORS}.clientWidth && {VECTORS}.width < {before[0]}")
    strokes = drawn(page, "outlines")
    scale, _ = scales(page, result)
    x, y = (np.array(strokes[0]["given"][0]) / scale).max(axis=0)
    assert (x, y) == pytest.approx((19, 15), abs=0.01)


def test_objects_that_are_not_chosen_have_no_lines(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result(20))
    page.press("2")
    calls = drawn(page, "outlines boxes names")
    assert all(call["stroke"] != hex_colour(one) for call in calls for one in (1, 3))
    assert [call["name"] for call in calls].count("fillText") == 1
    assert [call["name"] for call in calls].count("strokeRect") == 2


@SIZES
def test_boxes_and_names_stand_at_their_objects(
    page: Page, tmp_path: Path, size: tuple[int, int]
) -> None:
    result = report_result(20)
    result.labels[1][result.labels[1] == 20] = 0
    result.labels[1, 60:70, 124:140] = 20  # so far right that its name would leave the picture
    opened(page, tmp_path, result, size)
    calls = drawn(page, "boxes names")
    scale, unit = scales(page, result)
    boxes = [call["given"] for call in calls if call["name"] == "strokeRect"]
    names = [call["given"] for call in calls if call["name"] == "roundRect"]
    texts = [call["given"] for call in calls if call["name"] == "fillText"]
    grounds = [call["fill"] for call in calls if call["name"] == "fill"]
    assert grounds == [hex_colour(one.id) for one in result.objects]
    assert [text[0] for text in texts] == [f"{k + 1}  {0.99 - k / 100:.2f}" for k in range(20)]
    for k in range(20):
        y, x = np.nonzero(result.labels[1] == k + 1)
        x_px, y_px, w_px, h_px = x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1
        for box in boxes[2 * k : 2 * k + 2]:
            assert np.array(box) / scale == pytest.approx([x_px, y_px, w_px, h_px], abs=0.06)
        left, top, wide, high, _ = names[k]
        middle = (x_px + w_px / 2) * scale - wide / 2
        assert left == pytest.approx(np.clip(middle, 0, canvas(page)[0] - wide), abs=0.1)
        assert top == pytest.approx(max(0, y_px * scale - high - 3 * unit), abs=0.1)
        assert texts[k][1:] == pytest.approx([left + 5 * unit, top + high / 2 + unit])


def test_a_name_stands_above_the_largest_piece_of_its_object(page: Page, tmp_path: Path) -> None:
    result = report_result(1)
    result.labels[1, 60:80, 100:120] = 1  # the other is 16 x 14
    opened(page, tmp_path, result)
    calls = drawn(page, "names")
    scale, unit = scales(page, result)
    ((left, top, wide, high, _),) = [call["given"] for call in calls if call["name"] == "roundRect"]
    assert left + wide / 2 == pytest.approx(110 * scale, abs=0.1)
    assert top + high + 3 * unit == pytest.approx(60 * scale, abs=0.1)


def test_an_object_that_is_not_seen_has_neither_box_nor_name(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    names = [call["name"] for call in drawn(page, "boxes names", key="End")]
    assert names.count("strokeRect") == 2 and names.count("fillText") == 1


def test_boxes_and_names_are_switched_by_themselves(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result(1))
    assert {call["name"] for call in drawn(page, "boxes")} == {"strokeRect"}
    assert {call["name"] for call in drawn(page, "names")} == {"roundRect", "fill", "fillText"}


def test_prompts_are_drawn_on_their_frame(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)  # frames 0, 2 and 4
    result = report_result(1)
    (prompt,) = result.evidence.prompts
    (click,) = prompt.clicks
    moved = replace(prompt, clicks=(replace(click, frame=2),))
    result = replace(result, evidence=replace(result.evidence, prompts=(moved,)))
    opened(page, tmp_path, result)
    calls = drawn(page, "prompts")
    scale, unit = scales(page, result)
    discs = [call["given"] for call in calls if call["name"] == "arc"]
    fills = [call["fill"] for call in calls if call["name"] == "fill"]
    assert fills == [hex_colour(1), "#000000"]  # in the object, and outside
    for disc, (x, y) in zip(discs, click.points_xy, strict=True):
        assert disc[:3] == pytest.approx([x * scale, y * scale, 5 * unit], abs=0.06 * scale)
    lines = [call["name"] for call in calls if call["name"] in ("moveTo", "lineTo")]
    assert lines == ["moveTo", "lineTo"] * 3  # a plus and a minus
    (x, y, r), (from_xy, to_xy) = discs[1][:3], [call["given"] for call in calls[-3:-1]]
    assert from_xy + to_xy == pytest.approx([x - r / 2, y, x + r / 2, y])
    assert drawn(page, "prompts") == []


def test_tracks_have_tails_and_the_colours_of_their_scores(page: Page, tmp_path: Path) -> None:
    result = report_result(frame_count=14)
    result.tracks.visible[7] = True  # longer than its tail
    opened(page, tmp_path, result)
    calls = drawn(page, "tracks", key="End")
    scale, unit = scales(page, result)
    starts = [k for k, call in enumerate(calls) if call["name"] == "moveTo"]
    parts = [calls[a:b] for a, b in zip(starts, [*starts[1:], len(calls)])]
    tracks, last = result.tracks, 13
    seen = np.flatnonzero(tracks.visible[:, last])
    assert 10 < len(parts) == len(seen)
    lengths = set()
    for part, track in zip(parts, seen):
        tail = [last]
        while len(tail) < 9 and tracks.visible[track, tail[-1] - 1]:
            tail.append(tail[-1] - 1)
        lengths.add(len(tail))
        line, dot = part[: len(tail)], part[-2]
        assert [call["name"] for call in part[1:]] == ["lineTo"] * (len(tail) - 1) + [
            "stroke", "arc", "fill"
        ]  # fmt: skip
        places = np.array([call["given"] for call in line]) / scale
        assert places == pytest.approx(tracks.xy[track, tail], abs=0.04)
        assert dot["given"][:3] == pytest.approx([*line[0]["given"], 2.2 * unit])
        score = round(float(result.scores[track]), 3)
        colour = [np.interp(score, [0, 0.5, 1], one) for one in SCORE_COLOURS.T]
        assert list(bytes.fromhex(dot["fill"][1:])) == pytest.approx(colour, abs=0.51)
        assert part[-4]["stroke"] == dot["fill"]
    assert {1, 9} <= lengths
