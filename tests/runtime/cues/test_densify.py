"""Densification: more tracks where maps show motion and few tracks are, judged by the maps
alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers.standing_tracks import tracks_at
from samotion.cues import densify
from samotion.cues.motion_map import EVERY as MAPS_EVERY
from samotion.cues.motion_map import MotionMaps
from samotion.presets import NANO
from samotion.tracks import RawTracks, Tracks

HW, CELLS, FRAMES = (80, 120), (40, 60), 11
LARGE, SMALL = (slice(2, 20), slice(2, 20)), (slice(30, 36), slice(40, 46))
Maps: Any = list[np.ndarray]


def _maps() -> Maps:
    """Two regions in which something moves: 18 x 18 and 6 x 6 cells."""
    one = np.full(CELLS, -4, np.float32)
    for place in (LARGE, SMALL):
        one[place] = 3
    return [one] * FRAMES


def _covering(place: tuple[slice, slice], every: int = 2) -> np.ndarray:
    """Points px on every second cell of a region, and on those around it."""
    rows, columns = (np.arange(side.start - 1, side.stop + 1, every) for side in place)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.column_stack([x.ravel(), y.ravel()]) * 2.0 + 0.5


def test_queries_are_where_maps_show_motion_and_no_track_is_near() -> None:
    corner = np.array([[81.0, 61.0]])  # of the small region, in its first cell
    tracks = tracks_at(np.concatenate([_covering(LARGE), corner]), FRAMES)
    queries = densify.sparse_queries(_maps(), tracks, HW, 99, 0)
    assert queries.dtype == np.float32
    frames, counts = np.unique(queries[:, 0], return_counts=True)
    near = sum(y * y + x * x < densify.FAR_CELLS**2 for y in range(6) for x in range(6))
    assert frames.tolist() == [0, 5, 10] and (counts == 36 - near).all()
    row, column = ((queries[:, 1:] + 0.5) / 2).astype(int).T
    assert (row >= 30).all() and (row < 36).all() and (column >= 40).all() and (column < 46).all()
    assert len(np.unique(queries, axis=0)) == len(queries)


def test_hidden_tracks_do_not_count() -> None:
    tracks = tracks_at(np.concatenate([_covering(LARGE), _covering(SMALL)]), FRAMES)
    tracks.visible[:, 5] = False
    queries = densify.sparse_queries(_maps(), tracks, HW, 999, 0)
    assert np.unique(queries[:, 0]).tolist() == [5] and len(queries) == 18 * 18 + 6 * 6


def test_queries_are_bounded_and_seeded() -> None:
    tracks = tracks_at(np.array([[110.0, 5.0]]), FRAMES)
    some, again, other = (
        densify.sparse_queries(_maps(), tracks, HW, 7, seed) for seed in (0, 0, 1)
    )
    assert len(some) == len(other) == 7
    np.testing.assert_array_equal(some, again)
    assert not np.array_equal(some, other)


def test_tracks_are_added_and_judged_by_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = _maps()
    tracks = tracks_at(np.concatenate([_covering(LARGE), np.full((30, 2), 60)]), FRAMES)
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
    whole = len({*range(0, FRAMES, densify.EVERY), *range(0, FRAMES, MAPS_EVERY)})
    assert steps == [(done, whole) for done in range(whole)]
    count = len(found) - len(tracks)
    assert given is maps and count == len(asked[0]) == 99
    np.testing.assert_array_equal(found.xy[: len(tracks)], tracks.xy)
    assert len(weighed) == len(found)
    assert (weighed[len(tracks) :] > 0.9).all() and weighed[len(tracks) - 1] < 0.05
    # none has to be visible: the motion net does not see them
    assert not found.visible[len(tracks) :, 7].any()
    added = found.xy[len(tracks) :]
    assert added.min() >= 0 and (added.max(axis=(0, 1)) < HW[::-1]).all()


def test_nothing_is_tracked_again_where_nothing_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [np.full(CELLS, -4, np.float32)] * FRAMES
    monkeypatch.setattr(densify, "MotionMaps", lambda *_: maps)
    tracks, scores = tracks_at(np.full((7, 2), 60), FRAMES), np.full(7, 0.5, np.float32)
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
    assert NANO.max_tracks - NANO.max_tracks // densify.RESERVED_SHARE == 1536
