"""Disparity under tracks as the published program finds it: of whole maps, quirk by quirk."""

from __future__ import annotations

import numpy as np
from samotion import depth, geometry, motion


def gather(disparity: np.ndarray, xy_px: np.ndarray, hw: tuple[int, int], mode: str) -> np.ndarray:
    """Disparity (T,H,W) in [0,1] under every track in every frame, (N,T) float32; xy_px (N,T,2) px
    of `hw`. `mode` is the preset's `motion.disparity`.
    """
    find, prepare = {
        "reference": (lookup_misplaced, saturate),
        "plain": (motion.lookup, lambda maps: maps),
    }[mode]
    return find(prepare(disparity), xy_px, hw)


def saturate(disparity: np.ndarray) -> np.ndarray:
    """Quirk A of whole maps, each scaled to [0,1] again."""
    return depth.to_unit_range(motion.saturated(disparity))


def lookup_misplaced(disparity: np.ndarray, xy_px: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Quirk B: disparity where `geometry.misplaced_index` says."""
    frames, height, width = disparity.shape
    index = geometry.misplaced_index(xy_px, hw, (height, width))
    return disparity.reshape(frames, height * width)[np.arange(frames), index]
