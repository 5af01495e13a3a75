"""Clips of several windows: every frame answered, ids that stay, scenes that begin anew, and runs
that go on after a kill.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
from helpers import long_scene, media
from helpers.fakes import FakeEngines
from helpers.overlap import iou
from samotion import Settings, pipeline, png
from samotion.clips import video
from samotion.errors import InputError, OutputError
from samotion.pipeline import segment_clip, segment_to, segment_windows
from samotion.pipeline import windows as windows_of
from samotion.pipeline.seam import Seam, hand_on
from samotion.presets import FAST
from samotion.prompts import ObjectPrompt
from samotion.results import masks as masks_of
from samotion.results import parts
from samotion.results.evidence import spread_frames
from samotion.results.folder import locate, reserve
from samotion.results.record import read_record
from samotion.results.result import Found, Result
from samotion.tracks.records import Tracks

SETTINGS = Settings(window_frames=16, max_tracks=120)
KINDS = ("masks", "coco", "tracks")
REQUEST = {"request": {"clip": "square"}}


def test_an_object_in_view_throughout_has_one_id_also_where_it_stands_for_whole_windows() -> None:
    still = range(20, 56)
    clip, truth = long_scene.frames(70, still), long_scene.masks(70, still)
    result = segment_clip(clip, long_scene.engines(), SETTINGS)
    assert [one.id for one in result.objects] == [1]
    assert len(result.windows) > 4 and result.cuts == [] and result.warnings == []
    assert result.labels.shape == truth.shape
    assert min(iou(a, b) for a, b in zip(truth, result.labels == 1)) > 0.8
    assert [len(np.unique(one.owners)) for one in result.windows] == [2] * len(result.windows)
    assert np.array_equal(result.only(1).joined_tracks().owners, result.joined_tracks().owners)
    assert not result.only().joined_tracks().owners.any()
    every = result.joined_tracks()
    mean_score = every.scores[every.owners == 1].mean()
    assert result.objects[0].score == pytest.approx(float(mean_score), abs=1e-6)


def test_ids_are_given_again_when_all_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of objects that were last seen the longest ago; no scene is without masks."""
    monkeypatch.setattr(windows_of, "MAX_LABELS", 3)
    one = long_scene.frames(14)
    ground = np.random.default_rng(0).integers(0, 99, one[0].shape, np.uint8)
    other = np.where(one > ground, one, ground)
    clip = np.concatenate([one, other, one, other, one])
    result = segment_clip(clip, long_scene.engines(), SETTINGS)
    assert len(result.cuts) == 4
    ids = [np.unique(result.labels[14 * k : 14 * k + 14]).tolist()[1:] for k in range(5)]
    assert ids == [[1], [2], [3], [1], [2]]
    assert "2 objects came after 3 others" in result.warnings[-1]


def test_windows_of_tracks_come_at_the_sources_size_and_are_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = long_scene.frames(40)
    settings = replace(SETTINGS, long_side_px=40)
    result = segment_clip(clip, long_scene.engines(), settings)
    large = result.at_source()
    assert large.windows and large.labels.shape == clip.shape[:3]
    small_xy, large_xy = result.joined_tracks().tracks.xy, large.joined_tracks().tracks.xy
    np.testing.assert_allclose(large_xy, small_xy * 2 + 0.5, atol=1e-4)
    assert result.clip.frames[3:5].shape == (2, 24, 40, 3)

    shown: list[int] = []
    rerun = mock.MagicMock()
    rerun.Points2D = lambda points, class_ids: shown.append(len(points))
    monkeypatch.setitem(sys.modules, "rerun", rerun)
    result.log_to_rerun()
    visible = [one.tracks.visible[one.owners > 0].sum() for one in result.track_windows()]
    assert len(shown) == 40 and sum(shown) == sum(visible) > 0


def test_a_clip_of_one_window_is_done_as_before() -> None:
    clip, engines = long_scene.frames(16), long_scene.engines()
    whole = segment_clip(clip, engines, Settings(max_tracks=120))
    window = segment_clip(clip, engines, SETTINGS)
    assert np.array_equal(whole.labels, window.labels) and not window.windows
    assert np.array_equal(whole.tracks.xy, window.tracks.xy) and len(window.tracks) > 0


def test_windows_come_one_by_one_and_cover_every_frame_once(result: Result) -> None:
    clip = long_scene.frames(60)
    labels, places = [], []
    for window in segment_windows(clip, long_scene.engines(), SETTINGS):
        places.append(window.place)
        assert np.array_equal(window.frames, clip[window.place :][: len(window.labels)])
        assert [one.id for one in window.objects] == [1]
        labels.append(window.labels)
    assert places == np.cumsum([0, *map(len, labels[:-1])]).tolist()
    assert np.array_equal(np.concatenate(labels), result.labels)


