"""What the tracker is given: frames at its size, and the points to follow."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from samotion.errors import UsageError
from samotion.geometry import TRACKER_PX

Array = np.ndarray[Any, Any]

GRID_POINTS = 9000  # the reference's grid has about this many points on each query frame
LANCZOS_LOBES = 3
BAND_PX = 32  # resampled by one matrix: most of a matrix for a whole line would be zeros


def sample_queries(
    frame_count: int, hw: tuple[int, int], step: int, max_tracks: int, seed: int
) -> Array:
    """Points to follow: (N,3) float32 t, y, x px of the source, spread evenly over query frames and
    the image.

    Every `step`-th frame has the published grid (docs/method.md, stage 3). The published program
    tracks it all and keeps a random part. Here that part is drawn first: on each query frame every
    n-th grid point along a space-filling curve, from a random start. So each grid point is as
    likely as any other, and no two are the same.
    """
    if min(frame_count, step, max_tracks, *hw) < 1:
        raise UsageError(
            f"frames {frame_count}, size {hw}, step {step} and max_tracks {max_tracks} must all"
            f" be at least 1"
        )
    rng = np.random.default_rng(seed)
    grid_yx = _along_curve(_grid(hw))
    frames = np.arange(0, frame_count, step)
    shares = np.diff(np.arange(len(frames) + 1) * max_tracks // len(frames))
    parts = []
    for frame, share in zip(frames, rng.permutation(shares)):
        count = min(int(share), len(grid_yx))
        chosen = ((np.arange(count) + rng.random()) * (len(grid_yx) / max(count, 1))).astype(
            np.int64
        )
        yx = grid_yx[np.minimum(chosen, len(grid_yx) - 1)]
        parts.append(np.column_stack((np.full(count, frame), yx)))
    return np.concatenate(parts).astype(np.float32)


def _grid(hw: tuple[int, int]) -> Array:
    """The reference's grid of points on one frame: (G,2) y, x px."""
    spacing = max(1, int(math.sqrt(hw[0] * hw[1] / GRID_POINTS)))
    rows, columns = np.mgrid[0 : hw[0] : spacing, 0 : hw[1] : spacing]
    return np.column_stack((rows.ravel(), columns.ravel()))


def _along_curve(yx: Array) -> Array:
    """Points in the order of a Z-curve through their ranks, so that neighbours in order are
    neighbours in space.
    """
    ranks = np.column_stack([np.unique(axis, return_inverse=True)[1] for axis in yx.T]).astype(
        np.int64
    )
    code = np.zeros(len(yx), np.int64)
    for bit in range(16):
        code |= ((ranks[:, 0] >> bit & 1) << (2 * bit + 1)) | (
            (ranks[:, 1] >> bit & 1) << (2 * bit)
        )
    order: Array = yx[np.argsort(code, kind="stable")]
    return order


def resize_for_tracking(frames: Array, size_px: int = TRACKER_PX) -> Array:
    """uint8 (T,H,W,3) -> (T,256,256,3) or another size, with a Lanczos filter that widens when it
    shrinks.

    So does the reference's; OpenCV's Lanczos does not widen and aliases. Within 1 level of
    Pillow's.
    """
    count, height, width = frames.shape[:3]
    if (height, width) == (size_px, size_px):
        return np.asarray(frames)
    down, across = _lanczos(height, size_px), _lanczos(width, size_px)
    small = np.empty((count, size_px, size_px, 3), np.uint8)
    for out, frame in zip(small, frames):
        columns = cv2.transpose(np.ascontiguousarray(frame)).reshape(width, -1).astype(np.float32)
        narrow = cv2.transpose(_resample(across, columns).reshape(size_px, height, 3))
        square = _resample(down, narrow.reshape(height, -1))
        out[:] = square.reshape(out.shape)
    return small


Bands = list[tuple[slice, slice, Array]]


def _resample(bands: Bands, lines: Array) -> Array:
    """(from,M) -> (to,M), rounded to whole levels as Pillow does after either pass."""
    out = np.empty((bands[-1][0].stop, lines.shape[1]), np.float32)
    for there, here, weight in bands:
        np.matmul(weight, lines[here], out=out[there])
    np.rint(out, out=out)
    return np.clip(out, 0, 255, out=out)


def _lanczos(size: int, size_out: int) -> Bands:
    """How to resample a line of pixels, in parts: (pixels out, pixels in, matrix from these to
    those).
    """
    scale = size / size_out
    width = max(scale, 1.0)
    centres = (np.arange(size_out) + 0.5) * scale
    offset = (np.arange(size) + 0.5 - centres[:, None]) / width
    weight = np.where(
        np.abs(offset) < LANCZOS_LOBES, np.sinc(offset) * np.sinc(offset / LANCZOS_LOBES), 0
    )
    weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    bands = []
    for start in range(0, size_out, BAND_PX):
        there = slice(start, start + BAND_PX)
        used = np.flatnonzero(weight[there].any(0))
        here = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((there, here, np.ascontiguousarray(weight[there, here])))
    return bands
