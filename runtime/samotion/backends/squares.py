"""Frames resampled to squares as Pillow does it, antialiased where that shrinks: in NumPy, and on a
GPU by engine sam2_resize, to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines

ENGINE = "sam2_resize"
PRECISION_BITS = 22  # Pillow's fixed point for 8-bit images


class Kernel(NamedTuple):
    """A filter: its value at distances in pixels, which is zero from `lobes` px on."""

    value: Callable[[np.ndarray], np.ndarray]
    lobes: int


class Squares:
    """Frames to squares of `side_px` where the engines compute, if that is a GPU with the engine
    for it. Frames with a side above `largest_px` are left to the host.
    """

    def __init__(self, engines: Engines, side_px: int, kernel: Kernel, largest_px: int) -> None:
        self._engines, self._side_px = engines, side_px
        self._kernel, self._largest_px = kernel, largest_px
        self._is_there = _makes(engines, side_px)
        self._taps: dict[tuple[int, int], dict[str, Any]] = {}  # by size of the frames

    def takes(self, hw: tuple[int, int]) -> bool:
        """Whether it makes squares of frames of a size."""
        return self._is_there and max(hw) <= self._largest_px

    def __call__(self, frames: np.ndarray) -> Any:
        """Frames (B,H,W,3) uint8 to (B,side_px,side_px,3), on the GPU."""
        hw = frames.shape[1], frames.shape[2]
        if hw not in self._taps:
            self._taps[hw] = self._taps_there(hw)
        engine: Any = self._engines[ENGINE]
        return engine.keep(frames=frames, **self._taps[hw])["resized"]

    def _taps_there(self, hw: tuple[int, int]) -> dict[str, Any]:
        """What the engine takes beside frames, brought up once for all of them."""
        found = {}
        for name, taps in zip(("index", "weight"), taps_of(hw, self._side_px, self._kernel)):
            found[name] = resident.empty(self._engines, taps.shape, taps.dtype)
            found[name][:] = taps
        return found


def _makes(engines: Engines, side_px: int) -> bool:
    """Whether there is an engine on a GPU that makes squares of this size."""
    held = getattr(engines, "manifest", None)  # others than a folder's have none
    if held is None or ENGINE not in held.engines or not resident.is_on_gpu(engines):
        return False
    return held.engines[ENGINE].inputs["index"][1] in ("N", side_px)


def resample(frame: np.ndarray, side_px: int, kernel: Kernel) -> np.ndarray:
    """A frame (H,W,3) uint8 to (side_px,side_px,3)."""
    # whole rows are resampled, which is fast: the columns first, turned to be rows
    wide = _resample(cv2.transpose(np.ascontiguousarray(frame)), side_px, kernel)
    return _resample(cv2.transpose(wide), side_px, kernel)


def _resample(image: np.ndarray, size: int, kernel: Kernel) -> np.ndarray:
    """An image (H,W,3) uint8 resampled to `size` rows, in fixed point."""
    index, weights = _taps(len(image), size, kernel)
    rows = image.reshape(len(image), -1).astype(np.int32)
    half: int = 1 << PRECISION_BITS - 1  # rounds to nearest
    total = np.full((size, rows.shape[1]), half, np.int32)
    tap = np.empty_like(total)
    for k in range(index.shape[1]):
        np.take(rows, index[:, k], axis=0, out=tap, mode="clip")  # unbuffered
        tap *= weights[:, k, None]
        total += tap
    total >>= PRECISION_BITS
    return total.clip(0, 255).astype(np.uint8).reshape(size, *image.shape[1:])


@lru_cache(maxsize=8)
def taps_of(hw: tuple[int, int], side_px: int, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """How the engine makes a square of frames (H,W): source pixels and their fixed-point weights
    (2,side_px,K) int64, those of rows second.
    """
    pairs = [_taps(length, side_px, kernel) for length in reversed(hw)]
    count = max(index.shape[1] for index, _ in pairs)
    padded = [[_padded(x, count) for x in pair] for pair in pairs]
    index, weight = (np.stack(arrays) for arrays in zip(*padded))
    return index, weight


def _padded(x: np.ndarray, count: int) -> np.ndarray:
    """(N,K) with zeros up to (N,count) int64."""
    return np.pad(x.astype(np.int64), ((0, 0), (0, count - x.shape[1])))


@lru_cache(maxsize=8)
def _taps(source: int, target: int, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """Which source pixels (target, taps) make a target pixel, and their fixed-point weights."""
    scale = source / target
    stretch = max(scale, 1.0)
    reach = kernel.lobes * stretch
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), source)
    index = first[:, None] + np.arange(most_taps(source, target, kernel.lobes))
    distance = (index - centre[:, None] + 0.5) / stretch
    weight = kernel.value(distance) * (index < end[:, None])
    weight /= weight.sum(1, keepdims=True)
    fixed = np.round(weight * (1 << PRECISION_BITS)).astype(np.int32)
    used = (weight != 0).any(0)
    inside = np.minimum(index, source - 1)
    return inside[:, used], fixed[:, used]


def most_taps(source: int, target: int, lobes: int) -> int:
    """How many source pixels make a target pixel, at most."""
    return 2 * math.ceil(lobes * max(1.0, source / target)) + 1


def _bicubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


BICUBIC, LANCZOS = Kernel(_bicubic, 2), Kernel(_lanczos, 3)
