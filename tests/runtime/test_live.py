"""Live sources: masks frame by frame, in bounded memory, and frames that are dropped counted."""

from __future__ import annotations

import gc
import os
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import long_scene
from helpers.fakes import FakeEngines
from helpers.overlap import iou
from helpers.paths import ROOT
from samotion import Settings, open_engines, pipeline, segment_clip
from samotion.backends.engines import EngineFolder
from samotion.clips.video import read_clip
from samotion.errors import InputError, UsageError
from samotion.live import UNSEEN_FRAMES, Newest, Session
from samotion.manifest import BUNDLED
from samotion.pipeline.search import MOST_HELD, Seen, find_same, with_parts
from samotion.results.result import ObjectResult
from samotion.sam2.features import Features

SETTINGS = Settings(max_tracks=80)


def _session(engines: Any = None, every_frames: int = 6) -> Session:
    return Session(engines or long_scene.engines(), SETTINGS, 8, every_frames)


def test_an_object_is_found_once_and_followed_with_its_id() -> None:
    clip, truth = long_scene.frames(30), long_scene.masks(30)
    with _session() as session:
        results = [session.push(frame, t / 10) for t, frame in enumerate(clip)]
        assert [known.unfound for known in session._objects.values()] == [0]
    assert all(not one.labels.any() and not one.objects for one in results[:7])
    for number, (one, mask) in enumerate(zip(results[7:], truth[7:]), start=7):
        assert (one.frame, one.time_s) == (number, number / 10)
        assert [(known.id, known.since) for known in one.objects] == [(1, 7)]
        assert iou(mask, one.labels == 1) > 0.7
        assert one.latency_s > 0


def test_an_object_that_has_gone_expires_and_the_next_one_has_another_id() -> None:
    there, empty = long_scene.frames(12), np.full_like(long_scene.frames(1)[0], long_scene.GROUND)
    with _session() as session:
        for frame in there:
            last = session.push(frame)
        assert [one.id for one in last.objects] == [1]
        for _ in range(UNSEEN_FRAMES + 1):
            last = session.push(empty)
        assert not last.objects and not last.labels.any() and not session._objects
        for frame in there:
            last = session.push(frame)
        assert [one.id for one in last.objects] == [2]


def test_no_id_is_given_twice_and_labels_are_those_that_are_free() -> None:
    there, empty = long_scene.frames(12), np.full_like(long_scene.frames(1)[0], long_scene.GROUND)
    with _session() as session:
        session._next_id = 255
        for wanted, label in ((255, 255), (256, 1), (257, 2)):
            for frame in there:
                last = session.push(frame)
            assert [(one.id, one.label) for one in last.objects] == [(wanted, label)]
            assert set(np.unique(last.labels)) == {0, label}
            for _ in range(UNSEEN_FRAMES + 1):
                session.push(empty)
        assert session._objects == {}
        session._objects = {510: None, 511: None}  # type: ignore[dict-item]
        session._next_id = 511 + 254
        assert (session._new_id(), session._new_id()) == (767, 768)


def test_what_is_followed_is_confirmed_behind_a_larger_one_that_is_too_many() -> None:
    clip, truth = long_scene.frames(9), long_scene.masks(9)
    with Session(long_scene.engines(), replace(SETTINGS, max_objects=1), 8, 6) as session:
        for frame in clip:
            session.push(frame)
        seen = [
            Seen(ObjectResult(k, 0.9, confidence), mask, mask)
            for k, confidence, mask in ((1, 0.9, ~truth[8]), (2, 0.7, truth[8]))
        ]
        search: Any = SimpleNamespace(number=8, masks={1: truth[8]}, since=[])
        answer: Any = SimpleNamespace(arrive=lambda *_: seen)
        session._go_on_with(search, answer, Features(session.engines, clip[-1:]))
        assert [*session._objects] == [1]
        assert session._objects[1].unfound == 0 and session._objects[1].known.confidence == 0.7


