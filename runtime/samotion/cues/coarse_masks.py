"""Coarse masks: what labelled tracks say about an object, drawn as logits for SAM 2's dense mask
prompt.

The same function draws the prompts of a run and those the nano SAM 2 was trained on, so that they
look alike.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
# sigmoid(6) = 0.998: sure, and still inside the range that SAM 2's own mask logits have
LOGIT_MAX = 6.0
CELLS_PER_SPACING = 3.0  # the drawing grid: a track every 3 cells is fine enough for blobs
SIGMA_SPACINGS = 0.5  # width of a track's vote, in mean distances between tracks
# each twice as wide and FALLOFF times as light: wide votes decide only where no track is near
SCALES = 4
FALLOFF = 0.05
PRIOR = 1e-5  # weight of "not the object" where no track votes at all
GUIDED_SIGMA_SPACINGS = 1.2  # a guided vote reaches farther, for it stops at edges
GUIDED_REACH_SIGMAS = 2.0
UNGUIDED = 0.01  # weight of votes that know no edges beside those that do


def coarse_mask(
    xy: Array, positive: Array, hw: tuple[int, int], guide: Array | None = None
) -> Array:
    """Draw an object's tracks among all tracks of one frame as a soft mask.

    Every track votes for its surroundings with Gaussian weights, the object's tracks for it and all
    others against; the answer is 6 times the votes' balance, so about 0 half-way between an
    object's track and a still one.

    xy: (N,2) px of the frame, the tracks *visible in this frame* (the object's, still ones, other
    objects'). positive: (N,) bool, or weights in [0,1]; 1 for tracks of the object, 0 for all
    others. hw: the frame's height and width. Returns (H,W) float32 logits in [-6,6]; all -6 without
    tracks. guide: (GH,GW,C) what the frame looks like there, so that places 1 apart hardly belong
    together (see guide.py); a track's nearest surroundings are then those that look alike. The mask
    is drawn on the guide's grid.
    """
    return Ballot(xy, hw, guide).mask(positive)


class Ballot:
    """The tracks of one frame and all their votes, counted once for the masks of several
    objects.
    """

    def __init__(self, xy: Array, hw: tuple[int, int], guide: Array | None = None) -> None:
        """As `coarse_mask`."""
        self._inside = ((xy >= 0) & (xy < hw[::-1])).all(axis=1)
        xy = xy[self._inside]
        spacing_px = float(np.sqrt(hw[0] * hw[1] / max(len(xy), 1)))
        cell_px = max(spacing_px / CELLS_PER_SPACING, max(hw) / 192)
        drawn_hw = max(2, round(hw[0] / cell_px)), max(2, round(hw[1] / cell_px))
        self._hw, self._guide, self._grid_hw = (
            hw,
            guide,
            drawn_hw if guide is None else guide.shape[:2],
        )
        grid_wh = np.array(self._grid_hw[::-1])
        self._cells = np.minimum(
            np.floor(xy * (grid_wh / hw[::-1])).astype(np.int64).reshape(-1, 2), grid_wh - 1
        )
        self._sigma = SIGMA_SPACINGS * spacing_px * grid_wh[0] / hw[1]
        self._all = self._spread(np.ones(len(xy), np.float32))

    def mask(self, positive: Array) -> Array:
        """The mask of an object, whose tracks are `positive`, as `coarse_mask` draws it."""
        yes = self._spread(np.asarray(positive, dtype=np.float32)[self._inside])
        no = self._all - yes
        balance = (yes - no - PRIOR) / (yes + no + PRIOR)
        logits = cv2.resize(LOGIT_MAX * balance, self._hw[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(logits, dtype=np.float32)

    def _spread(self, weight: Array) -> Array:
        """The votes (GH,GW) of all tracks with these weights (N,)."""
        voting = np.flatnonzero(weight)
        cells, weight = self._cells[voting], weight[voting]
        votes = _splat(cells, weight, self._grid_hw)
        spread = np.sum(
            [
                FALLOFF**k * cv2.GaussianBlur(votes, (0, 0), self._sigma * 2**k)
                for k in range(SCALES)
            ],
            axis=0,
        )
        if self._guide is not None:
            wide = GUIDED_SIGMA_SPACINGS / SIGMA_SPACINGS * self._sigma
            spread = UNGUIDED * spread + _guided(cells, weight, self._guide, wide)
        return np.asarray(spread, np.float32)


def _splat(cells: Array, weight: Array, grid_hw: tuple[int, int]) -> Array:
    """Sum `weight` (N,) into the cells (N,2), x and y, of a (GH,GW) grid."""
    flat = cells[:, 1] * grid_hw[1] + cells[:, 0]
    return np.bincount(flat, weight, grid_hw[0] * grid_hw[1]).reshape(grid_hw).astype(np.float32)


def _guided(cells: Array, weight: Array, guide: Array, sigma: float) -> Array:
    """Votes (GH,GW): Gaussian in place and in what `guide` shows, normalised as a plain blur is."""
    height, width = guide.shape[:2]
    reach = math.ceil(GUIDED_REACH_SIGMAS * sigma)
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), -1).reshape(-1, 2)
    near = np.exp(-0.5 * (offsets**2).sum(1) / sigma**2).astype(np.float32) / (2 * np.pi * sigma**2)
    x, y = (cells[:, None, i] + offsets[None, :, i] for i in (0, 1))
    flat = (y.clip(0, height - 1) * width + x.clip(0, width - 1)).astype(np.int32)
    unlike = np.zeros(flat.shape, np.float32)
    for channel in guide.reshape(-1, guide.shape[2]).T:
        unlike += (channel[flat] - channel[cells[:, 1] * width + cells[:, 0]][:, None]) ** 2
    vote = near * np.exp(-0.5 * unlike) * ((x >= 0) & (x < width) & (y >= 0) & (y < height))
    votes = np.bincount(flat.ravel(), (vote * weight[:, None]).ravel(), height * width)
    return votes.reshape(height, width).astype(np.float32)
