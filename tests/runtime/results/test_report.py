"""The report tells what was found, stays small, and lets nothing in from outside."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from helpers.reports import report_result
from samotion.results import overlay
from samotion.results import write as output
from samotion.results.colours import hex_colour, palette
from samotion.results.report import frames, index, points
from samotion.results.result import Result
from samotion.results.windows import TrackWindow


def saved(result: Result, folder: Path, **info: Any) -> str:
    return (output.write(result, folder, ("report",), run_info=info) / "report.html").read_text()


def told(page: str) -> dict[str, Any]:
    """The data that the page's scripts read."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    facts: dict[str, Any] = json.loads(found[1])
    return facts


def from_runs(runs: list[int], size_wh: list[int]) -> np.ndarray:
    return np.repeat(runs[1::2], runs[::2]).reshape(size_wh[::-1])


def picture(text: str) -> np.ndarray:
    read = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    return read


def test_frames_and_masks_are_those_of_the_clip(tmp_path: Path) -> None:
    result = report_result()
    facts = told(saved(result, tmp_path))
    assert facts["size"] == [140, 110] and facts["numbers"] == [0, 3, 6, 9, 12, 15]
    for t, (jpeg, runs) in enumerate(zip(facts["frames"], facts["masks"])):
        np.testing.assert_array_equal(from_runs(runs, facts["size"]), result.labels[t])
        difference = picture(jpeg)[..., ::-1].astype(int) - result.clip.frames[t]
        assert np.abs(difference).mean() < 5


def test_objects_have_areas_boxes_prompts_and_how_sure_their_tracks_are(tmp_path: Path) -> None:
    result = report_result()
    one, two = told(saved(result, tmp_path))["objects"]
    assert (one["id"], one["score"], one["confidence"], one["tracks"]) == (1, 0.99, 0.9, 2)
    assert one["colour"] == hex_colour(1) != two["colour"]
    assert one["areas"] == [round(14 * 16 / (110 * 140), 6)] * 6 and two["areas"][5] == 0
    assert one["boxes"][1] == [3, 1, 16, 14] and two["boxes"][5] is None
    assert one["names"][1] == [11, 1] and two["names"][5] is None
    assert one["prompts"] == [0] and one["clicks"] == {"0": [[9.5, 7.5, 1], [10.5, 7.5, 0]]}
    tracks, members = result.tracks, result.evidence.prompts[0].members
    for frame, value in enumerate(one["sureness"]):
        own = members[tracks.visible[members, frame]]
        sure = (tracks.visibility * tracks.confidence)[own, frame]
        assert value == (pytest.approx(sure.mean(), abs=1e-3) if len(own) else None)


def test_tracks_are_packed_at_a_16th_of_a_pixel(tmp_path: Path) -> None:
    result = report_result()
    tracks = told(saved(result, tmp_path))["tracks"]
    packed = np.frombuffer(base64.b64decode(tracks["xy"]), "<u2").reshape(40, 6, 2)
    hidden = (packed == points.HIDDEN).all(axis=-1)
    np.testing.assert_array_equal(hidden, ~result.tracks.visible)
    xy = packed / points.SUBPIXEL - points.MARGIN_PX
    np.testing.assert_allclose(xy[~hidden], result.tracks.xy[~hidden], atol=1 / 16)
    assert tracks["scores"] == np.round(result.scores.astype(float), 3).tolist()


def test_of_many_tracks_moving_and_still_ones_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MAX_TRACKS", 12)
    result = report_result()
    drawn = result.scores[points.chosen_tracks(result.scores, 0.75)]
    assert len(drawn) == 12 and (drawn > 0.75).sum() == 6
    assert drawn.min() == 0 and drawn.max() == 1
    for threshold, moving in ((None, 6), (0.95, 2), (0.05, 10)):  # as many as there are
        drawn = result.scores[points.chosen_tracks(result.scores, threshold)]
        assert len(drawn) == 12 and (drawn > (threshold or 0.5)).sum() == moving


def test_tracks_far_outside_the_picture_stay_there(tmp_path: Path) -> None:
    result = report_result()
    result.tracks.visible[0] = True
    result.tracks.xy[0, :3] = [(9000, -9000), (np.nan, 5), (5, np.inf)]
    packed = told(saved(result, tmp_path))["tracks"]["xy"]
    first = np.frombuffer(base64.b64decode(packed), "<u2").reshape(40, 6, 2)[0]
    assert first[:3].tolist() == [[points.HIDDEN - 1, 0], *[[points.HIDDEN] * 2] * 2]


