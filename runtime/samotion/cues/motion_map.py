"""The motion map: where engine `motion_map` sees motion in a frame, cell by cell, and where objects
end; and what that says of tracks.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from samotion import dino
from samotion.backends.engines import Engines
from samotion.cues.motion_residuals import MotionResiduals
from samotion.tracks.records import Tracks

EVERY = 2  # frames between those whose maps count in a track's score
SAMPLED_SHARES = np.linspace(0, 1, 14)[1:-1]  # of the line between two tracks
# of a track's own score, as a logit, beside the maps; 0.5 to 1 are within 0.003 of J on DAVIS
SCORE_SHARE = 0.7
SCORE_MARGIN = 1e-4  # scores nearer to 0 and 1 count as if they were that far from them


class MotionMaps:
    """Logits (GH,GW) float32 of a clip's frames, positive where something moves, and where objects
    end; computed when first asked for. Threads may ask for different frames at once.
    """

    def __init__(
        self, engines: Engines, frames: np.ndarray, tracks: Tracks, scores: np.ndarray
    ) -> None:
        """`frames` (T,H,W,3) uint8 RGB; `scores` (N,) are the motion scores of `tracks`."""
        engine, residuals = engines["motion_map"], MotionResiduals(frames, tracks, scores)
        self._answer = cache(lambda frame: engine(residual=residuals[frame][None]))

    def __getitem__(self, frame: int) -> np.ndarray:
        """The map of one frame."""
        return np.asarray(self._answer(frame)["logits"][0])

    def boundary(self, frame: int) -> np.ndarray:
        """How probable it is (GH,GW) that a moving object ends in a cell, at ground or another."""
        return probability(self._answer(frame)["boundaries"][0])


def probability(logits: np.ndarray) -> np.ndarray:
    """Probabilities of log odds."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def weigh(scores: np.ndarray, tracks: Tracks, maps: MotionMaps, hw: tuple[int, int]) -> np.ndarray:
    """Motion scores (N,) to whose logits the mean of the maps under their track is added.

    Tracks that are visible on no map keep their scores.
    """
    total, count = np.zeros((2, len(tracks)))
    for frame in range(0, tracks.xy.shape[1], EVERY):
        visible = np.flatnonzero(tracks.visible[:, frame])
        total[visible] += dino.sample(maps[frame], tracks.xy[visible, frame], hw)
        count[visible] += 1
    logit = SCORE_SHARE * logits(scores) + total / np.maximum(count, 1)
    return np.where(count, probability(logit), scores).astype(scores.dtype)


def logits(scores: np.ndarray) -> np.ndarray:
    """Log odds (N,) of scores in [0,1], kept finite."""
    clipped = scores.astype(np.float64).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
    return np.asarray(np.log(clipped / (1 - clipped)))


def most_between(
    cells: np.ndarray, start: np.ndarray, end: np.ndarray, hw: tuple[int, int]
) -> np.ndarray:
    """Maxima (K,) of cells (GH,GW) on straight lines from `start` (K,2) to `end` (K,2), px of a
    frame of size `hw`.
    """
    direction = end - start
    sampled = [dino.sample(cells, start + share * direction, hw) for share in SAMPLED_SHARES]
    return np.asarray(np.max(sampled, axis=0))
