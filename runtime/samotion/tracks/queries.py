"""What the tracker is given: frames at its size, and the points to follow."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from samotion.backends.threads import mapped
from samotion.checks.arguments import AsArray, frames_of
from samotion.contract import TRACKER_PX
from samotion.errors import UsageError

GRID_POINTS = 9000  # the reference's grid has about this many points on each query frame
LANCZOS_LOBES = 3
BAND_PX = 32  # resampled by one matrix: most of a matrix for a whole line would be zeros


def sample_queries(
    frame_count: int, hw: tuple[int, int], step: int, max_tracks: int, seed: int
) -> np.ndarray:
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
    bounds = np.arange(len(frames) + 1) * max_tracks // len(frames)
    shares = rng.permutation(np.diff(bounds))
    queries = []
    for frame, share in zip(frames, shares):
        yx = _evenly(grid_yx, int(share), rng.random())
        queries.append(np.column_stack((np.full(len(yx), frame), yx)))
    return np.concatenate(queries).astype(np.float32)


def _evenly(points: np.ndarray, count: int, start: float) -> np.ndarray:
    """`count` of the points (G,2) at equal steps, the first at `start` (in [0,1)) of a step; all
    where there are no more.
    """
    count = min(count, len(points))
    stride = len(points) / max(count, 1)
    chosen = ((np.arange(count) + start) * stride).astype(np.int64)
    return np.asarray(points[np.minimum(chosen, len(points) - 1)])


def _grid(hw: tuple[int, int]) -> np.ndarray:
    """The reference's grid of points on one frame: (G,2) y, x px."""
    spacing = max(1, int(math.sqrt(hw[0] * hw[1] / GRID_POINTS)))
    rows, columns = np.mgrid[0 : hw[0] : spacing, 0 : hw[1] : spacing]
    return np.column_stack((rows.ravel(), columns.ravel()))


def _along_curve(yx: np.ndarray) -> np.ndarray:
    """Points in the order of a Z-curve through their ranks, so that neighbours in order are
    neighbours in space.
    """
    row_ranks, column_ranks = (_ranks(values) for values in yx.T)
    code = np.zeros(len(yx), np.int64)
    for bit in range(16):
        code |= (row_ranks >> bit & 1) << (2 * bit + 1)
        code |= (column_ranks >> bit & 1) << (2 * bit)
    ordered: np.ndarray = yx[np.argsort(code, kind="stable")]
    return ordered


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among the different ones in order, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def resize_for_tracking(frames: AsArray, size_px: int = TRACKER_PX) -> np.ndarray:
    """uint8 (T,H,W,3) -> (T,256,256,3) or another size, with a Lanczos filter that widens when it
    shrinks.

    So does the reference's; OpenCV's Lanczos does not widen and aliases. Within 1 level of
    Pillow's. Raises UsageError for other frames.
    """
    given = frames_of(frames)
    count, height, width = given.shape[:3]
    if (height, width) == (size_px, size_px):
        return given
    down = _lanczos(height, size_px)
    across = _lanczos(width, size_px)

    def square(frame: np.ndarray) -> np.ndarray:
        columns = cv2.transpose(np.ascontiguousarray(frame))
        narrow = _resample(across, columns.reshape(width, -1).astype(np.float32))
        rows = cv2.transpose(narrow.reshape(size_px, height, 3))
        return _resample(down, rows.reshape(height, -1)).reshape(size_px, size_px, 3)

    small = np.empty((count, size_px, size_px, 3), np.uint8)
    for out, made in zip(small, mapped(square, given)):
        out[:] = made
    return small


# (pixels out, pixels in, matrix from these to those)
Bands = list[tuple[slice, slice, np.ndarray]]


def _resample(bands: Bands, lines: np.ndarray) -> np.ndarray:
    """(from,M) -> (to,M), rounded to whole levels as Pillow does after either pass."""
    out = np.empty((bands[-1][0].stop, lines.shape[1]), np.float32)
    for pixels_out, pixels_in, weights in bands:
        np.matmul(weights, lines[pixels_in], out=out[pixels_out])
    np.rint(out, out=out)
    return np.clip(out, 0, 255, out=out)


@lru_cache(maxsize=8)
def _lanczos(size: int, size_out: int) -> Bands:
    """How to resample a line of pixels, in bands of BAND_PX pixels out."""
    weights = _lanczos_weights(size, size_out)
    bands = []
    for start in range(0, size_out, BAND_PX):
        pixels_out = slice(start, start + BAND_PX)
        used = np.flatnonzero(weights[pixels_out].any(0))
        pixels_in = slice(int(used[0]), int(used[-1]) + 1)
        band = np.ascontiguousarray(weights[pixels_out, pixels_in])
        bands.append((pixels_out, pixels_in, band))
    return bands


def _lanczos_weights(size: int, size_out: int) -> np.ndarray:
    """The whole matrix (size_out,size): a Lanczos filter around the centre of each pixel out."""
    scale = size / size_out
    width = max(scale, 1.0)
    centres = (np.arange(size_out) + 0.5) * scale
    offset = (np.arange(size) + 0.5 - centres[:, None]) / width
    window = np.sinc(offset / LANCZOS_LOBES)
    weights = np.where(np.abs(offset) < LANCZOS_LOBES, np.sinc(offset) * window, 0)
    normalised: np.ndarray = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return normalised
