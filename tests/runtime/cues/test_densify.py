"""Densification: more tracks where maps show motion and few tracks are, judged by the maps
alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from samotion.cues import densify
from samotion.cues.motion_map import EVERY as MAPS_EVERY
from samotion.cues.motion_map import MotionMaps
from samotion.presets import NANO
from samotion.tracks.tracking import RawTracks, Tracks

HW, CELLS, FRAMES = (80, 120), (40, 60), 11
LARGE, SMALL, TINY = (
    (slice(2, 20), slice(2, 20)),
    (slice(30, 36), slice(40, 46)),
    (slice(38, 39), slice(0, 3)),
)
Maps: Any = list[np.ndarray]


def _maps() -> Maps:
    """Three regions in which something moves: 18 x 18, 6 x 6 and 3 cells."""
    one = np.full(CELLS, -4, np.float32)
    for place in (LARGE, SMALL, TINY):
        one[place] = 3
    return [one] * FRAMES


def _tracks(xy: np.ndarray) -> Tracks:
    xy = np.repeat(np.asarray(xy, np.float32)[:, None], FRAMES, axis=1)
    ones = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, ones > 0, ones, ones, np.zeros(len(xy), int), xy[:, 0])


def _spread(count: int) -> np.ndarray:
    """So many points in the large region, and three in the small one, px."""
    return np.concatenate(
        [np.column_stack([np.linspace(5, 38, count), np.full(count, 10)]), np.full((3, 2), 85)]
    )


def test_regions_get_what_they_lack_and_no_more() -> None:
    tracks = _tracks(_spread(densify.REGION_TRACKS))
    tracks.xy[-3:, :, 1] = 65
    queries = densify.sparse_queries(_maps(), tracks, HW, 99, 0)
    assert queries.dtype == np.float32
    lacking = densify.REGION_TRACKS - 3
    frames, counts = np.unique(queries[:, 0], return_counts=True)
    assert frames.tolist() == [0, 5, 10] and (counts == lacking).all()
    row, column = ((queries[:, 1:] + 0.5) / 2).astype(int).T
    assert (row >= 30).all() and (row < 36).all() and (column >= 40).all() and (column < 46).all()
    assert len(np.unique(queries, axis=0)) == len(queries)
    first = queries[queries[:, 0] == 0, :0:-1]
    apart = np.linalg.norm(first[:, None] - first[None], axis=2) + 99 * np.eye(lacking)
    # spread over 12 px
    assert apart.min() > 3.5 and np.linalg.norm(first - [85, 65], axis=1).min() > 3.5


def test_hidden_tracks_do_not_count() -> None:
    tracks = _tracks(_spread(densify.REGION_TRACKS))
    tracks.visible[:, 5] = False
    queries = densify.sparse_queries(_maps(), tracks, HW, 99, 0)
    counts = [np.count_nonzero(queries[:, 0] == t) for t in (0, 5, 10)]
    assert counts[1] == 2 * densify.REGION_TRACKS > counts[0] == counts[2]


def test_queries_are_bounded_and_seeded() -> None:
    tracks = _tracks(np.array([[110.0, 5.0]]))
    some, again, other = (
        densify.sparse_queries(_maps(), tracks, HW, 7, seed) for seed in (0, 0, 1)
    )
    assert len(some) == len(other) == 7
    np.testing.assert_array_equal(some, again)
    assert not np.array_equal(some, other)


def test_tracks_are_added_and_judged_by_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, tracks = _maps(), _tracks(np.concatenate([_spread(12)[:-3], np.full((30, 2), 60)]))
    asked: list[np.ndarray] = []

    def track(engines: Any, frames: np.ndarray, queries: np.ndarray) -> RawTracks:
        asked.append(queries)
        there = np.repeat(queries[:, None, :0:-1], FRAMES, axis=1)
        sure = np.full(there.shape[:2], -9, np.float32)
        sure[:, 7] = 9  # hidden there, all of them
        return RawTracks(there, sure, np.full_like(sure, -9))

    monkeypatch.setattr(densify, "track", track)
    monkeypatch.setattr(densify, "MotionMaps", lambda *_: maps)
    frames: Any = np.zeros((FRAMES, *HW, 3), np.uint8)
    scores = np.full(len(tracks), 0.3, np.float32)
    engines: Any = None
    steps: list[tuple[int, int]] = []
    found, weighed, given = densify.densify(
        engines, frames, tracks, scores, 99, progress=lambda *step: steps.append(step)
    )
    whole = len(range(0, FRAMES, densify.EVERY)) + len(range(0, FRAMES, MAPS_EVERY))
    assert steps == [(done, whole) for done in range(whole)]
    count = len(found) - len(tracks)
    assert given is maps and count == len(asked[0]) == 3 * densify.REGION_TRACKS
    np.testing.assert_array_equal(found.xy[: len(tracks)], tracks.xy)
    assert (
        len(weighed) == len(found)
        and (weighed[len(tracks) :] > 0.9).all()
        and weighed[len(tracks) - 1] < 0.05
    )
    # none has to be visible: the motion net does not see them
    assert not found.visible[len(tracks) :, 7].any()
    assert (
        found.xy[len(tracks) :].min() >= 0
        and (found.xy[len(tracks) :].max(axis=(0, 1)) < HW[::-1]).all()
    )


def test_nothing_is_tracked_again_where_nothing_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [np.full(CELLS, -4, np.float32)] * FRAMES
    monkeypatch.setattr(densify, "MotionMaps", lambda *_: maps)
    tracks, scores = _tracks(_spread(4)), np.full(7, 0.5, np.float32)
    engines: Any = None
    found, _, _ = densify.densify(engines, np.zeros((FRAMES, *HW, 3), np.uint8), tracks, scores, 99)
    assert found is tracks


def test_first_and_added_tracks_stay_within_the_tracks_asked_for(
    engine_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def everywhere(
        _: MotionMaps, tracks: Tracks, hw: tuple[int, int], most: int, *__: Any
    ) -> np.ndarray:
        given.extend((len(tracks), most))
        return np.column_stack(
            [np.zeros(most), np.random.default_rng(0).uniform(0, 47, (most, 2))]
        ).astype(np.float32)

    monkeypatch.setattr(densify, "sparse_queries", everywhere)
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
    with samotion.open_engines(engine_folder, "cpu", threads=2) as engines:
        result = samotion.segment_clip(frames, engines, samotion.Settings(max_tracks=45))
    assert given[0] <= 40 and given[1] == 5
    assert len(result.scores) == len(result.tracks) <= 45
    assert NANO.max_tracks - densify.reserved_tracks(NANO.max_tracks) == 1536