def test_boxes_clicks_and_tracks_are_in_px_of_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "LONG_SIDE_PX", 70)
    result = report_result()
    facts = told(saved(result, tmp_path))
    assert facts["size"] == [70, 55]
    one = facts["objects"][0]
    assert one["boxes"][1] == [1.5, 0.5, 8, 7] and one["names"][1] == [5.5, 0.5]
    assert one["clicks"] == {"0": [[4.5, 3.5, 1], [5, 3.5, 0]]}
    packed = np.frombuffer(base64.b64decode(facts["tracks"]["xy"]), "<u2").reshape(40, 6, 2)
    xy = packed / points.SUBPIXEL - points.MARGIN_PX
    visible = result.tracks.visible
    np.testing.assert_allclose(xy[visible], (result.tracks.xy[visible] + 0.5) / 2 - 0.5, atol=0.05)


def test_scores_times_settings_and_command_are_told(tmp_path: Path) -> None:
    result = report_result()
    late = replace(result, clip=replace(result.clip, timestamps_s=result.clip.timestamps_s + 9))
    page = saved(late, tmp_path, command="samotion-run 'my clip.mp4'")
    assert "frames over 0.6 s" in re.sub("<.*?>", " ", page).replace("  ", " ")
    facts = told(page)
    assert facts["times"] == np.round(result.clip.timestamps_s, 4).tolist()
    assert sum(facts["histogram"]["counts"]) == facts["histogram"]["total"] == 40
    assert facts["histogram"]["threshold"] == 0.75
    assert facts["stages"] == {"video": 100.0, "tracks": 900.0, "masks": 500.0}
    assert ["max_tracks", "1728"] in facts["settings"]
    assert ["max_frames", "no limit"] in facts["settings"]
    assert facts["command"] == "samotion-run 'my clip.mp4'"
    assert [frame for frame, _ in facts["depth"]] == [0]
    assert picture(facts["motion"][0][1]).shape == (10, 14, 3)
    half = told(saved(replace(result, scores=result.scores / 2), tmp_path / "half"))["histogram"]
    assert half["counts"] == [*[2] * 19, 1, 1, *[0] * 19]


def test_a_result_that_no_command_made_tells_the_python_for_it(tmp_path: Path) -> None:
    command = told(saved(report_result(), tmp_path))["command"]
    assert "samotion.segment_clip(frames, engines" in command and "seed=0" in command
    info = {"command": None, "engine_folder": "my engines"}
    command = told(saved(report_result(), tmp_path / "more", **info))["command"]
    assert "samotion.open_engines('my engines')" in command
    of_file = replace(report_result(), clip=replace(report_result().clip, path="my clip.mp4"))
    command = told(saved(of_file, tmp_path / "file"))["command"]
    assert "samotion.segment_clip('my clip.mp4', engines" in command


def test_the_head_tells_how_much_was_found_in_what(tmp_path: Path) -> None:
    engines = {"depth": {"precision": "fp32", "sha256": "ab" * 32}}
    info = {"preset": "nano", "device": "cpu", "engines": engines, "versions": {"numpy": "2.1"}}
    page = saved(report_result(1), tmp_path, **info)
    head = re.findall("<b>([^<]*)</b> ([^<]*)</span>", page)
    assert head[:2] == [("1", "moving object"), ("6", "frames over 0.6 s")]
    assert head[2:4] == [("280×220", "pixels"), ("40", "tracks")]
    assert head[4:] == [("1.5 s", "to compute"), ("nano", "on cpu")]
    assert "<b>0</b> moving objects<" in saved(report_result(0), tmp_path / "none")
    warned = saved(report_result(warnings=("too dark",)), tmp_path / "warned")
    assert '<div class="warnings" role="note"><p>too dark</p></div>' in warned
    assert '<div class="warnings"' not in page
    facts = told(page)
    assert facts["engines"] == [["depth", "fp32, sha256 abababababababab…"]]
    assert ["numpy", "2.1"] in facts["versions"]


def test_maps_are_coloured_each_in_its_own_way(tmp_path: Path) -> None:
    facts = told(saved(report_result(), tmp_path))
    for kind, frame, level, colours in (
        ("depth", 0, 90, cv2.COLORMAP_INFERNO),
        ("motion", 2, 200, cv2.COLORMAP_VIRIDIS),
    ):
        ((number, jpeg),) = facts[kind]
        wanted = cv2.applyColorMap(np.full((1, 1), level, np.uint8), colours)[0, 0]
        assert number == frame
        np.testing.assert_allclose(picture(jpeg)[5, 7], wanted, atol=8)


