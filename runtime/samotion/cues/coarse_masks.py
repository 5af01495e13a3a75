"""Coarse masks: an object's tracks, drawn by kernel splatting as logits for SAM 2's mask prompt.

The same class draws the prompts of a run and those that train the nano SAM 2, so that both have
the same errors.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
# sigmoid(6) = 0.998: certain, and still inside the range that SAM 2's own mask logits have
LOGIT_MAX = 6.0
CELLS_PER_SPACING = 3.0  # of the grid for drawing: a track every 3 cells is fine enough for blobs
MAX_CELLS = 192  # of the frame's longer side
SIGMA_SPACINGS = 0.5  # width of a track's kernel, in mean distances between tracks
# kernels each twice as wide and FALLOFF times as light: the wide ones decide only far from tracks
SCALES = 4
FALLOFF = 0.05
PRIOR = 1e-5  # weight of "not the object" where no kernel reaches


class KernelSplatting:
    """The tracks of one frame as soft masks of its objects.

    Every track adds a Gaussian kernel around it to the weight for an object, or to the weight
    against it. The logit is 6 times the weights' normalised difference, so about 0 half-way between
    an object's track and another. The kernels of all tracks are added once for all objects.
    """

    def __init__(self, xy: Array, hw: tuple[int, int]) -> None:
        """xy: (N,2) px of the frame, the tracks *visible in this frame* (an object's, still ones,
        other objects'). hw: the frame's height and width.
        """
        self._hw = hw
        self._inside = ((xy >= 0) & (xy < hw[::-1])).all(axis=1)
        xy = xy[self._inside]
        spacing_px = float(np.sqrt(hw[0] * hw[1] / max(len(xy), 1)))
        cell_px = max(spacing_px / CELLS_PER_SPACING, max(hw) / MAX_CELLS)
        rows, columns = self._grid_hw = tuple(max(2, round(side / cell_px)) for side in hw)
        grid_wh = np.array([columns, rows])
        x, y = np.minimum(np.floor(xy * (grid_wh / hw[::-1])), grid_wh - 1).astype(np.int64).T
        self._cells = y * columns + x  # numbered row by row
        self._sigma = SIGMA_SPACINGS * spacing_px * columns / hw[1]
        self._total = self._splat(np.ones(len(xy), np.float32))

    def mask(self, positive: Array) -> Array:
        """The mask of an object: (H,W) float32 logits in [-6,6]; all -6 without tracks.

        positive: (N,) bool, or shares in [0,1]; 1 for tracks of the object, 0 for all others.
        """
        weight_for = self._splat(np.asarray(positive, np.float32)[self._inside])
        weight_against = self._total - weight_for
        difference = weight_for - weight_against - PRIOR
        logits = LOGIT_MAX * (difference / (weight_for + weight_against + PRIOR))
        return np.asarray(cv2.resize(logits, self._hw[::-1], interpolation=cv2.INTER_LINEAR))

    def _splat(self, weights: Array) -> Array:
        """(GH,GW): the kernels of all tracks, times their weights (N,), added up: Gaussians of all
        scales, wider ones lighter.
        """
        sums = np.bincount(self._cells, weights, math.prod(self._grid_hw))
        impulses = sums.reshape(self._grid_hw).astype(np.float32)
        scales = [
            FALLOFF**k * cv2.GaussianBlur(impulses, (0, 0), self._sigma * 2**k)
            for k in range(SCALES)
        ]
        return np.asarray(np.sum(scales, axis=0), np.float32)
