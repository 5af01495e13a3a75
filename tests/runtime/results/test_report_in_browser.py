"""The report in a real browser: it draws, answers to keys, fits a phone, and has no error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Page
from helpers.reports import CHECKED, DESKTOP, FRAME, PHONE, PIXEL, READY, opened, report_result
from samotion.results import write as output
from samotion.results.colours import palette
from samotion.results.report import frames, index

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("objects", [0, 2, 20])
def test_it_is_drawn_without_an_error(
    page: Page, tmp_path: Path, objects: int, size: tuple[int, int], dark: bool
) -> None:
    opened(page, tmp_path, report_result(objects), size, dark)
    assert page.run("document.querySelectorAll('.objects li').length") == objects
    assert page.run("document.querySelectorAll('.timeline .row').length") == objects
    assert page.run("document.documentElement.scrollWidth") == size[0]
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(16, 19, 23)") == dark
    for key in ("t", "ArrowRight", "m", "End"):
        page.press(key)
    page.run("document.querySelectorAll('.layers button').forEach((one) => one.click())")
    page.wait(f"{FRAME} === 5")
    assert page.problems == []


def test_keys_play_step_and_choose_objects(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    page.press("ArrowRight")
    page.wait(f"{FRAME} === 1")
    page.press("Home")
    page.wait(f"{FRAME} === 0")
    page.press(" ")
    assert page.run("document.querySelector('.play').ariaLabel") == "pause"
    page.wait(f"{FRAME} > 1")
    page.press(" ")
    assert page.run("document.querySelector('.play').ariaLabel") == "play"
    page.press("2")
    assert page.run(CHECKED) == [False, True]
    page.press("a")
    assert page.run(CHECKED) == [True, True]
    page.run("document.querySelector('.tint input').focus()")
    page.press("Home")
    page.press("ArrowRight")
    assert page.run("document.querySelector('.tint input').value") == "1"
    assert page.problems == []


def test_masks_of_objects_are_switched_on_and_off(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    inside = PIXEL.format(10, 8)
    with_mask = page.run(inside)
    page.run("document.querySelector('.objects input').click()")
    plain = page.run(inside)
    expected = [0.55 * a + 0.45 * b for a, b in zip(plain[:3], palette()[1].tolist())]
    assert with_mask[:3] == pytest.approx(expected, abs=1.5)
    outside = PIXEL.format(10, 100)
    before = page.run(outside)
    page.run("document.querySelector('.objects input').click()")
    assert page.run(inside) == with_mask and page.run(outside) == before


def pressed_at(page: Page, selector: str, across: float = 0.5) -> None:
    """A mouse press on an element, so far across it."""
    page.run(f"document.querySelector('{selector}').scrollIntoView({{ block: 'center' }})")
    area = page.box(selector)
    x, y = area["x"] + across * area["width"], area["y"] + area["height"] / 2
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, x, y)


def test_the_timeline_is_pressed_to_seek(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    pressed_at(page, ".timeline svg", 0.7)
    page.wait(f"{FRAME} === 4")
    for beside in (".row .name", ".axis"):
        pressed_at(page, beside, 0.3)
        assert page.run(FRAME) == 4, beside
    assert page.problems == []


def test_an_object_that_is_pressed_is_shown_alone_and_then_all_are(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, report_result(20))
    pressed_at(page, ".stage", 0.59)
    assert page.run(CHECKED) == [number == 14 for number in range(1, 21)]
    pressed_at(page, ".stage", 0.59)
    assert page.run(CHECKED) == [True] * 20


def test_keys_go_back_and_stay_in_the_clip_and_playing_begins_anew(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, report_result())
    for key, frame in (("End", 5), ("ArrowRight", 5), ("ArrowLeft", 4), ("ArrowRight", 5)):
        page.press(key)
        assert page.run(FRAME) == frame
    plain, masks = PIXEL.format(20, 8), "document.querySelector('.layers button').ariaPressed"
    before = page.run(plain)
    page.press("m")
    assert page.run(masks) == "false" and page.run(plain) != before
    page.run("window.requestAnimationFrame = () => 0")
    page.press(" ")
    assert page.run(FRAME) == 0


def test_space_plays_after_a_click_and_presses_what_was_reached_by_tab(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, report_result())
    layers = "[...document.querySelectorAll('.layers button')].map((one) => one.ariaPressed)"
    before = page.run(layers)
    play = "document.querySelector('.play').ariaLabel"
    pressed_at(page, ".layers button")
    assert page.run(layers) == ["false", *before[1:]]
    for told in ("pause", "play"):
        page.press(" ")
        assert page.run(play) == told
        assert page.run(layers) == ["false", *before[1:]]
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    page.press(" ")
    assert page.run(play) == "play"
    assert before[1] == "true" and page.run(layers) == ["false", "false", *before[2:]]


def test_frames_are_told_apart_and_as_they_are_shown(page: Page, tmp_path: Path) -> None:
    result = report_result()
    late = replace(result.clip, timestamps_s=np.array([0.0, 12.0, 12.04, 12.08, 12.12, 12.16]))
    path = output.write(replace(result, clip=late), tmp_path, ("report",)) / "report.html"
    page.open(path)
    page.wait(READY)
    for key in ("ArrowRight", "ArrowRight"):
        page.press(key)
    shown = page.run("document.querySelector('.clock').textContent")
    assert shown == "frame 6 · 12.04 s"
    assert page.run("document.querySelector('.bar input').ariaValueText") == shown
    named = "[...document.querySelectorAll('.strip button')].map((one) => [one.textContent, {}])"
    pictures = page.run(named.format("one.querySelector('img').alt"))
    assert pictures == [["frame 6", "Motion map, frame 6"], ["frame 0", "Depth, frame 0"]]


def luminance(rgb: Sequence[float]) -> float:
    """That of WCAG 2, from levels up to 255."""
    share = np.array(rgb[:3]) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def levels(colour: str) -> list[int]:
    """Of rgb(1, 2, 3) or #010203."""
    if colour.startswith("#"):
        return list(bytes.fromhex(colour[1:]))
    return [int(level) for level in re.findall(r"\d+", colour)]


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_not_seen_or_not_chosen_can_be_read(page: Page, tmp_path: Path, dark: bool) -> None:
    opened(page, tmp_path, report_result(), dark=dark)
    page.press("End")
    page.press("2")
    ground = levels(page.run("getComputedStyle(document.querySelector('.card')).backgroundColor"))
    style = "getComputedStyle(document.querySelector('{}')).{}"
    for text in ("li.gone b", "li.gone .score", "li.gone .more", ".row.off .name"):
        assert contrast(levels(page.run(style.format(text, "color"))), ground) > 4.5, text
        assert page.run(f"document.querySelector('{text}').checkVisibility({{opacity: true}})")
    for faded in ("li.gone", ".row.off"):
        assert page.run(style.format(faded, "opacity")) == "1"
        assert page.run(style.format(f"{faded} .chip", "opacity")) == "0.3"