@pytest.mark.parametrize("found", [1, 2])
def test_an_object_is_missed_as_often_as_it_was_found(found: int) -> None:
    clip, truth = long_scene.frames(2 + 6 * found), long_scene.masks(2 + 6 * found)
    nothing: Any = SimpleNamespace(arrive=lambda *_: [])
    with _session() as session:
        for frame in clip:
            session.push(frame)
        for missed in range(found):
            assert [*session._objects] == [1], missed
            search: Any = SimpleNamespace(number=8, masks={1: truth[-1]}, since=[])
            session._go_on_with(search, nothing, Features(session.engines, clip[-1:]))
        assert not session._objects


def _box(top: int, bottom: int, left: int = 10, right: int = 20) -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_an_object_keeps_its_id_though_its_mask_has_dwindled() -> None:
    whole, rest, leg = _box(10, 40), _box(30, 36), _box(34, 40)
    assert find_same(whole, {7: rest}) == 7
    assert find_same(whole, {7: rest, 8: _box(12, 40)}) == 8
    assert find_same(leg, {7: whole}) is None
    assert find_same(leg, {7: whole, 8: rest}) == 8
    assert find_same(whole, {7: _box(39, 50), 8: _box(0, 0)}) is None


def test_parts_of_what_is_followed_are_one_object_while_they_touch() -> None:
    body, legs, far = _box(10, 30), _box(32, 40), _box(10, 20, 40, 50)
    seen = [
        Seen(ObjectResult(k, 0.9, 0.8), mask, np.roll(mask, 1, axis=1))
        for k, mask in enumerate((body, legs, far), start=1)
    ]
    whole = with_parts(seen, {7: _box(8, 42), 8: far})
    assert [one.result.id for one in whole] == [1, 3]
    assert np.array_equal(whole[0].then, body | legs)
    assert np.array_equal(whole[0].now, np.roll(body | legs, 1, axis=1))
    for followed in ({}, {7: body, 8: legs}, {7: _box(8, 35)}):
        assert len(with_parts(seen, followed)) == 3
    apart = [seen[0], seen[1]._replace(then=_box(40, 48))]
    assert len(with_parts(apart, {7: _box(8, 50)})) == 2


def test_sessions_share_engines_and_nothing_else() -> None:
    engines, clip = long_scene.engines(), long_scene.frames(14)
    first, second = _session(engines), _session(engines)
    alone = [first.push(frame).labels for frame in clip]
    for frame in clip[:3]:
        second.push(frame)
    assert not second.push(clip[3]).labels.any()
    third = _session(engines)
    assert all(np.array_equal(third.push(f).labels, a) for f, a in zip(clip, alone))


def test_sessions_in_threads_share_engines() -> None:
    engines, clip = long_scene.engines(), long_scene.frames(20)

    def labels(frames: np.ndarray) -> list[np.ndarray]:
        with _session(engines) as session:
            return [session.push(frame).labels for frame in frames]

    clips = [clip, clip[::-1], clip[5:]]
    alone = [labels(frames) for frames in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(labels, clips))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together)) and alone[0][-1].any()


def test_wrong_frames_and_numbers_are_refused_in_one_line() -> None:
    session = _session()
    with pytest.raises(InputError, match="float32"):
        session.push(np.zeros((48, 80, 3), np.float32))
    with pytest.raises(InputError, match="the frame is None"):
        session.push(None)  # type: ignore[arg-type]
    for shape in ((48, 80), (48, 80, 1), (48, 80, 4), (3, 48, 80), (1, 48, 80, 3)):
        with pytest.raises(InputError, match=r"expected uint8 \[H,W,3\]"):
            session.push(np.zeros(shape, np.uint8))
    session.push(long_scene.frames(1)[0])
    with pytest.raises(InputError, match="60x48, those before were 80x48"):
        session.push(np.zeros((48, 60, 3), np.uint8))
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.push(long_scene.frames(1)[0])
    with pytest.raises(UsageError, match=r"settings is \{\}"):
        Session(long_scene.engines(), {})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="window_frames is 1"):
        Session(long_scene.engines(), window_frames=1)


