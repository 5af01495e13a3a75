"""The motion map: where engine `motion_map` sees motion in a frame, cell by cell, and where objects
end; and what that says of tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from samotion import dino
from samotion.backends.engines import Engines
from samotion.backends.threads import mapped
from samotion.cues.motion_residuals import MotionResiduals
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
CHANNELS = 13  # of the motion residuals that it is made from
EVERY = 2  # frames between those whose maps count in a track's score
SAMPLED_FRAMES = 12  # in which tracks are compared with each other, spread over the clip
SAMPLED_SHARES = np.linspace(0, 1, 14)[1:-1]  # of the line between two tracks
# of a track's own score, as a logit, beside the maps; 0.5 to 1 are within 0.003 of J on DAVIS
SCORE_SHARE = 0.7
SCORE_MARGIN = 1e-4  # scores nearer to 0 and 1 count as if they were that far from them


class MotionMaps:
    """Logits (GH,GW) float32 of a clip's frames, positive where something moves, and where objects
    end; computed when first asked for. Threads may ask for different frames at once.
    """

    def __init__(self, engines: Engines, frames: Array, tracks: Tracks, scores: Array) -> None:
        """`frames` (T,H,W,3) uint8 RGB; `scores` (N,) are the motion scores of `tracks`."""
        self._engine = engines["motion_map"]
        self._residuals = MotionResiduals(frames, tracks, scores)
        self._answers: dict[int, dict[str, Array]] = {}

    def __getitem__(self, frame: int) -> Array:
        """The map of one frame."""
        return np.asarray(self._answer(frame)["logits"][0])

    def probability(self, frame: int) -> Array:
        """The same in [0,1]."""
        return _probability(self[frame])

    def boundary(self, frame: int) -> Array:
        """How probable it is (GH,GW) that a moving object ends in a cell, at ground or another."""
        return _probability(self._answer(frame)["boundaries"][0])

    def _answer(self, frame: int) -> dict[str, Array]:
        if frame not in self._answers:
            self._answers[frame] = self._engine(residual=self._residuals[frame][None])
        return self._answers[frame]


def _probability(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def weigh(
    scores: Array,
    tracks: Tracks,
    maps: MotionMaps,
    hw: tuple[int, int],
    tell: Callable[[int], None] | None = None,
) -> Array:
    """Motion scores (N,) to whose logits the mean of the maps under their track is added.

    Tracks that are visible on no map keep their scores. `tell` is told how many maps are done.
    """
    total, count = np.zeros((2, len(tracks)))
    frames = range(0, tracks.xy.shape[1], EVERY)
    for done, (frame, own) in enumerate(zip(frames, mapped(maps.__getitem__, frames))):
        if tell:
            tell(done)
        visible = np.flatnonzero(tracks.visible[:, frame])
        total[visible] += under(own, tracks.xy[visible, frame], hw)
        count[visible] += 1
    known = count > 0
    mean = total[known] / count[known]
    weighed = scores.copy()
    weighed[known] = _probability(SCORE_SHARE * logits(scores[known]) + mean)
    return weighed


def logits(scores: Array) -> Array:
    """Log odds (N,) of scores in [0,1], kept finite."""
    clipped = scores.astype(np.float64).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
    return np.asarray(np.log(clipped / (1 - clipped)))


def sampled_frames(length: int) -> Array:
    """Frames spread over a clip of so many: SAMPLED_FRAMES, or all there are."""
    return np.unique(np.linspace(0, length - 1, SAMPLED_FRAMES).astype(int))


def under(cells: Array, xy: Array, hw: tuple[int, int]) -> Array:
    """The cells (K,) of a map (GH,GW) under points (K,2) px of a frame of size `hw`."""
    return dino.sample(cells[..., None], xy, hw)[:, 0]


def most_between(cells: Array, start: Array, end: Array, hw: tuple[int, int]) -> Array:
    """Maxima (K,) of cells (GH,GW) on straight lines from `start` (K,2) to `end` (K,2), px of a
    frame of size `hw`.
    """
    direction = end - start
    sampled = [under(cells, start + share * direction, hw) for share in SAMPLED_SHARES]
    return np.asarray(np.max(sampled, axis=0))
