"""Densification: more points are followed where the motion map shows motion and few tracks are;
docs/method.md, section 7.3.
"""

from __future__ import annotations

import cv2
import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.backends.threads import mapped
from samotion.checks.stages import StageProgress
from samotion.cues.motion_map import EVERY as MAPS_EVERY
from samotion.cues.motion_map import MotionMaps, weigh
from samotion.cues.track_flow import FlowCache, track
from samotion.tracks import Tracks, filter_tracks, join, resize_for_tracking

EVERY = 5  # frames
FAR_CELLS = 2.5  # of a map: what is as far from all visible tracks lacks some
RESERVED_SHARE = 9  # one in so many of a clip's tracks is reserved for densification
PRIOR_SCORE = 0.5  # the motion score of a track that only the maps judge


def densify(
    engines: Engines,
    frames: np.ndarray,
    tracks: Tracks,
    scores: np.ndarray,
    most: int,
    seed: int = 0,
    progress: StageProgress | None = None,
    cache: FlowCache | None = None,
) -> tuple[Tracks, np.ndarray, MotionMaps]:
    """The tracks with at most `most` more, the scores (N,) of all weighed by the motion maps, and
    the maps.

    `frames` (T,H,W,3) uint8; `scores` are the motion net's, of `tracks`; `cache` is what following
    those was given, None: made here. Tracks that are added come last. `progress` counts the frames
    whose maps are read.
    """
    hw = frames.shape[1], frames.shape[2]
    maps = MotionMaps(engines, frames, tracks, scores)
    read = sorted({*range(0, len(frames), EVERY), *range(0, len(frames), MAPS_EVERY)})
    for done, _ in enumerate(mapped(maps.__getitem__, read)):
        if progress:
            progress(done, len(read))
    queries = sparse_queries(maps, tracks, hw, most, seed)
    if len(queries):
        small = resize_for_tracking(frames) if cache is None else cache
        raw = track(engines, small, geometry.queries_to_grid(queries, hw))
        added = filter_tracks(raw, queries, hw, one_a_frame=False)
        prior = np.full(len(added), PRIOR_SCORE, scores.dtype)
        tracks, scores = join(tracks, added), np.append(scores, prior)
    return tracks, weigh(scores, tracks, maps, hw), maps


def sparse_queries(
    maps: MotionMaps, tracks: Tracks, hw: tuple[int, int], most: int, seed: int
) -> np.ndarray:
    """At most `most` queries (N,3) float32 t, y, x px of frames of size `hw`: cells drawn at random
    from those where a map shows motion, FAR_CELLS and more from the nearest visible track.
    """
    queries = []
    for frame in range(0, tracks.xy.shape[1], EVERY):
        moving = maps[frame] > 0
        grid_hw = moving.shape[0], moving.shape[1]
        visible_xy = tracks.xy[tracks.visible[:, frame], frame]
        # half a pixel off, as the constants of nano were fitted
        column, row = geometry.dino_cells(visible_xy.astype(np.float64), hw, grid_hw).T
        free = np.ones(grid_hw, np.uint8)
        free[row, column] = 0
        # without tracks it is far to any: 1e19 and the like
        far = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) >= FAR_CELLS
        cells = np.argwhere(moving & far)[:, ::-1]
        xy = geometry.cell_centres(cells, hw, grid_hw)
        queries.append(np.column_stack([np.full(len(xy), frame), xy[:, ::-1]]))
    every = np.concatenate(queries).astype(np.float32)
    drawn = np.random.default_rng(seed).permutation(len(every))[:most]
    return np.asarray(every[np.sort(drawn)])
