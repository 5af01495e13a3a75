"""Coarse masks: an object's tracks, drawn by kernel splatting as logits for SAM 2's mask prompt.

The same function draws the prompts of a run and those the nano SAM 2 was trained on, so that both
have the same errors.
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
MAX_CELLS = 192  # of the frame's longer side, without edge features
SIGMA_SPACINGS = 0.5  # width of a track's kernel, in mean distances between tracks
# kernels each twice as wide and FALLOFF times as light: the wide ones decide only far from tracks
SCALES = 4
FALLOFF = 0.05
PRIOR = 1e-5  # weight of "not the object" where no kernel reaches
BILATERAL_SIGMA_SPACINGS = 1.2  # such a kernel may be wider, for it stops at edges
BILATERAL_RADIUS_SIGMAS = 2.0  # where it is cut off
PLAIN_WEIGHT = 0.01  # of the plain kernels beside the bilateral ones


def coarse_mask(
    xy: Array, positive: Array, hw: tuple[int, int], edge_features: Array | None = None
) -> Array:
    """Draw an object's tracks among all tracks of one frame as a soft mask.

    Every track adds a Gaussian kernel around it to the weight for the object, or to the weight
    against it. The logit is 6 times the weights' normalised difference, so about 0 half-way between
    an object's track and another.

    xy: (N,2) px of the frame, the tracks *visible in this frame* (the object's, still ones, other
    objects'). positive: (N,) bool, or shares in [0,1]; 1 for tracks of the object, 0 for all
    others. hw: the frame's height and width. Returns (H,W) float32 logits in [-6,6]; all -6 without
    tracks. edge_features: (GH,GW,C) of the frame, in units of their kernel's sigma (see
    `edge_features.py`); kernels are then bilateral, and the mask is drawn on this grid.
    """
    return KernelSplatting(xy, hw, edge_features).mask(positive)


class KernelSplatting:
    """The tracks of one frame with the weight of all their kernels, added once for the masks of
    several objects.
    """

    def __init__(self, xy: Array, hw: tuple[int, int], edge_features: Array | None = None) -> None:
        """As `coarse_mask`."""
        self._hw = hw
        self._edge_features = edge_features
        self._inside = ((xy >= 0) & (xy < hw[::-1])).all(axis=1)
        xy = xy[self._inside]
        spacing_px = float(np.sqrt(hw[0] * hw[1] / max(len(xy), 1)))
        self._grid_hw = _grid_hw(hw, spacing_px, edge_features)
        grid_wh = np.array(self._grid_hw[::-1])
        cells_per_px = grid_wh / hw[::-1]
        cells = np.floor(xy * cells_per_px).astype(np.int64).reshape(-1, 2)
        self._cells = np.minimum(cells, grid_wh - 1)
        self._sigma = SIGMA_SPACINGS * spacing_px * grid_wh[0] / hw[1]
        self._total = self._splat(np.ones(len(xy), np.float32))

    def mask(self, positive: Array) -> Array:
        """The mask of an object whose tracks are `positive`, as `coarse_mask` draws it."""
        shares = np.asarray(positive, dtype=np.float32)[self._inside]
        weight_for = self._splat(shares)
        weight_against = self._total - weight_for
        difference = weight_for - weight_against - PRIOR
        total = weight_for + weight_against + PRIOR
        logits = LOGIT_MAX * (difference / total)
        size = self._hw[::-1]
        large = cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(large, dtype=np.float32)

    def _splat(self, weights: Array) -> Array:
        """The kernels of all tracks, times their weights (N,), added up: (GH,GW)."""
        used = np.flatnonzero(weights)
        cells = self._cells[used]
        weights = weights[used]
        plain = self._splat_gaussians(cells, weights)
        if self._edge_features is None:
            return np.asarray(plain, np.float32)
        sigma = BILATERAL_SIGMA_SPACINGS / SIGMA_SPACINGS * self._sigma
        bilateral = _splat_bilateral(cells, weights, self._edge_features, sigma)
        return np.asarray(PLAIN_WEIGHT * plain + bilateral, np.float32)

    def _splat_gaussians(self, cells: Array, weights: Array) -> Array:
        """(GH,GW): Gaussians of all scales around each cell, wider ones lighter."""
        impulses = _accumulate(cells, weights, self._grid_hw)
        scales = []
        for k in range(SCALES):
            blurred = cv2.GaussianBlur(impulses, (0, 0), self._sigma * 2**k)
            scales.append(FALLOFF**k * blurred)
        return np.asarray(np.sum(scales, axis=0))


def _grid_hw(
    hw: tuple[int, int], spacing_px: float, edge_features: Array | None
) -> tuple[int, int]:
    """Rows and columns of the grid for drawing: that of the edge features where there are some."""
    if edge_features is not None:
        return edge_features.shape[0], edge_features.shape[1]
    cell_px = max(spacing_px / CELLS_PER_SPACING, max(hw) / MAX_CELLS)
    rows = max(2, round(hw[0] / cell_px))
    columns = max(2, round(hw[1] / cell_px))
    return rows, columns


def _accumulate(cells: Array, weights: Array, grid_hw: tuple[int, int]) -> Array:
    """Sum the weights (N,) in the cells (N,2), x and y, of a (GH,GW) grid."""
    height, width = grid_hw
    flat = cells[:, 1] * width + cells[:, 0]
    sums = np.bincount(flat, weights, height * width)
    return sums.reshape(grid_hw).astype(np.float32)


def _splat_bilateral(cells: Array, weights: Array, edge_features: Array, sigma: float) -> Array:
    """(GH,GW): kernels Gaussian in place and in the edge features, normalised in place only."""
    height, width, channels = edge_features.shape
    offsets = _offsets(math.ceil(BILATERAL_RADIUS_SIGMAS * sigma))
    x = cells[:, None, 0] + offsets[None, :, 0]
    y = cells[:, None, 1] + offsets[None, :, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    around = (y.clip(0, height - 1) * width + x.clip(0, width - 1)).astype(np.int32)
    centre = cells[:, 1] * width + cells[:, 0]
    distance2 = np.zeros(around.shape, np.float32)
    for channel in edge_features.reshape(-1, channels).T:
        distance2 += (channel[around] - channel[centre][:, None]) ** 2
    kernels = _gaussian(offsets, sigma) * np.exp(-0.5 * distance2) * inside
    weighted = kernels * weights[:, None]
    sums = np.bincount(around.ravel(), weighted.ravel(), height * width)
    return sums.reshape(height, width).astype(np.float32)


def _offsets(radius: int) -> Array:
    """All steps (R*R,2) in x and y of a square window."""
    steps = np.arange(-radius, radius + 1)
    return np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)


def _gaussian(offsets: Array, sigma: float) -> Array:
    """A normalised Gaussian at `offsets` (R,2) from its centre."""
    squared = (offsets**2).sum(1)
    kernel: Array = np.exp(-0.5 * squared / sigma**2).astype(np.float32)
    return kernel / (2 * np.pi * sigma**2)