def test_the_thumbnail_is_the_frame_that_shows_most() -> None:
    result = report_result()
    result.labels[2, 60:100, 20:120] = 1
    shown = frames.thumbnail(np.asarray(result.clip.frames[2]), result.labels[2])
    assert frames.encode(result).thumbnail == shown
    large, flat = np.zeros((400, 640), np.uint8), np.zeros((4, 3000), np.uint8)
    for labels, hw in ((large, (200, 320)), (flat, (1, 320))):
        small = frames.thumbnail(np.dstack([labels] * 3), labels)
        assert picture(small).shape == (*hw, 3)


def test_a_clip_of_one_frame_has_its_picture() -> None:
    assert len(frames.encode(report_result(1, frame_count=1)).jpegs) == 1


def test_an_object_that_no_frame_shows_is_told_of(tmp_path: Path) -> None:
    result = report_result()
    result.labels[result.labels == 2] = 0
    _, two = told(saved(result, tmp_path))["objects"]
    assert (two["seen"], two["area"], set(two["boxes"])) == (0, 0, {None})


HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


def test_text_from_outside_is_text(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "|")
    page = saved(report_result(name=name, warnings=(HOSTILE,)), tmp_path, command=HOSTILE)
    assert "<img" not in page.split("</style>")[1] and page.count("</script>") == 2
    assert told(page)["command"] == HOSTILE
    assert "<title>&lt;|script&gt;&lt;img" in page


def test_names_that_are_no_unicode_are_written_all_the_same(tmp_path: Path) -> None:
    assert "caf\\udce9" in saved(report_result(name="caf\udce9"), tmp_path)


def test_an_object_is_told_of_though_no_frame_of_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)  # every third is in the page
    result = report_result(frame_count=25)
    result.labels[result.labels == 2] = 0
    result.labels[4, :14, :16] = 2
    result.labels[5, :14, :8] = 2
    facts = told(saved(result, tmp_path))
    assert len(facts["frames"]) == 9 and len(facts["allNumbers"]) == 25
    one, two = facts["objects"]
    assert (one["seen"], two["seen"]) == (25, 2) and set(two["boxes"]) == {None}
    largest = 14 * 16 / (110 * 140)
    assert two["areas"] == pytest.approx([0, largest, *[0] * 7], abs=1e-6)
    assert two["area"] == pytest.approx(0.75 * largest, abs=1e-6)
    tracks, members = result.tracks, result.evidence.prompts[0].members
    for value, frame in zip(one["sureness"], range(0, 25, 3)):
        own = members[tracks.visible[members, frame]]
        sure = (tracks.visibility * tracks.confidence)[own, frame]
        assert value == (pytest.approx(sure.mean(), abs=1e-3) if len(own) else None)


def test_prompts_of_frames_that_are_not_in_the_page_are_on_the_timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)  # frames 0, 2 and 4 are in the page
    result = report_result(1)
    click = replace(result.evidence.prompts[0].clicks[0], frame=3)
    prompts = (replace(result.evidence.prompts[0], clicks=(click, click)),)
    result = replace(result, evidence=replace(result.evidence, prompts=prompts))
    (one,) = told(saved(result, tmp_path))["objects"]
    assert one["prompts"] == [1] and len(one["clicks"]["3"]) == 4


def test_a_page_may_run_its_own_script_and_load_nothing(tmp_path: Path) -> None:
    page = saved(report_result(), tmp_path)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules["script-src"].startswith("'sha256-") and rules["style-src"].startswith("'sha256-")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page) == []
    assert re.findall(r'\b(?:src|href)="(?!data:)', page) == []


def test_a_long_or_large_clip_stays_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)
    monkeypatch.setattr(frames, "BUDGET_BYTES", 20_000)
    monkeypatch.setattr(frames, "SMALLEST_PX", 40)
    pictures = frames.encode(report_result(frame_count=25, hw=(220, 280)))
    assert pictures.chosen == list(range(0, 25, 3)) and pictures.size_wh[0] < 280
    assert sum(len(jpeg) * 3 / 4 for jpeg in pictures.jpegs) < 20_000
    for runs in pictures.runs:
        assert sum(runs[::2]) == pictures.size_wh[0] * pictures.size_wh[1]


