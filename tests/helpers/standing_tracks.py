"""Tracks that stand still, in grids: what prompts are tried on."""

from __future__ import annotations

import numpy as np
from samotion.tracks.records import Tracks

from helpers.camera_tracks import always_visible

HW = (120, 160)
FRAMES = 20


def tracks_at(xy: np.ndarray, frames: int = FRAMES) -> Tracks:
    """Tracks that stand at xy (N,2), seen in every frame."""
    return always_visible(np.repeat(xy[:, None].astype(np.float32), frames, axis=1))


def grid(left: int, top: int, size: int, step: int = 4) -> np.ndarray:
    x, y = np.meshgrid(np.arange(left, left + size, step), np.arange(top, top + size, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