class _CausalEngines(FakeEngines):
    """Engines of the scene with a tracker that is asked frame by frame."""

    def entry(self, name: str) -> Any:
        axes = {"query_lowres": ["N", 2], "query_hires": ["N", 2], "past": [1, "N", 4, 1]}
        return SimpleNamespace(meta=super().entry(name).meta, inputs=axes)


def _query(lowres: np.ndarray, hires: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    """Whether a point is on the square, and how far right of its left side; its x and y."""
    left, right = lowres[0, 0, 0]
    _, y, x = queries.T
    rows = y * long_scene.HW[0] / 256
    bottom = long_scene.TOP + long_scene.SIDE - 1
    on_square = (x > left + 1) & (x < right - 1) & (rows > long_scene.TOP + 1) & (rows < bottom)
    return {
        "query_lowres": np.column_stack([on_square, x - left]).astype(np.float32),
        "query_hires": np.column_stack([x, y]).astype(np.float32),
    }


def _online(
    lowres: np.ndarray,
    query_lowres: np.ndarray,
    query_hires: np.ndarray,
    past: np.ndarray,
    **_: np.ndarray,
) -> Any:
    on_square, offset = query_lowres.T
    x = np.where(on_square, lowres[0, 0, 0, 0] + offset, query_hires[:, 0])
    sure = np.full((len(x), 1), -9, np.float32)
    xy = np.column_stack([x, query_hires[:, 1]]).astype(np.float32)
    return {"tracks": xy[:, None], "occlusion": sure, "expected_dist": sure, "present": past}


def _causal_engines() -> Any:
    functions = long_scene.engines(tracks_query=_query, tracks_online=_online)
    del functions["tracks_refine"]
    tracks = replace(long_scene.PRESET.tracks, causal=True)
    return _CausalEngines(replace(long_scene.PRESET, tracks=tracks), **functions)


def test_a_causal_tracker_follows_points_frame_by_frame() -> None:
    truth = long_scene.masks(40)
    with Session(_causal_engines(), SETTINGS, 8, 6) as session:
        for t, frame in enumerate(long_scene.frames(40)):
            result = session.push(frame)
            assert session._history is not None and len(session._history) <= 80
            if t >= 7:
                assert [one.id for one in result.objects] == [1]
                assert iou(truth[t], result.labels == 1) > 0.7


def test_one_of_few_points_is_drawn_anew() -> None:
    """None was left to be drawn of three points that were all visible: a UsageError."""
    with Session(_causal_engines(), replace(SETTINGS, max_tracks=3), 8, 6) as session:
        for frame in long_scene.frames(15):
            session.push(frame)
        assert session._history is not None and len(session._history) == 3


def test_every_second_frame_of_many_is_searched_and_few_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = []
    find = pipeline.find

    def spy(engines: Any, frames: np.ndarray, numbers: Any, stages: Any, carried: Any) -> Any:
        searched.append(frames)
        assert carried.only_last
        return find(engines, frames, numbers, stages, carried)

    monkeypatch.setattr(pipeline, "find", spy)
    clip = long_scene.frames(30)
    with Session(long_scene.engines(), SETTINGS) as session:
        for frame in clip:
            session.push(frame)
    assert len(searched) == 2
    assert np.array_equal(searched[0], clip[:13])
    assert np.array_equal(searched[1], clip[3:28:2])


def test_nano_finds_in_the_last_frame_what_it_finds_in_a_clip() -> None:
    settings = Settings(max_tracks=100, long_side_px=240)
    clip = read_clip(ROOT / "demo" / "demo.mp4", long_side_px=240).frames[:13]
    with open_engines(BUNDLED) as engines, Session(engines, settings) as session:
        for frame in clip:
            result = session.push(frame)
        wanted = segment_clip(clip, engines, settings).labels[-1]
    assert result.objects and iou(wanted > 0, result.labels > 0) > 0.8


def test_memory_stays_flat() -> None:
    clip = long_scene.frames(30)
    with _session(every_frames=40) as session:
        tracemalloc.start()
        peaks = []
        for start in (0, 120, 240):  # whole rounds of looks
            for t in range(start, start + 120):
                session.push(clip[t % 30])
            gc.collect()  # what others leave
            peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 3 * clip[0].nbytes  # 120 frames later


def test_features_of_a_frame_go_with_it() -> None:
    images = Features(long_scene.engines(), long_scene.frames(1))
    held = weakref.ref(images)
    assert images[0]
    gc.disable()
    del images
    gc.enable()
    assert held() is None


def _gated(gate: threading.Event) -> Any:
    """Engines of the scene whose looks wait for a gate."""
    motion = long_scene.engines()["motion"]

    def wait(**arrays: np.ndarray) -> Any:
        assert gate.wait(20)
        return motion(**arrays)

    return long_scene.engines(motion=wait)


def _await_look(session: Session) -> None:
    answer = session._searcher._answer
    assert answer is not None
    answer.exception(20)


def test_frames_go_by_while_a_look_goes_on_in_the_background() -> None:
    gate = threading.Event()
    clip, truth = long_scene.frames(30), long_scene.masks(30)
    with Session(_gated(gate), SETTINGS, 8, 6, background=True) as session:
        for frame in clip[:14]:
            assert not session.push(frame).labels.any()
        gate.set()
        _await_look(session)
        for t, frame in enumerate(clip[14:], start=14):
            result = session.push(frame)
            assert [(one.id, one.since) for one in result.objects] == [(1, 7)]
            assert iou(truth[t], result.labels == 1) > 0.7


def test_frames_that_wait_for_an_answer_are_bounded_and_caught_up_with() -> None:
    gate = threading.Event()
    count = MOST_HELD + 20
    clip, truth = long_scene.frames(count + 5), long_scene.masks(count + 5)
    with Session(_gated(gate), SETTINGS, 8, 6, background=True) as session:
        for frame in clip[:count]:
            session.push(frame)
        search = session._searcher.pending
        assert search is not None and len(search.since) == MOST_HELD
        gate.set()
        _await_look(session)
        answer = session._searcher._answer
        assert answer is not None and answer.result().done == MOST_HELD - 1
        for t, frame in enumerate(clip[count:], start=count):
            result = session.push(frame)
            assert [one.id for one in result.objects] == [1]
            assert iou(truth[t], result.labels == 1) > 0.7


def test_what_goes_wrong_in_a_look_is_raised_by_the_next_frame() -> None:
    def fail(**_: np.ndarray) -> Any:
        raise InputError("no memory is left")

    engines = long_scene.engines(motion=fail)
    with Session(engines, SETTINGS, 8, 6, background=True) as session:
        for frame in long_scene.frames(8):
            session.push(frame)
        _await_look(session)
        with pytest.raises(InputError, match="no memory"):
            session.push(long_scene.frames(9)[8])


@pytest.mark.parametrize("background", [False, True])
def test_an_error_of_a_search_keeps_nothing_once_it_is_told(background: bool) -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def fail(**arrays: np.ndarray) -> Any:
        own = np.zeros(3)
        held.append(weakref.ref(own))
        raise InputError("no memory is left")

    with Session(long_scene.engines(motion=fail), SETTINGS, 8, 6, background) as session:
        with pytest.raises(InputError, match="no memory") as told:
            for frame in long_scene.frames(9):
                session.push(frame)
                if session._searcher.pending:
                    _await_look(session)
        del told
        assert len(held) == 1 and held[0]() is None


@pytest.mark.parametrize("background", [False, True])
def test_a_session_searches_on_after_an_error(background: bool) -> None:
    motion, calls = long_scene.engines()["motion"], []

    def fail_once(**arrays: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise InputError("no memory is left")
        return motion(**arrays)

    engines = long_scene.engines(motion=fail_once)
    told = 0
    with Session(engines, SETTINGS, 8, 6, background) as session:
        for frame in long_scene.frames(24):
            try:
                last = session.push(frame)
            except InputError:
                told += 1
            if session._searcher.pending:
                _await_look(session)
    assert told == 1 and [one.id for one in last.objects] == [1]
    assert last.frame == 23  # the frame that failed keeps its number


def test_closing_waits_for_a_look_and_wants_nothing_of_it() -> None:
    gate = threading.Event()
    session = Session(_gated(gate), SETTINGS, 8, 6, background=True)
    for frame in long_scene.frames(8):
        session.push(frame)
    answer = session._searcher._answer
    threading.Timer(0.2, gate.set).start()
    session.close()
    assert answer is not None and answer.done()


def _other_scene(count: int) -> np.ndarray:
    """The square before a ground of noise, turned round."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 110, long_scene.frames(1)[0].shape).astype(np.uint8)
    square = long_scene.masks(count)[:, ::-1, ::-1, None]
    return np.where(square, np.uint8(long_scene.SQUARE), noise)


@pytest.mark.parametrize("background", [False, True])
def test_a_scene_cut_makes_the_session_forget_its_objects(background: bool) -> None:
    gate = threading.Event()
    gate.set()
    with Session(_gated(gate), SETTINGS, 8, 6, background) as session:
        for frame in long_scene.frames(10):
            last = session.push(frame)
            if background and session._searcher.pending:
                _await_look(session)
        assert [one.id for one in last.objects] == [1]
        gate.clear()
        seen, due = [], []
        for number, frame in enumerate(_other_scene(14)):
            if number == 7 or not background:
                gate.set()  # a look at the scene before comes to its end
            seen.append([one.id for one in session.push(frame).objects])
            due.append(session._next_search)
        assert due[2] == 10 + 8, "when so many frames of the new scene are there"
        assert seen[1] == [1] and all(1 not in ids for ids in seen[2:])


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    frames = [np.full((2, 2, 3), n, np.uint8) for n in range(10)]
    go_on, all_read = threading.Event(), threading.Event()
    numbers = iter(range(10))

    def read() -> tuple[np.ndarray, float] | None:
        number = next(numbers, None)
        if number == 1:
            go_on.wait(10)  # the first has been taken: the engine is slow from here on
        if number is None:
            all_read.set()
            return None
        return frames[number], float(number)

    source = Newest(read)
    first = source.take()
    go_on.set()
    all_read.wait(10)
    second = source.take()
    assert first is not None and second is not None
    assert (first[1], second[1], source.take()) == (0.0, 9.0, None)
    assert (source.came, source.dropped, source.number) == (10, 8, 9)
    source.stop()


def test_a_camera_is_read_before_a_frame_is_asked_for() -> None:
    was_read = threading.Event()
    source = Newest(lambda: was_read.set())
    assert was_read.wait(10) and source.take() is None
    source.stop()


def test_a_source_is_closed_when_its_last_read_ends() -> None:
    class Camera:
        """Nothing but its life."""

    let_go = threading.Event()

    def reader() -> tuple[Newest, weakref.ref[Camera]]:
        camera = Camera()

        def read() -> None:
            let_go.wait(60)
            gc.collect()
            assert camera

        return Newest(read), weakref.ref(camera)

    source, camera = reader()
    source.stop()
    assert camera() is not None, "it is being read"
    let_go.set()
    source._thread.join(60)
    gc.collect()
    assert camera() is None


def test_what_goes_wrong_in_a_source_is_raised_where_frames_are_taken() -> None:
    def read() -> tuple[np.ndarray, float] | None:
        raise InputError("the camera is gone")

    with pytest.raises(InputError, match="camera is gone"):
        Newest(read).take()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_engines_are_opened_before_a_thread_gives_way() -> None:
    """They outlive the session, and their threads have the priority of the one that opened them."""
    opened: dict[str, int] = {}

    def opener(name: str, *_: Any) -> Any:
        opened[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return SimpleNamespace(close=lambda: None)

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with EngineFolder(BUNDLED, "cpu", opener) as engines, Session(engines, background=True):
        assert set(opened) == set(engines.manifest.engines)
        assert set(opened.values()) == {own}