def test_pictures_that_cannot_fit_are_of_the_smallest_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "BUDGET_BYTES", 100)
    monkeypatch.setattr(frames, "SMALLEST_PX", 40)
    assert frames.encode(report_result()).size_wh == (40, 31)


def test_a_fade_from_black_does_not_set_the_size_of_all_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "BUDGET_BYTES", 20_000)
    monkeypatch.setattr(frames, "SMALLEST_PX", 40)
    result = report_result(frame_count=12, hw=(220, 280))
    np.asarray(result.clip.frames)[0] = 0

    class Read:
        """Frames that are not held."""

        shape = result.clip.frames.shape
        __len__ = result.clip.frames.__len__
        __getitem__ = result.clip.frames.__getitem__

    clip = replace(result.clip, frames=cast(Any, Read()))
    pictures = frames.encode(replace(result, clip=clip))
    assert sum(len(jpeg) * 3 / 4 for jpeg in pictures.jpegs) < 20_000


def test_colours_of_objects_differ_and_show_on_dark_frames() -> None:
    colours = palette()
    assert len({tuple(colour) for colour in colours[1:].tolist()}) == 255
    assert (colours[1:64].max(axis=1) >= 120).all()
    assert hex_colour(1) == "#" + bytes(colours[1]).hex()


# The index


def test_index_shows_every_clip_that_has_a_report(tmp_path: Path) -> None:
    for name in ("b & c", "#1 50%"):
        saved(report_result(name=name, warnings=("w",)), tmp_path)
    output.write(report_result(name="without"), tmp_path, ("masks",))
    (tmp_path / "other").mkdir()
    assert index.write_index(tmp_path) == tmp_path / "index.html"
    page = (tmp_path / "index.html").read_text()
    assert re.findall(r'<a href="([^"]*)"', page) == [
        "%231%2050%25/report.html",
        "b%20%26%20c/report.html",
    ]
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert page.count("2 moving objects · 6 frames · 280×220 · 1 warning<") == 2
    assert "<b>b &amp; c</b>" in page and "script" not in page


def test_index_is_for_several_clips_and_takes_no_ones_place(tmp_path: Path) -> None:
    saved(report_result(name="a"), tmp_path)
    assert index.write_index(tmp_path) is None
    saved(report_result(name="b"), tmp_path)
    (tmp_path / "index.html").write_text("precious")
    assert index.write_index(tmp_path) is None
    assert (tmp_path / "index.html").read_text() == "precious"
    (tmp_path / "index.html").unlink()
    assert index.write_index(tmp_path) and index.write_index(tmp_path)


def test_an_index_is_kept_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        saved(report_result(1, name=name), tmp_path)
    path = index.write_index(".")
    assert path and f"<h1>{tmp_path.name}</h1>" in path.read_text()
    saved(report_result(1, name="caf\udce9"), tmp_path)
    record = json.loads((tmp_path / "b" / "run.json").read_text())
    (tmp_path / "b" / "run.json").write_text(json.dumps({**record, "status": "begun"}))
    monkeypatch.setattr(index, "MAX_PICTURES", 2)
    assert index.write_index(".")
    page = path.read_text()
    assert "<b>3</b> clips" in page and 'href="caf%E9/report.html"' in page
    assert page.count("<img") == 2  # the third has a link only
    assert page.count(">1 moving object · 6 frames") == 2 and page.count(">not finished<") == 1
    (tmp_path / "b" / "report.html").unlink()
    index.write_index(".")
    assert "<b>2</b> clips" in path.read_text()


def test_an_index_is_not_written_through_a_link(tmp_path: Path) -> None:
    for name in "ab":
        saved(report_result(name=name), tmp_path)
    for there in ("nothing", "a/report.html"):
        (tmp_path / "index.html").symlink_to(tmp_path / there)
        assert index.write_index(tmp_path) is None
        assert (tmp_path / "index.html").is_symlink()
        (tmp_path / "index.html").unlink()


def test_a_page_of_very_many_clips_counts_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MAX_TILES", 2)
    path = index.write_summary(tmp_path, [index.Row(f"{k}", "done", 6, 2) for k in range(3)])
    assert path
    page = path.read_text()
    assert re.findall("<b>3</b> ([a-z]+)<", page) == ["clips", "done"]
    assert page.count("<li") == 2


