"""Augmentation of pooled clips: crops, flips, reversal and colours, with tracks that follow."""

from __future__ import annotations

import cv2
import numpy as np
from samotion.geometry import inside

Rng = np.random.Generator
SIZE_PX = 256


def place(rng: Rng, smallest: float = 0.6) -> np.ndarray:
    """A random affine (2, 3) of a 256 px picture: a crop of at least `smallest` of each side,
    perhaps mirrored.
    """
    scale = 1 / rng.uniform(smallest, 1, 2)
    shift = -rng.random(2) * (scale - 1) * SIZE_PX
    if rng.random() < 0.5:
        scale[0], shift[0] = -scale[0], SIZE_PX - shift[0]
    # Edges, not pixel centres, are what scales about: centres are at whole numbers.
    return np.array(
        [
            [scale[0], 0, shift[0] + 0.5 * (scale[0] - 1)],
            [0, scale[1], shift[1] + 0.5 * (scale[1] - 1)],
        ]
    )


def warp(images: np.ndarray, matrix: np.ndarray, nearest: bool = False) -> np.ndarray:
    """(T, 256, 256, ...) through `matrix`."""
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.stack([cv2.warpAffine(i, matrix, (SIZE_PX, SIZE_PX), flags=flags) for i in images])


def move(xy: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (..., 2) through `matrix`, and whether they are still in the picture."""
    out = (xy @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return out, inside(out, (SIZE_PX, SIZE_PX))


def recolour(rng: Rng, frames: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """(T, H, W, 3) uint8 with other brightness, contrast, colour balance and gamma, drifting a
    little over time.
    """
    steps = len(frames)
    gain = np.exp(
        strength * (rng.normal(0, 0.2, 3) + rng.normal(0, 0.12) + rng.normal(0, 0.04, (steps, 1)))
    )
    levels = np.linspace(0, 1, 256)
    gamma = np.exp(strength * rng.normal(0, 0.25))
    table = np.clip(levels[None, :, None] ** gamma * gain[:, None], 0, 1) * 255
    out = np.stack([cv2.LUT(f, t.astype(np.uint8)[None]) for f, t in zip(frames, table)])
    if rng.random() < 0.15 * strength:
        out = np.repeat(out.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    return out
