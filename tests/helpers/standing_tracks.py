"""Tracks that stand still, in grids: what prompts are tried on."""

from __future__ import annotations

import numpy as np
from samotion.tracks.records import Tracks

HW = (120, 160)
FRAMES = 20


def tracks_at(xy: np.ndarray) -> Tracks:
    """Tracks that stand at xy (N,2) or go along xy (N,T,2), seen in every frame."""
    xy = np.repeat(xy[:, None], FRAMES, axis=1) if xy.ndim == 2 else xy
    seen = np.ones(xy.shape[:2], np.float32)
    zeros = np.zeros(len(xy), int)
    return Tracks(xy.astype(np.float32), seen > 0, seen, seen, zeros, xy[:, 0].astype(np.float32))


def grid(left: int, top: int, size: int, step: int = 4) -> np.ndarray:
    x, y = np.meshgrid(np.arange(left, left + size, step), np.arange(top, top + size, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