def _two_scenes() -> np.ndarray:
    other = 255 - long_scene.frames(20)
    rng = np.random.default_rng(0)
    other = (other.astype(int) // 2 + rng.integers(0, 99, other[0].shape)).astype(np.uint8)
    other[:, long_scene.TOP :, ::-1] = long_scene.frames(20)[:, long_scene.TOP :]
    return np.concatenate([long_scene.frames(30), other])


def test_another_scene_begins_anew_and_is_told_of() -> None:
    result = segment_clip(_two_scenes(), long_scene.engines(), SETTINGS)
    assert result.cuts == [30]
    assert "another scene begins at frame 30; objects are found anew there" in result.warnings
    assert set(np.unique(result.labels[:30])) == {0, 1}
    assert 1 not in np.unique(result.labels[30:])


def test_a_long_clip_of_which_nothing_decodes_is_an_input_error(tmp_path: Path) -> None:
    """As a short one is."""
    path = tmp_path / "a.mov"
    media.spoil(media.write_video(path, media.quadrants(40), "mjpeg", "yuvj420p"), range(40))
    target, engines = locate(tmp_path, "a", KINDS), long_scene.engines()
    for work in (
        lambda: segment_clip(path, engines, SETTINGS),
        lambda: list(segment_windows(path, engines, SETTINGS)),
        lambda: segment_to(target, path, engines, SETTINGS, info=REQUEST),
    ):
        with pytest.raises(InputError, match="no frame can be decoded"):
            work()


@pytest.mark.parametrize("window_frames", [300, 50])
def test_a_clip_of_one_window_is_parted_at_a_cut_too(window_frames: int, tmp_path: Path) -> None:
    """Tracks, objects and masks do not go across it, and its files are those of any clip."""
    settings = replace(SETTINGS, window_frames=window_frames)
    clip = _two_scenes()
    result = segment_clip(clip, long_scene.engines(), settings)
    assert result.cuts == [30] and result.labels.shape == clip.shape[:3]
    first, second = (
        segment_clip(part, long_scene.engines(), settings) for part in (clip[:30], clip[30:])
    )
    assert np.array_equal(result.labels[:30], first.labels)
    assert np.array_equal(result.labels[30:] > 0, second.labels > 0)
    assert [len(one.tracks.visible[0]) for one in result.windows] == [30, 20]
    target = locate(tmp_path, "square", KINDS)
    with reserve(target):
        written = segment_to(target, clip, long_scene.engines(), settings, info=REQUEST)
    record = read_record(target)
    assert written.cuts == record["cuts"] == [30] and record["status"] == "done"
    masks = sorted(target.masks.glob("*.png"))
    assert len(masks) == 50
    with reserve(target, overwrite=True):
        mirrored = clip[:, :, ::-1]
        written = segment_to(target, mirrored, long_scene.engines(), settings, info=REQUEST)
    read = [cv2.imread(str(mask), cv2.IMREAD_COLOR).any(axis=-1) for mask in masks]
    np.testing.assert_array_equal(read, written.labels > 0)


def test_max_frames_limits_frames_as_asked_and_nothing_does_unasked(result: Result) -> None:
    assert len(result.labels) == 60
    clip, settings = long_scene.frames(48), replace(SETTINGS, max_frames=24)
    few = segment_clip(clip, long_scene.engines(), settings)
    assert len(few.labels) == 24 and "every 2nd is used" in few.warnings[0]


def _run(out: Path, source: Path, windows: int | None = None) -> Any:
    """Segment a clip into a folder; kill this process after so many windows."""
    target = locate(out, "square", KINDS)
    written = parts.Parts.write

    def write(self: parts.Parts, *arguments: Any) -> None:
        if len(self.done) == windows:
            os.kill(os.getpid(), signal.SIGKILL)
        written(self, *arguments)

    with (
        mock.patch.object(parts.Parts, "write", write),
        reserve(target, request=REQUEST["request"]),
    ):
        engines = long_scene.engines()
        return segment_to(target, os.fspath(source), engines, SETTINGS, info=REQUEST)


def _files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_scene.write_clip(tmp_path_factory.mktemp("in") / "square", 60)


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    """Of that folder, in five windows and more."""
    return segment_clip(os.fspath(folder), long_scene.engines(), SETTINGS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> tuple[Path, Result]:
    """The same as it is written, each mask encoded once, and what is told of it."""
    out = tmp_path_factory.mktemp("whole")
    encode = mock.Mock(side_effect=png.encode_indexed)
    with mock.patch.object(masks_of, "encode_indexed", encode):
        written = _run(out, folder)
    assert encode.call_count == 60
    return out, written


@pytest.mark.parametrize("windows", [0, 2, 4])
def test_a_killed_run_goes_on_after_its_last_window_and_ends_with_the_same_files(
    tmp_path: Path,
    folder: Path,
    whole: tuple[Path, Result],
    windows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = os.fork()
    if not child:
        _run(tmp_path / "killed", folder, windows)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    hidden = list((tmp_path / "killed" / "square").glob(".samotion-window-*"))
    assert len(hidden) == windows
    masks = list((tmp_path / "killed" / "square" / "masks").iterdir())
    assert len(masks) >= 10 * windows
    for lost in masks[:1]:
        lost.unlink()
    starts = []
    run = windows_of.run

    def spy(*arguments: Any) -> Any:
        starts.append(arguments[5].number)
        return run(*arguments)

    monkeypatch.setattr(pipeline, "run", spy)
    _run(tmp_path / "killed", folder)
    assert starts == [windows]
    assert _files(tmp_path / "killed") == _files(whole[0])
    assert len(_files(whole[0])) == 60 + 3
    record = read_record(locate(tmp_path / "killed", "square", KINDS))
    assert record["status"] == "done" and record["windows"] > 4 and record["cuts"] == []
    assert len(record["frames"]) == 60


def test_what_another_request_left_is_not_gone_on_with(tmp_path: Path) -> None:
    target = locate(tmp_path / "out", "square", KINDS)
    target.tree.mkdir(parents=True)
    first = parts.Parts(target.tree, "one")
    first.write({"n": 1}, {"labels": np.zeros((1, 2, 2), np.uint8)})
    assert len(parts.Parts(target.tree, "one").done) == 1
    assert parts.Parts(target.tree, "two").done == []
    assert list(target.tree.iterdir()) == []


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "without labels"])
def test_a_damaged_window_is_done_again_and_those_after_it(tmp_path: Path, damage: str) -> None:
    first = parts.Parts(tmp_path, "one")
    for number in range(3):
        first.write({"n": number}, {"labels": np.full((8, 64, 64), number, np.uint8)})
    path = first.done[1].path
    whole = path.read_bytes()
    half = len(whole) // 2
    bare = io.BytesIO()
    np.savez(bare, state=first.done[1].array("state"))
    path.write_bytes(
        {
            "without labels": bare.getvalue(),
            "empty": b"",
            "cut": whole[:half],
            "changed": whole[: half - 8] + bytes(16) + whole[half + 8 :],
        }[damage]
    )
    left = parts.Parts(tmp_path, "one")
    assert [part.state["n"] for part in left.done] == [0]
    assert [*tmp_path.iterdir()] == [left.done[0].path]


@pytest.mark.parametrize("count", [4, 60])
def test_names_too_long_for_colmap_are_told_before_the_work(tmp_path: Path, count: int) -> None:
    names = [f"{number:0251d}.png" for number in range(count)]
    frames = media.write_images(tmp_path / "square", long_scene.frames(count), names)
    target = locate(tmp_path / "out", "square", ("masks", "colmap"))
    with reserve(target), pytest.raises(OutputError, match="has too long a name"):
        segment_to(target, os.fspath(frames), FakeEngines(long_scene.PRESET), SETTINGS)
    assert not target.tree.exists()


def test_tracks_of_all_windows_lie_in_one_file(folder: Path, whole: tuple[Path, Result]) -> None:
    out, written = whole
    with np.load(out / "square" / "tracks.npz") as held:
        count = len([name for name in held if name.startswith("xy_")])
        assert count == read_record(locate(out, "square", KINDS))["windows"]
        ends = [int(held[f"first_{k}"]) + held[f"xy_{k}"].shape[1] for k in range(count)]
        assert ends[-1] == 60 == len(held["frames"])
        assert set(np.unique(held["object_0"])) == {0, 1}
    assert written.clip.path == os.fspath(folder)


def test_a_report_and_trails_need_no_saved_tracks(tmp_path: Path, folder: Path) -> None:
    target = locate(tmp_path / "out", "square", ("report", "overlay"), overlay=["trails"])
    with reserve(target):
        result = segment_to(target, os.fspath(folder), long_scene.engines(), SETTINGS)
    assert result.warnings == []
    written = {path.name for path in target.tree.iterdir()}
    assert written == {"report.html", "overlay.mp4", "objects.json", "run.json"}


def test_writing_tells_that_it_goes_on(tmp_path: Path, folder: Path) -> None:
    target, told = locate(tmp_path / "out", "square", ("overlay",)), []
    with reserve(target):
        engines, report = long_scene.engines(), lambda *one: told.append(one)
        segment_to(target, os.fspath(folder), engines, SETTINGS, report)
    output = [one for one in told if one[0] == "output"]
    assert len(output) > 60 and output[-1] == ("output", 1, 1)
    assert set(output[:-1]) == {("output", 0, 1)}


def test_memory_is_that_of_one_window_however_long_the_clip_is(tmp_path: Path) -> None:
    source = long_scene.write_clip(tmp_path / "long", 200)
    peaks = []
    tracemalloc.start()
    for window in segment_windows(os.fspath(source), long_scene.engines(), SETTINGS):
        assert window.labels.any()
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[-1] < 1.1 * peaks[2]  # after 40 frames


def test_frames_of_a_long_clip_are_read_again_when_asked_for(folder: Path, result: Result) -> None:
    clip = long_scene.frames(60)
    frames = result.clip.frames
    assert frames.shape == clip.shape and not isinstance(frames, np.ndarray)
    assert all(np.array_equal(a, b) for a, b in zip(frames, clip, strict=True))
    for number in (3, 50, 7, 7, -1):
        assert np.array_equal(frames[number], clip[number])
    read = video.read_clip(os.fspath(folder))
    assert np.array_equal(read.frames, clip) and list(read.indices) == list(result.clip.indices)


def test_some_cuts_are_named_and_the_probability_of_motion_is_rounded_down() -> None:
    state = windows_of.State(objects=(windows_of.NEW,))
    line = "6 more scenes begin at frames 1, 2, 3, 4, 5, ...; objects are found anew there"
    assert windows_of._warnings(state, [1, 2, 3, 4, 5, 6]) == [line]
    for confidence, told in ((0.2999, "0.29"), (0.29, "0.29"), (1.0, "1.00")):
        assert f"moves with probability {told};" in windows_of.nothing_moves(confidence)
    assert "probability" not in windows_of.nothing_moves(0.0)


def _two_objects() -> tuple[Found, Seam]:
    """Objects 7 and 9 side by side, of three tracks each, and what they hand on."""
    places = np.column_stack([np.arange(6), np.zeros(6)]).astype(np.float32)
    tracks = Tracks(
        xy=places[:, None].repeat(4, 1),
        visible=np.ones((6, 4), bool),
        visibility=np.ones((6, 4), np.float32),
        confidence=np.ones((6, 4), np.float32),
        query_frame=np.zeros(6, np.int64),
        query_xy=places,
    )
    labels = np.zeros((4, 2, 8), np.uint8)
    labels[:, :, :3], labels[:, :, 3:6] = 7, 9
    prompting = replace(FAST.prompting, min_object_tracks=2)
    found = Found(
        tracks,
        np.ones(6, np.float32),
        [ObjectPrompt(1, 0, np.arange(3), confidence=0.6), _second(0.8)],
        labels,
    )
    return found, hand_on(found, labels, [7, 9], 0, 100, prompting)


def test_a_standing_object_keeps_the_confidence_it_was_found_with() -> None:
    found, seam = _two_objects()
    assert (seam.ids, seam.confidences) == ((7, 9), (0.6, 0.8))
    regrouped = seam.regroup(found.tracks, [_second(0.95)])
    assert [(one.object_id, one.confidence) for one in regrouped] == [(1, 0.6), (2, 0.95)]
    found.tracks.visible[:2, [0, 1, 3]] = False
    assert seam.regroup(found.tracks, [_second(0.95)])[0].key_frame == 2, "most of it is visible"


def test_tracks_of_an_object_that_left_are_no_new_object_where_they_went_astray() -> None:
    """Of the two one moves still; the mask of the other lies where it never was."""
    before, seam = _two_objects()
    objects = seam.regroup(before.tracks, [_second(0.95)])
    labels = np.zeros_like(before.labels)
    labels[:, :, 6:], labels[:, :, 3:6] = 1, 2
    state = windows_of.State(number=1, objects=(windows_of.NEW,) * 9)
    ids, after = windows_of._name(replace(before, objects=objects, labels=labels), state, seam)
    assert ids == [0, 9] and len(after.objects) == 9
    found = replace(before, objects=objects, labels=np.array([0, *ids], np.uint8)[labels])
    assert hand_on(found, found.labels, ids, 0, 100, seam.prompting).ids == (9,)
    moves = [replace(one, stands=False) for one in objects]
    assert seam.match(replace(before, objects=moves, labels=labels)) == [None, 9]


@pytest.mark.parametrize(
    ("groups", "members"),
    [
        ([[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [3, 4, 5]]),
        ([[0, 1], [2, 4, 5]], [[0, 1, 3], [2, 4, 5]]),  # the rest of it stands
        ([[0, 1, 2], [3, 4]], [[0, 1, 2, 3]]),  # with one track of its own it is none
        ([[0]], [[0, 1, 2, 3]]),
    ],
)
def test_an_object_that_falls_apart_is_its_largest_group_and_the_others_are_new(
    groups: list[list[int]], members: list[list[int]]
) -> None:
    """Of its six tracks the first four go on."""
    two, seam = _two_objects()
    one = replace(two, objects=[ObjectPrompt(1, 0, np.arange(6))])
    labels = np.where(two.labels, 7, 0).astype(np.uint8)
    seam = hand_on(one, labels, [7], 0, 16, seam.prompting)
    objects = [ObjectPrompt(k, 0, np.array(own)) for k, own in enumerate(groups, start=1)]
    regrouped = seam.regroup(one.tracks, objects)
    assert [each.members.tolist() for each in regrouped] == members
    assert [each.object_id for each in regrouped] == [*range(1, len(members) + 1)]


def _second(confidence: float) -> ObjectPrompt:
    return ObjectPrompt(2, 0, np.arange(3, 6), confidence=confidence)


def test_tracks_of_a_long_clip_are_given_by_window_and_joined(result: Result) -> None:
    windows, whole = list(result.track_windows()), result.joined_tracks()
    assert len(result.tracks) == 0 and [one.first for one in windows][:2] == [0, 12]
    assert sum(len(one.scores) for one in windows) == len(whole.tracks) == len(whole.scores)
    assert whole.tracks.xy.shape[1] == 60 and set(np.unique(whole.owners)) == {0, 1}
    first, second = windows[0], windows[1]
    rows = slice(len(first.scores), len(first.scores) + len(second.scores))
    assert np.array_equal(whole.tracks.xy[rows, 12:28], second.tracks.xy)
    assert np.array_equal(whole.tracks.query_frame[rows], second.tracks.query_frame + 12)
    assert not whole.tracks.visible[rows, 28:].any() and np.isnan(whole.tracks.xy[rows, :12]).all()
    own = result.objects[0].tracks
    assert np.array_equal(own.visible, whole.tracks.visible[whole.owners == 1])
    short = segment_clip(long_scene.frames(16), long_scene.engines(), SETTINGS)
    [one] = short.track_windows()
    assert one.tracks is short.tracks and np.array_equal(one.owners, short.track_objects())
    assert np.array_equal(short.joined_tracks().tracks.xy, short.tracks.xy)


def test_pictures_of_maps_come_from_all_windows(result: Result, whole: tuple[Path, Result]) -> None:
    depth = result.evidence.depth
    wanted = spread_frames(60)
    assert len(depth) == len(wanted) == 8
    assert all(abs(frame - want) <= 2 for frame, want in zip(sorted(depth), wanted))
    written = whole[1]
    assert list(written.evidence.depth) == list(depth)
    assert all(np.array_equal(written.evidence.depth[k], one) for k, one in depth.items())


def test_arrays_in_reference_cycles_go_with_their_window(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[np.ndarray]] = []
    find = pipeline.find

    def spy(*arguments: Any) -> Any:
        assert all(one() is None for one in held)
        array, cycle = np.zeros(9), list[Any]()
        cycle += [cycle, array]
        held.append(weakref.ref(array))
        return find(*arguments)

    monkeypatch.setattr(pipeline, "find", spy)
    gc.disable()
    try:
        windows = list(segment_windows(long_scene.frames(40), long_scene.engines(), SETTINGS))
    finally:
        gc.enable()
    assert len(held) == len(windows) > 2


def test_a_window_that_is_on_disk_is_gone_before_the_next_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[np.ndarray]] = []
    find = pipeline.find

    def spy(*arguments: Any) -> Any:
        assert all(one() is None for one in held)
        found = find(*arguments)
        held.append(weakref.ref(found.tracks.xy))
        return found

    monkeypatch.setattr(pipeline, "find", spy)
    target = locate(tmp_path / "out", folder.name)
    with reserve(target):
        segment_to(target, os.fspath(folder), long_scene.engines(), SETTINGS)
    assert len(held) > 2
