"""Coarse masks: tracks drawn by kernel splatting as logits for SAM 2's mask prompt; docs/method.md,
section 7.7.

The same function draws the prompts of a run and those that train the nano SAM 2, so that both have
the same errors.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from samotion.geometry import dino_cells

# sigmoid(6) = 0.998: certain, and still inside the range that SAM 2's own mask logits have
LOGIT_MAX = 6.0
CELLS_PER_SPACING = 3.0  # of the grid for drawing: a track every 3 cells is fine enough for blobs
MAX_CELLS = 192  # of the frame's longer side
SIGMA_SPACINGS = 0.5  # width of a track's kernel, in mean distances between tracks
# kernels each twice as wide and FALLOFF times as light: the wide ones decide only far from tracks
SCALES = 4
FALLOFF = 0.05
PRIOR = 1e-5  # weight of "not the object" where no kernel reaches


def splat(xy: np.ndarray, shares: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Soft masks of K objects in a frame of size `hw`: (K,H,W) float32 logits in [-6,6]; all -6
    without tracks.

    xy: (N,2) px, the tracks *visible in this frame* (an object's, still ones, other objects').
    shares: (K,N) bool, or in [0,1]; 1 for tracks of an object, 0 for all others. Every track adds
    kernels around it to the weight for an object, or against it. The logit is 6 times the weights'
    normalised difference, so about 0 half-way between an object's track and another.
    """
    inside = ((xy >= 0) & (xy < hw[::-1])).all(axis=1)
    spacing_px = math.sqrt(hw[0] * hw[1] / max(int(inside.sum()), 1))
    cell_px = max(spacing_px / CELLS_PER_SPACING, max(hw) / MAX_CELLS)
    rows, columns = (max(2, round(side / cell_px)) for side in hw)
    x, y = dino_cells(xy[inside].astype(np.float64), hw, (rows, columns)).T
    sigma = SIGMA_SPACINGS * spacing_px * columns / hw[1]

    def weight(own: np.ndarray) -> np.ndarray:
        """Gaussians of all scales, times the tracks' shares (N,), added up."""
        impulses = np.zeros((rows, columns), np.float32)
        np.add.at(impulses, (y, x), own[inside])
        scales = [
            FALLOFF**k * cv2.GaussianBlur(impulses, (0, 0), sigma * 2**k) for k in range(SCALES)
        ]
        return np.asarray(np.sum(scales, axis=0))

    total = weight(np.ones(len(xy))) + PRIOR
    logits = [LOGIT_MAX * (2 * weight(own) / total - 1) for own in shares]
    return np.array([cv2.resize(one, hw[::-1], interpolation=cv2.INTER_LINEAR) for one in logits])