def test_names_on_the_clip_are_black_or_white_whichever_is_read_better(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, report_result(20))
    page.run("""{
      const pen = CanvasRenderingContext2D.prototype;
      let ground;
      window.names = [];
      pen.fill = function () { ground = this.fillStyle; };
      pen.fillText = function () { window.names.push([ground, this.fillStyle]); };
    }""")
    page.press("ArrowRight")
    page.wait("window.names.length === 20")
    for ground, ink in page.run("window.names"):
        black, white = (contrast(levels(ground), (level,) * 3) for level in (0, 255))
        assert contrast(levels(ground), levels(ink)) == max(black, white)


def test_a_print_holds_all_objects_and_their_colours(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result(20))
    page.send("Emulation.setEmulatedMedia", media="print")
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.run(style.format(".side > .card", "maxHeight")) == "none"
    assert page.run(style.format(".side > .card", "position")) == "static"
    for coloured in (".objects .chip", ".row .chip", ".fill"):
        assert page.run(style.format(coloured, "printColorAdjust")) == "exact", coloured
    assert page.run(style.format(".copy", "display")) == "none"
    page.send("Emulation.setEmulatedMedia", media="")


def test_the_chart_of_scores_has_a_name(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, report_result())
    name = page.run("document.querySelector('svg.chart').ariaLabel")
    assert name == "Histogram of the motion scores of 40 tracks"


@pytest.mark.parametrize("clipboard", ["undefined", "{ writeText: () => Promise.reject() }"])
@pytest.mark.parametrize("copies, told", [("true", "Copied"), ("false", "Press Ctrl+C")])
def test_the_command_is_copied_where_there_is_no_clipboard(
    page: Page, tmp_path: Path, clipboard: str, copies: str, told: str
) -> None:
    opened(page, tmp_path, report_result())
    page.run(f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})")
    page.run(f"document.execCommand = (name) => {{ window.asked = name; return {copies}; }}")
    page.run("document.querySelector('.copy').click()")
    page.wait(f"document.querySelector('.copy').textContent === '{told}'")
    assert page.run("window.asked") == "copy"
    command = "document.querySelector('pre').textContent.replace(/\\s/g, '')"
    assert page.run("getSelection().toString().replace(/\\s/g, '')") == page.run(command)
    assert page.problems == []


def test_a_page_of_every_second_frame_says_so(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(page, tmp_path / "all", report_result())
    assert page.run("document.querySelector('.held')") is None
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)
    opened(page, tmp_path / "half", report_result())
    assert "1 of every 2 frames" in page.run("document.querySelector('.held').textContent")


def test_the_index_links_to_reports(page: Page, tmp_path: Path) -> None:
    for name in ("#1 50%", "b & <c>"):
        output.write(report_result(name=name), tmp_path, ("report",))
    path = index.write_index(tmp_path)
    assert path
    page.problems.clear()
    page.open(path, PHONE)
    assert page.run("document.querySelectorAll('.clips img').length") == 2
    assert page.run("[...document.images].every((one) => one.naturalWidth > 0)")
    assert page.run("document.documentElement.scrollWidth") == PHONE[0]
    fit = page.run("getComputedStyle(document.querySelector('.clips img')).objectFit")
    assert fit == "contain"  # upright clips are shown whole
    for number, title in ((0, "#1 50%"), (1, "b & <c>")):
        page.open(path)
        page.run(f"document.querySelectorAll('.clips a')[{number}].click()")
        page.wait(READY)
        assert page.run("document.querySelector('h1').textContent") == title
    assert page.problems == []
