"""Motion looked at again, cell by cell, and more points followed where it shows and few tracks are.

The first queries are spread evenly, so an object of 1 % of the picture has 15 of 1536 tracks, fewer
of them sure: too few to tell it from chance, or it from its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.cues.motion_map import EVERY as MAPS_EVERY
from samotion.cues.motion_map import MotionMaps, weigh
from samotion.cues.track_flow import FlowCache, track
from samotion.tracks import Tracks, filter_tracks, join, resize_for_tracking

Array = np.ndarray[Any, Any]
EVERY = 5  # frames
REGION_TRACKS = 8  # a region of a map with as many visible tracks needs no more
SMALLEST_CELLS = 4  # of a region
SHARE = 9  # one in so many of a clip's tracks is kept for it
UNKNOWN = 0.5  # the motion score of a track that only the maps judge


def kept_for_it(max_tracks: int) -> int:
    """How many of `max_tracks` the first look leaves to the second."""
    return max_tracks // SHARE


def second_look(
    engines: Engines,
    frames: Array,
    tracks: Tracks,
    scores: Array,
    most: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cache: Array | FlowCache | None = None,
) -> tuple[Tracks, Array, MotionMaps]:
    """Its tracks with at most `most` more, the scores (N,) of all by the maps too, and the motion
    maps of a clip.

    `frames` (T,H,W,3) uint8; `scores` are the motion net's, of `tracks`; `cache` is what following
    those was given, None: made here. Tracks that are added come last. `progress` counts the frames
    whose maps are looked at.
    """
    hw = frames.shape[1], frames.shape[2]
    maps = MotionMaps(engines, frames, tracks, scores)
    first = len(range(0, len(frames), EVERY))
    whole = first + len(range(0, len(frames), MAPS_EVERY))
    tell = progress or (lambda done, total: None)
    queries = where_few_are(maps, tracks, hw, most, seed, lambda done: tell(done, whole))
    if len(queries):
        small = resize_for_tracking(frames) if cache is None else cache
        raw = track(engines, small, geometry.queries_to_grid(queries, hw))
        added = filter_tracks(raw, queries, hw, one_a_frame=False)
        tracks, scores = (
            join(tracks, added),
            np.append(scores, np.full(len(added), UNKNOWN, scores.dtype)),
        )
    return tracks, weigh(scores, tracks, maps, hw, lambda done: tell(first + done, whole)), maps


def where_few_are(
    maps: MotionMaps,
    tracks: Tracks,
    hw: tuple[int, int],
    most: int,
    seed: int,
    tell: Callable[[int], None] | None = None,
) -> Array:
    """At most `most` queries (N,3) float32 t, y, x px of frames of size `hw`, as
    `samotion.tracks.sample_queries` has.

    Every connected region of a map gets the cells that are farthest from its tracks, until it has
    REGION_TRACKS. `tell` is told how many maps are done.
    """
    found = [np.zeros((0, 3))]
    for done, frame in enumerate(range(0, tracks.xy.shape[1], EVERY)):
        if tell:
            tell(done)
        moving = (maps[frame] > 0).astype(np.uint8)
        px_per_cell = np.array(hw[::-1]) / moving.shape[::-1]
        cells = np.floor(tracks.xy[tracks.visible[:, frame], frame] / px_per_cell).astype(np.int64)
        cells = cells.clip(0, np.array(moving.shape[::-1]) - 1)
        count, region_of = cv2.connectedComponents(moving)
        has = np.bincount(region_of[cells[:, 1], cells[:, 0]], minlength=count)
        away = _distances(cells, moving.shape)
        for region in range(1, count):
            own = np.argwhere(region_of == region)[:, ::-1]
            if len(own) >= SMALLEST_CELLS and has[region] < REGION_TRACKS:
                chosen = _farthest(own, away[own[:, 1], own[:, 0]], REGION_TRACKS - has[region])
                xy = (own[chosen] + 0.5) * px_per_cell - 0.5
                found.append(np.column_stack([np.full(len(xy), frame), xy[:, ::-1]]))
    queries = np.concatenate(found).astype(np.float32)
    some = np.random.default_rng(seed).permutation(len(queries))[:most]
    return np.asarray(queries[np.sort(some)])


def _distances(taken: Array, shape: tuple[int, ...]) -> Array:
    """Of each cell of a grid to the nearest one that is `taken` (K,2), x and y; infinite without
    any.
    """
    if not len(taken):
        return np.full(shape, np.inf)
    free = np.ones(shape, np.uint8)
    free[taken[:, 1], taken[:, 0]] = 0
    found = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    # squares are whole: equal distances stay equal beside later ones
    return np.asarray(np.sqrt(np.rint(found**2)))


def _farthest(places: Array, away: Array, count: int) -> Array:
    """Indices of `count` places (P,2), each in turn the one farthest from those before it, and
    `away` (P,) at first.
    """
    chosen: list[int] = []
    while len(chosen) < min(count, len(places)):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return np.array(chosen, np.int64)
