from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers.fakes import FakeEngines
from samotion import tracks
from samotion.backends.engines import Engines
from samotion.errors import UsageError
from samotion.presets import FAST
from samotion.tracks import RawTracks

CHUNK_TOLERANCE_PX = 1e-3  # answers may not depend on how points are grouped
HIDDEN = 40.0  # a logit


@pytest.fixture(scope="module")
def engines(engine_folder: Path) -> Iterator[Engines]:
    with samotion.open_engines(engine_folder, device="cpu", threads=2) as opened:
        yield opened


@pytest.fixture
def clip(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    texture = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([texture[3 * t : 3 * t + 256, 2 * t : 2 * t + 256] for t in range(6)])


@pytest.fixture
def queries(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    points = rng.uniform(0, 255, (11, 3)).astype(np.float32)
    points[:, 0] = rng.integers(0, 6, 11)
    return points


def test_chunks_do_not_change_the_answer(engines: Engines, clip: Any, queries: Any) -> None:
    whole = tracks.track(engines, clip, queries)
    for point_frames in (1, 18, 50):
        part = tracks.track(engines, clip, queries, point_frames=point_frames)
        for one, other in zip(whole, part):
            np.testing.assert_allclose(one, other, atol=CHUNK_TOLERANCE_PX)


def test_order_of_points_does_not_change_the_answer(
    engines: Engines, clip: Any, queries: Any
) -> None:
    order = np.random.default_rng(1).permutation(len(queries))
    whole = tracks.track(engines, clip, queries, point_frames=18)
    shuffled = tracks.track(engines, clip, queries[order], point_frames=18)
    np.testing.assert_allclose(whole.tracks[order], shuffled.tracks, atol=CHUNK_TOLERANCE_PX)


def test_a_window_as_long_as_the_clip_changes_nothing(
    engines: Engines, clip: Any, queries: Any
) -> None:
    whole = tracks.track(engines, clip, queries)
    window = tracks.track(engines, clip, queries, window_frames=6, overlap_frames=2)
    np.testing.assert_array_equal(whole.tracks, window.tracks)


def test_more_tracks_of_the_same_frames_cost_no_features(
    engines: Engines, clip: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tracks.track(engines, clip, queries)
    cache = tracks.FrameCache(clip)
    tracks.track(engines, cache, queries[:4])
    windowed = tracks.track(engines, cache, queries, window_frames=4, overlap_frames=2)
    expected = tracks.track(engines, clip, queries, window_frames=4, overlap_frames=2)
    np.testing.assert_array_equal(windowed.tracks, expected.tracks)
    monkeypatch.setattr("samotion.tracks.tracking.features_of", None)
    again = tracks.track(engines, cache, queries)
    np.testing.assert_allclose(again.tracks, whole.tracks, atol=CHUNK_TOLERANCE_PX)


def test_one_frame_and_no_points_are_fine(engines: Engines, clip: Any, queries: Any) -> None:
    one = tracks.track(engines, clip[:1], queries[:2] * (0, 1, 1))
    assert one.tracks.shape == (2, 1, 2) and np.isfinite(one.tracks).all()
    none = tracks.track(engines, clip[:2], queries[:0])
    assert none.tracks.shape == (0, 2, 2)


def test_progress_counts_up_to_all_points(engines: Engines, clip: Any, queries: Any) -> None:
    told: list[tuple[int, int]] = []
    tracks.track(
        engines,
        clip,
        queries,
        progress=lambda *a: told.append(a),
        point_frames=20,
        window_frames=4,
        overlap_frames=2,
    )
    assert told == sorted(told)
    assert told[-1] == (len(queries) * 2, len(queries) * 2)


@pytest.mark.parametrize(
    "frames, points, message",
    [
        (np.zeros((2, 128, 256, 3), np.uint8), np.zeros((1, 3)), "resize_for_tracking"),
        (np.zeros((2, 256, 256, 3), np.float32), np.zeros((1, 3)), "float32"),
        (np.zeros((2, 256, 256, 3), np.uint8), np.zeros((1, 2)), r"\[1, 2\]"),
        (np.zeros((2, 256, 256, 3), np.uint8), np.full((1, 3), 2), "expected 0 to 1"),
        (np.zeros((2, 256, 256, 3), np.uint8), np.full((1, 3), np.nan), "expected finite t, y, x"),
        ([np.zeros((9, 9, 3), np.uint8)], np.zeros((1, 3)), r"uint8\[1, 9, 9, 3\]"),
    ],
)
def test_arrays_of_another_shape_are_refused(frames: Any, points: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tracks.track(FakeEngines(), frames, points)


def test_an_overlap_longer_than_the_window_is_refused(clip: Any, queries: Any) -> None:
    with pytest.raises(UsageError, match="overlap_frames is 4"):
        tracks.track(FakeEngines(), clip, queries, window_frames=4, overlap_frames=4)


# A tracker that knows the truth: points move by a velocity told by their place, and hide in frames
# 8 to 11. Frames carry their number in their first pixel, `lowres` hands it on, `query_lowres` is
# the point at time 0 and its velocity. As in the real one, a query given in its own window tells
# where the track is; without one only the features do.


def features(frames: Any) -> dict[str, Any]:
    number = frames[:, :1, :1, :1].astype(np.float32)
    return {"lowres": number, "hires": number}


def query(lowres: Any, hires: Any, queries: Any) -> dict[str, Any]:
    velocity = queries[:, 1:].sum(1, keepdims=True) / 100
    time = lowres[queries[:, 0].astype(int), 0, 0]
    start = queries[:, :0:-1] - time * velocity
    return {"query_lowres": np.hstack((start, velocity)), "query_hires": start}


def refine(lowres: Any, query_lowres: Any, queries: Any, **_: Any) -> dict[str, Any]:
    time = lowres[:, 0, 0, 0]
    told = np.flatnonzero(queries[:, 0] >= 0)
    start, velocity = query_lowres[:, :2].copy(), query_lowres[:, 2:]
    at = time[queries[told, 0].astype(int)][:, None]
    start[told] = queries[told, :0:-1] - at * velocity[told]
    xy = start[:, None] + time[None, :, None] * velocity[:, None]
    hidden = np.where((time >= 8) & (time < 12), HIDDEN, -HIDDEN)
    occlusion = np.broadcast_to(hidden, xy.shape[:2])
    return {"tracks": xy, "occlusion": occlusion, "expected_dist": np.full_like(occlusion, -HIDDEN)}


@pytest.mark.parametrize("window, overlap", [(8, 3), (9, 2), (7, 4), (24, 1)])
def test_tracks_go_on_from_window_to_window(
    window: int, overlap: int, rng: np.random.Generator
) -> None:
    frames = np.zeros((25, 256, 256, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(25)
    points = rng.uniform(0, 255, (30, 3)).astype(np.float32)
    points[:, 0] = rng.integers(0, 25, 30)
    raw = tracks.track(
        FakeEngines(FAST, tracks_features=features, tracks_query=query, tracks_refine=refine),
        frames,
        points,
        point_frames=40,
        window_frames=window,
        overlap_frames=overlap,
    )
    velocity = points[:, 1:].sum(1) / 100
    steps = (np.arange(25) - points[:, :1]) * velocity[:, None]
    np.testing.assert_allclose(raw.tracks, points[:, None, :0:-1] + steps[:, :, None], atol=1e-2)
    assert (raw.occlusion[:, 8:12] == HIDDEN).all() and (raw.occlusion[:, 12:] == -HIDDEN).all()


def judged(visibility: Any, confidence: Any) -> tracks.Tracks:
    """`filter_tracks` on tracks with the given probabilities, all queried at frame 0."""
    v, c = np.asarray(visibility, np.float32), np.asarray(confidence, np.float32)
    raw = RawTracks(
        np.full((*v.shape, 2), 51.0, np.float32), np.log((1 - v) / v), np.log((1 - c) / c)
    )
    queries = np.tile(np.array([[0, 10, 20]], np.float32), (len(v), 1))
    return tracks.filter_tracks(raw, queries, (100, 200))


def test_visible_hidden_and_undecided_points() -> None:
    found = judged([[0.9, 0.1, 0.6, 0.5]], [[0.8, 0.8, 0.7, 0.9]])
    assert found.visible.tolist() == [[True, True, True, True]]  # the only track of its frames
    two = judged([[0.9, 0.1, 0.6, 0.9], [0.9] * 4], [[0.8, 0.8, 0.7, 0.4], [0.9] * 4])
    assert two.visible.tolist() == [[True, False, False, False], [True] * 4]
    np.testing.assert_allclose(two.confidence[0], [0.8, 0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(two.visibility[0], [0.9, 0.1, 0.6, 0.9], atol=1e-6)


def test_tracks_never_visible_are_dropped() -> None:
    found = judged([[0.1, 0.1], [0.9, 0.9]], [[0.9, 0.9], [0.9, 0.9]])
    assert len(found) == 1 and found.visible.all()
    assert len(judged([[0.1]], [[0.9]])) == 0


def test_the_most_confident_track_stands_in_where_none_is_visible() -> None:
    found = judged([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], [[0.9, 0.7], [0.9, 0.8], [0.9, 0.75]])
    assert found.visible[:, 1].tolist() == [False, True, False]


def test_a_track_is_at_its_query_in_its_query_frame() -> None:
    found = judged([[0.9, 0.9]], [[0.9, 0.9]])
    assert found.xy[0, 0].tolist() == [20, 10]
    np.testing.assert_allclose(found.xy[0, 1], [51 * 199 / 255, 51 * 99 / 255], rtol=1e-6)
    assert found.query_xy.tolist() == [[20, 10]] and found.query_frame.tolist() == [0]


def test_extreme_logits_give_probabilities_without_warnings() -> None:
    logits = np.array([[-1e4, 1e4]], np.float32)
    found = tracks.filter_tracks(
        RawTracks(np.zeros((1, 2, 2), np.float32), logits, logits * 0 - 9), np.zeros((1, 3)), (9, 9)
    )
    assert found.visibility.tolist() == [[1, 0]]


def test_take_selects_in_every_field() -> None:
    found = judged([[0.9, 0.8]] * 3, [[0.9, 0.9]] * 3).take(np.array([2, 0]))
    assert len(found) == 2
    assert {len(value) for value in vars(found).values()} == {2}
