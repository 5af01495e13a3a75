"""Coarse masks: what labelled tracks say about an object, drawn as logits for SAM 2's dense mask prompt.

The same function draws the prompts of a run and those the nano SAM 2 was trained on, so that they look alike.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
LOGIT_MAX = 6.0  # sigmoid(6) = 0.998: sure, and still inside the range that SAM 2's own mask logits have
CELLS_PER_SPACING = 3.0  # the drawing grid: a track every 3 cells is fine enough for blobs
SIGMA_SPACINGS = 0.5  # width of a track's vote, in mean distances between tracks
SCALES = 4  # each twice as wide and FALLOFF times as light: wide votes decide only where no track is near
FALLOFF = 0.05
PRIOR = 1e-5  # weight of "not the object" where no track votes at all


def coarse_mask(xy: Array, positive: Array, hw: tuple[int, int]) -> Array:
    """Draw an object's tracks among all tracks of one frame as a soft mask.

    Every track votes for its surroundings with Gaussian weights, the object's tracks for it and all others against;
    the answer is 6 times the votes' balance, so about 0 half-way between an object's track and a still one.

    xy: (N,2) px of the frame, the tracks *visible in this frame* (the object's, still ones, other objects').
    positive: (N,) bool, or weights in [0,1]; 1 for tracks of the object, 0 for all others.
    hw: the frame's height and width. Returns (H,W) float32 logits in [-6,6]; all -6 without tracks.
    """
    height, width = hw
    inside = ((xy >= 0) & (xy < hw[::-1])).all(axis=1)
    xy, weight = xy[inside], np.asarray(positive, dtype=np.float32)[inside]
    spacing_px = float(np.sqrt(height * width / max(len(xy), 1)))
    cell_px = max(spacing_px / CELLS_PER_SPACING, max(hw) / 192)
    grid_hw = (max(2, round(height / cell_px)), max(2, round(width / cell_px)))
    votes = np.stack([_splat(xy, weight, hw, grid_hw), _splat(xy, 1 - weight, hw, grid_hw)], axis=-1)
    sigma = SIGMA_SPACINGS * spacing_px * grid_hw[1] / width
    spread = np.sum([FALLOFF**k * cv2.GaussianBlur(votes, (0, 0), sigma * 2**k) for k in range(SCALES)], axis=0)
    yes, no = spread[..., 0], spread[..., 1]
    balance = (yes - no - PRIOR) / (yes + no + PRIOR)
    logits = cv2.resize(LOGIT_MAX * balance.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(logits, dtype=np.float32)


def _splat(xy: Array, weight: Array, hw: tuple[int, int], grid_hw: tuple[int, int]) -> Array:
    """Sum `weight` (N,) of the points `xy`, all inside the frame, into the cells of a (GH,GW) grid over it."""
    cells = np.floor(xy * (np.array(grid_hw[::-1]) / np.array(hw[::-1]))).astype(np.int64).reshape(-1, 2)
    cells = np.minimum(cells, np.array(grid_hw[::-1]) - 1)
    flat = cells[:, 1] * grid_hw[1] + cells[:, 0]
    return np.bincount(flat, weight, grid_hw[0] * grid_hw[1]).reshape(grid_hw).astype(np.float32)
