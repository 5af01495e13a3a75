"""The report's list of objects, timeline, charts and tables, in a real browser: what they say and
where they draw it, against the result.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Page
from helpers.reports import CHECKED, FRAME, PIXEL, opened, report_result
from samotion.results.colours import palette
from samotion.results.report import frames

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

HIGH = 28.0  # of a lane of the timeline


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.run(
        f"[...document.querySelectorAll('{selector}')].map((one) => one.textContent)"
    )
    return found


def attributes(page: Page, selector: str, *names: str) -> list[list[str]]:
    """Some attributes of all elements."""
    get = ", ".join(f"one.getAttribute('{name}')" for name in names)
    found: list[list[str]] = page.run(
        f"[...document.querySelectorAll('{selector}')].map((one) => [{get}])"
    )
    return found


def test_the_list_says_how_much_of_each_object_is_seen(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    assert texts(page, ".objects .score") == ["0.99", "0.98"]
    assert texts(page, ".objects .more") == [
        "in 6 of 6 frames · 1.5 % of the picture · 2 tracks · confidence 0.90",
        "in 5 of 6 frames · 1.5 % of the picture · 2 tracks · confidence 0.90",
    ]
    for number, expected in ((1, False), (0, True)):
        page.run(f"document.querySelectorAll('.all button')[{number}].click()")
        assert page.run(CHECKED) == [expected] * 2


def test_a_lane_shows_areas_sureness_prompts_and_cuts(page: Page, tmp_path: Path) -> None:
    result = replace(report_result(), cuts=(9,))  # the number of the fourth frame
    result.labels[2, :8][result.labels[2, :8] == 1] = 0  # half of it
    result.tracks.visible[:2] = True
    result.tracks.visible[:2, 3] = False
    opened(page, tmp_path, result)
    first, second = (one for (one,) in attributes(page, ".row svg path:first-child", "d"))
    own = np.count_nonzero(result.labels == 1, axis=(1, 2))
    bars = {int(x): float(y) for x, y in re.findall(r"M(\d+) 28V([\d.]+)h1.02V28z", first)}
    heights = {frame: HIGH - 3 - 22 * n / own.max() for frame, n in enumerate(own)}
    assert bars == pytest.approx(heights, abs=0.01)
    assert re.findall(r"M(\d+)", second) == ["0", "1", "2", "3", "4"]
    (line, *_) = (one for (one,) in attributes(page, ".row path.sure", "d"))
    told = [
        (kind, float(x), float(y)) for kind, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", line)
    ]
    sure = (result.tracks.visibility * result.tracks.confidence)[:2].mean(axis=0)
    seen = [0, 1, 2, 4, 5]
    assert "".join(kind for kind, _, _ in told) == "MLLML"
    assert [x for _, x, _ in told] == [frame + 0.5 for frame in seen]
    expected = HIGH - 2 - 24 * sure[seen]
    assert [y for _, _, y in told] == pytest.approx(expected.tolist(), abs=0.03)
    assert attributes(page, ".row .prompt", "x1", "x2") == [["0.5", "0.5"]] * 2
    assert attributes(page, ".row .cut", "x1", "x2") == [["3", "3"]] * 2
    assert texts(page, ".key span") == [
        "mask area, of its largest",
        "how sure its tracks are, 0 to 1",
        "prompted here",
        "another scene begins",
    ]


def test_the_timeline_tells_times_and_where_the_clip_is(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    assert "another scene begins" not in texts(page, ".key span")
    # frames 0, 1, 3, 4 and 5, an eighth of a second apart
    assert texts(page, ".axis span") == ["0.00 s", "0.13 s", "0.38 s", "0.50 s", "0.63 s"]
    for key, frame in (("ArrowRight", 1), ("End", 5)):
        page.press(key)
        lane = page.box(".row svg")
        at = lane["left"] + (frame + 0.5) / 6 * lane["width"]
        assert page.box(".playhead")["left"] == pytest.approx(at, abs=2)


def test_the_timeline_follows_a_pointer_that_is_held_down(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    page.run("document.querySelector('.timeline svg').scrollIntoView({ block: 'center' })")
    lane = page.box(".timeline svg")

    def mouse(kind: str, frame: int, held: bool = False) -> None:
        page.mouse(kind, lane["left"] + (frame + 0.5) / 6 * lane["width"], lane["top"] + 5, held)

    mouse("mousePressed", 1)
    page.wait(f"{FRAME} === 1")
    mouse("mouseMoved", 4, held=True)
    page.wait(f"{FRAME} === 4")
    mouse("mouseReleased", 4)
    mouse("mouseMoved", 2)
    assert page.run(FRAME) == 4


def test_bars_of_the_histogram_stand_for_scores(page: Page, tmp_path: Path) -> None:
    result = report_result()
    scores = np.concatenate([np.full(16, 0.01), np.full(4, 0.36), np.full(19, 0.99), [0.61]])
    opened(page, tmp_path, replace(result, scores=scores.astype(np.float32)))
    counts, edges = np.histogram(scores, 40, (0, 1))
    high, left, right = 170, 34, 394
    bars = attributes(page, ".chart rect", "x", "y", "width", "height", "fill")
    titles = texts(page, ".chart rect title")
    assert len(bars) == len(titles) == len(counts)
    for bar, count, edge, title in zip(bars, counts, edges, titles):
        x, y, width, height = map(float, bar[:4])
        assert height == pytest.approx(np.sqrt(count / 19) * (high - 24), abs=0.01)
        assert y + height == pytest.approx(high, abs=0.01)
        assert x == pytest.approx(left + edge * (right - left) + 0.5, abs=0.01)
        assert width == pytest.approx((right - left) / 40 - 1, abs=0.01)
        tracks = f"{count} track{'s' * int(count != 1)}"
        assert title == f"{edge:.3f} to {edge + 0.025:.3f}: {tracks}"
    blue, red = (list(map(int, re.findall(r"\d+", bars[k][4]))) for k in (0, 39))
    assert blue[2] > 2 * blue[0] and red[0] > 2 * red[2]  # from still to moving
    ((x1, x2),) = attributes(page, ".chart .threshold", "x1", "x2")
    assert float(x1) == float(x2) == pytest.approx(left + 0.75 * (right - left))
    marks = attributes(page, ".chart text", "x", "y")
    told = dict(zip(texts(page, ".chart text"), marks))
    shares = {"0", "0.25", "0.5", "0.75", "1"}
    assert set(told) == {"19", "5", "motion score", "moving above 0.75"} | shares
    assert float(told["0.25"][0]) == pytest.approx(left + 0.25 * (right - left))
    assert float(told["19"][1]) == pytest.approx(high - (high - 24) + 4)
    assert float(told["5"][1]) == pytest.approx(high - np.sqrt(5 / 19) * (high - 24) + 4)


def test_times_of_stages_have_bars(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    rows = texts(page, ".stages tr")
    assert rows == ["video0.10 s", "tracks0.90 s", "masks0.50 s"]
    shares = page.run("[...document.querySelectorAll('.fill')].map((one) => one.style.width)")
    assert [float(share[:-1]) for share in shares] == pytest.approx(
        [100 / 9, 100, 500 / 9], abs=0.01
    )
    assert "1.50 s in all, without writing" in texts(page, "small")


def test_a_map_is_pressed_to_see_its_frame(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)  # frames 0, 2 and 4
    opened(page, tmp_path, report_result())
    page.run("document.querySelector('.strip button').click()")  # the motion map of frame 2
    page.wait(f"{FRAME} === 1")


def test_tables_hold_what_a_run_was_asked(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    assert texts(page, "summary")[0] == "Settings"
    rows = dict(zip(texts(page, ".plain td:first-child"), texts(page, ".plain td:last-child")))
    assert rows["max_objects"] == "10" and rows["max_frames"] == "no limit"


def test_a_copied_command_can_be_copied_again(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    # frames that are decoded ahead wait for 0 ms
    page.run("""{
      const plain = window.setTimeout;
      window.setTimeout = (work, ms) => { ms ? window.later = [work, ms] : plain(work, ms); };
    }""")
    page.run("document.querySelector('.copy').click()")
    page.wait("document.querySelector('.copy').textContent !== 'Copy' && window.later")
    assert page.run("window.later[1]") == 3000
    page.run("window.later[0]()")
    assert texts(page, ".copy") == ["Copy"]


def test_all_frames_are_decoded_ahead(page: Page, tmp_path: Path) -> None:
    count = """{
      const plain = HTMLImageElement.prototype.decode;
      window.decoded = 0;
      HTMLImageElement.prototype.decode = function () { window.decoded++; return plain.call(this); };
    }"""
    added = page.send("Page.addScriptToEvaluateOnNewDocument", source=count)
    opened(page, tmp_path, report_result())
    page.wait("window.decoded === 6")
    page.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_controls_of_the_player(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    moved = """{{
      const slider = document.querySelector('{} input');
      slider.value = {};
      slider.dispatchEvent(new Event('input'));
    }}"""
    page.run(moved.format(".bar", 3))
    page.wait(f"{FRAME} === 3")
    legend = "document.querySelector('.legend').checkVisibility()"
    assert not page.run(legend)
    page.press("t")
    assert page.run(legend)
    page.press("t")
    page.press("1")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="a", modifiers=2)  # with Ctrl
    assert page.run(CHECKED) == [True, False]
    page.run(moved.format(".tint", 100))
    assert page.run(PIXEL.format(15, 8))[:3] == palette()[1].tolist()
    assert page.problems == []


def test_playing_goes_round_and_follows_a_jump(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    for frame in range(1, 6):  # all decoded, or playing would wait for them
        page.press("ArrowRight")
        page.wait(f"{FRAME} === {frame}")
    page.press("Home")
    page.run("window.requestAnimationFrame = (work) => { window.next = work; }")
    page.run("performance.now = () => 5000")
    page.press(" ")

    def at(seconds: float) -> int:
        """The frame at a time of the clip."""
        page.run(f"window.next({5000 + 1000 * seconds})")
        frame: int = page.run(FRAME)
        return frame

    shown = {time: at(time) for time in (0.01, 0.13, 0.30, 0.62, 0.70)}
    assert shown == {0.01: 0, 0.13: 1, 0.30: 2, 0.62: 4, 0.70: 5}
    assert at(0.76) == 0  # the last frame is seen as long as the others
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert at(0.01) == 2  # 0.26 s of the clip
    assert at(0.13) == 3
