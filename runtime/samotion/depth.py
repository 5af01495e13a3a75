"""Depth: one relative disparity map per frame."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.resident import Answer
from samotion.backends.threads import ahead, mapped
from samotion.checks.arguments import AsArray, frames_of
from samotion.contract import PATCH_PX

# the small net takes about 1 GB for as many; one frame of 924x518 at a time, else two calls at once
PX_PER_CALL = 300_000
GPU_FRAMES = 8  # in one call to a GPU, which one frame does not fill
GPU_PX_PER_CALL = GPU_FRAMES * 518 * 1036  # of fewer frames, if they are long strips
MAX_CUBIC_SHRINK = 2.5  # 4 px a side are read; skipping more of them aliases. 1080 px to 518 is 2.1
FLAT = 1e-5  # of the values: less than this between the nearest and farthest is rounding, not depth
MAX_ASPECT = 8  # memory does not grow with the shape of a long strip


def estimate(engines: Engines, frames: AsArray) -> np.ndarray:
    """Disparity (T,H,W) float32 in [0,1] of uint8 RGB frames (T,H,W,3); larger is nearer, each
    frame spans [0,1].

    Frames are resized for the net (`net_size`, `resize`) and its answer bicubically back. A frame
    of constant disparity gives zeros. Raises UsageError for other frames.
    """
    given = frames_of(frames)
    maps = np.empty(given.shape[:3], np.float32)
    for unit, disparity in zip(maps, raw_maps(engines, given)):
        unit[:] = to_unit_range(resize(disparity, unit.shape))
    return maps


def raw_maps(engines: Engines, frames: np.ndarray) -> Iterator[np.ndarray]:
    """What the net answers for each frame: a map of its own size and range. A GPU is given all
    `frames` before the first answer is waited for.
    """
    answers = started(engines, frames)
    for answer in [*answers] if resident.is_on_gpu(engines) else answers:
        yield from answer.get()["disparity"]


def started(engines: Engines, frames: np.ndarray) -> Iterator[Answer]:
    """The net's calls in order, each on its way: `disparity` of a few frames."""
    rows, columns = net_size((frames.shape[1], frames.shape[2]), engines.preset.depth.short_side_px)
    on_gpu = resident.is_on_gpu(engines)
    per_call = frames_per_call((rows, columns), on_gpu)
    batches = (
        _resized(frames[start : start + per_call], (rows, columns))
        for start in range(0, len(frames), per_call)
    )
    return mapped(
        lambda batch: resident.call(engines, "depth", frames=batch).fetch(),
        ahead(batches, on_a_thread=on_gpu),
        on_threads=not on_gpu and per_call > 1,
    )


def _resized(frames: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Frames as the net takes them."""
    batch = np.empty((len(frames), *hw, 3), np.uint8)
    for out, frame in zip(batch, frames):
        resize(frame, hw, out)
    return batch


def frames_per_call(hw: tuple[int, int], on_gpu: bool) -> int:
    """How many frames of the net's size go into one call."""
    if on_gpu:
        return max(1, min(GPU_FRAMES, GPU_PX_PER_CALL // (hw[0] * hw[1])))
    return max(1, PX_PER_CALL // (hw[0] * hw[1]))


def net_size(hw: tuple[int, int], side_px: int) -> tuple[int, int]:
    """The size the net sees: the side that needs the smaller change becomes `side_px`, both
    multiples of 14.

    That is the short side of all frames larger than `side_px` (docs/method.md, section 4.2). Of a
    long strip the longer side is held to `MAX_ASPECT` times `side_px`.
    """
    scale = min((side_px / side for side in hw), key=lambda scale: abs(1 - scale))
    scale = min(scale, MAX_ASPECT * side_px / max(hw))
    rows, columns = (max(1, round(side * scale / PATCH_PX)) * PATCH_PX for side in hw)
    return rows, columns


def to_unit_range(disparity: np.ndarray) -> np.ndarray:
    """Min-max normalised over the last two axes; a constant map gives zeros."""
    return rescale(disparity, *extremes(disparity))


def extremes(disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest number over the last two axes, (...,1,1)."""
    return disparity.min((-2, -1), keepdims=True), disparity.max((-2, -1), keepdims=True)


def rescale(disparity: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """From [low, high] to [0,1]; zeros where these are one."""
    flat = high - low <= FLAT * np.maximum(np.abs(low), np.abs(high))
    unit: np.ndarray = np.where(flat, 0, (disparity - low) / np.where(flat, 1, high - low))
    return unit


def resize(image: np.ndarray, hw: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """Bicubic, as published; shrunk by more than `MAX_CUBIC_SHRINK` the mean of each area."""
    far = image.shape[0] > MAX_CUBIC_SHRINK * hw[0]
    kind = cv2.INTER_AREA if far else cv2.INTER_CUBIC
    resized: np.ndarray = cv2.resize(image, (hw[1], hw[0]), out, interpolation=kind)
    return resized