def test_a_batchs_page_shows_every_clip_with_what_became_of_it(tmp_path: Path) -> None:
    saved(report_result(name="b & c"), tmp_path / "x")
    rows = [
        index.Row("x/b & c", "done", 6, 2),
        index.Row("plain", "skipped", 3, 0),
        index.Row("<bad>", "failed", reason="it is <no> video"),
    ]
    path = index.write_summary(tmp_path, rows, "index-1-of-2.html")
    assert path == tmp_path / "index-1-of-2.html"
    page = path.read_text()
    assert re.findall(r'<a href="([^"]*)"', page) == ["x/b%20%26%20c/report.html"]
    assert page.count('<img src="data:image/jpeg;base64,') == 1
    names = re.findall('<b>([^<]*)</b><span class="([a-z]*)">([^<]*)<', page)
    assert names == [
        ("&lt;bad&gt;", "failed", "it is &lt;no&gt; video"),
        ("plain", "soft", "skipped · nothing moves · 3 frames"),
        ("x/b &amp; c", "soft", "done · 2 moving objects · 6 frames"),
    ]
    assert "<b>1</b> failed" in page and "script" not in page
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "x")
    outside = [index.Row(f"{name}/b & c", "done", 6, 2) for name in ("../x", "link")]
    led = index.write_summary(tmp_path / "out", outside)
    assert led is not None and "<img" not in led.read_text() and "<a " not in led.read_text()
    path.write_text("precious")
    assert index.write_summary(tmp_path, rows, path.name) is None and path.read_text() == "precious"


# A clip of several windows


def in_windows() -> tuple[Result, Result]:
    """A result of one window, and the same in two that overlap by two frames."""
    whole = report_result(2, frame_count=6)
    whole.tracks.visible[:] = True
    owners = whole.track_objects()
    parts = []
    for first, end in ((0, 4), (2, 6)):
        fields = ("xy", "visible", "visibility", "confidence")
        cut = {name: getattr(whole.tracks, name)[:, first:end] for name in fields}
        tracks = replace(whole.tracks, **cut)
        parts.append(TrackWindow(first, tracks, whole.scores, owners))
    none = whole.tracks.take(np.zeros(40, bool))
    evidence = replace(whole.evidence, prompts=())
    several = replace(whole, tracks=none, scores=whole.scores[:0], windows=parts, evidence=evidence)
    return whole, several


def test_tracks_of_windows_lie_where_their_frames_are(tmp_path: Path) -> None:
    whole, several = (told(saved(one, tmp_path / str(k))) for k, one in enumerate(in_windows()))
    once, twice = (
        np.frombuffer(base64.b64decode(facts["tracks"]["xy"]), "<u2").reshape(-1, 6, 2)
        for facts in (whole, several)
    )
    assert len(twice) == 80 and several["histogram"]["total"] == 80
    assert several["tracks"]["scores"] == np.repeat(whole["tracks"]["scores"], 2).tolist()
    order = np.argsort(np.r_[in_windows()[0].scores, in_windows()[0].scores], kind="stable")
    early, late = (twice[order < 40], twice[order >= 40])
    np.testing.assert_array_equal(early[:, :4], once[:, :4])
    np.testing.assert_array_equal(late[:, 2:], once[:, 2:])
    assert (early[:, 4:] == points.HIDDEN).all() and (late[:, :2] == points.HIDDEN).all()
    assert "<b>80</b> tracks" in saved(in_windows()[1], tmp_path / "head")
    for one, both in zip(whole["objects"], several["objects"]):
        assert both["tracks"] == 2 * one["tracks"] and both["sureness"] == one["sureness"]
        assert both["areas"] == one["areas"] and both["boxes"] == one["boxes"]


def test_trails_go_on_from_window_to_window() -> None:
    whole, several = in_windows()
    shown = [
        list(overlay.drawn(one, np.full((6, 220, 280, 3), 40, np.uint8), one.labels, ("trails",)))
        for one in (whole, several)
    ]
    for frame in range(4):
        same = (shown[0][frame] == shown[1][frame]).all()
        assert same == (frame < 2), frame  # later ones begin with their window
    assert (shown[1][5] != 40).any()


def test_cuts_stand_on_the_timeline_at_the_frames_that_are_in_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report_result(1, frame_count=6)
    numbers = whole.clip.indices
    cut = replace(whole, cuts=[int(numbers[3])])
    assert told(saved(cut, tmp_path / "all"))["cuts"] == [3]
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)  # frames 0, 2 and 4 are in the page
    assert told(saved(cut, tmp_path / "few"))["cuts"] == [2]
    assert told(saved(whole, tmp_path / "none"))["cuts"] == []
