"""Image features of a clip's frames, at SAM 2's own size, in a cache of bounded size."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.threads import ahead
from samotion.errors import UsageError

Array = np.ndarray[Any, Any]
Levels = dict[str, Array]  # the outputs of engine sam2_image for one frame, by name

# of frames at SAM 2's size: 16 at 1024 px, where a frame's features take 20 MB
CAPACITY_PX = 16 * 1024**2
CAPACITY_FRAMES = 96  # at most, however small they are
SWEEP_FRAMES = 4  # of a sweep go through a GPU at once, where its engines have a profile for it
LARGEST_PX = 4096  # of a frame's sides, to be resized by engine sam2_resize
PRECISION_BITS = 22  # Pillow's fixed point for 8-bit images


class Features:
    """Image features of a clip, computed at first use and shared by objects, prompts and both
    directions.

    `frames` (T,H,W,3) uint8 RGB of any size; at most `capacity` frames' features are held, the last
    used ones. None: as many as fit into the room of CAPACITY_PX, and no more than CAPACITY_FRAMES.
    """

    def __init__(self, engines: Engines, frames: Array, capacity: int | None = None) -> None:
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise UsageError(
                f"frames are {frames.dtype} {list(frames.shape)}; expected uint8 (T,H,W,3), T"
                f" at least 1"
            )
        self.frames = frames
        self.hw: tuple[int, int] = (frames.shape[1], frames.shape[2])
        self.side_px = engines.preset.sam2.image_size_px
        fitting = min(CAPACITY_FRAMES, CAPACITY_PX // self.side_px**2)
        self.capacity = max(1, fitting if capacity is None else capacity)
        engine = engines["sam2_image"]
        # on the GPU, where the other engines want them; a plain function has only its answer
        self._engine = getattr(engine, "keep", engine)
        self._resize = _resize_engine(engines)
        self._several = resident.has_gpu_memory(engines)
        hw, side_px = self.hw, self.side_px  # not self, which would then wait for a collection
        self._taps = cache(lambda: _taps_on_gpu(engines, hw, side_px))
        self._cache: OrderedDict[int, Levels] = OrderedDict()
        self._lock = threading.Lock()  # of the cache

    @property
    def mask_side(self) -> int:
        """M: the side of the logits that the decoder takes and gives."""
        return int(self.side_px // 4)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame: int) -> Levels:
        """The features of one frame, as the engine names them: level0, level1, level2 and query,
        each (1,...).
        """
        levels = self._get(frame)
        with self._lock:
            self._cache[frame] = levels
            self._cache.move_to_end(frame)
            while len(self._cache) > self.capacity:
                self._cache.popitem(last=False)
        return levels

    def get_for_sweep(self, frame: int) -> Levels:
        """As `[frame]`, for a sweep over the clip: it takes what is cached, but pushes nothing
        out.
        """
        levels = self._get(frame)
        self._cache_if_room(frame, levels)
        return levels

    def in_order(self, frames: Iterable[int]) -> Iterator[Levels]:
        """As `get_for_sweep` of one frame after the other. A GPU is given several at once, by a
        thread of their own, while those before them are used: nothing else may ask meanwhile.
        """
        if not self._several:
            yield from map(self.get_for_sweep, frames)
            return
        for group in ahead(self._groups(frames), on_a_thread=True):
            yield from group

    def _groups(self, frames: Iterable[int]) -> Iterator[list[Levels]]:
        """The features of frames, in order, computed SWEEP_FRAMES at a time."""
        waiting: list[int] = []
        new: list[int] = []
        for frame in frames:
            waiting.append(frame)
            if frame not in self._cache and frame not in new:
                new.append(frame)
            if len(new) == SWEEP_FRAMES:
                yield self._compute(waiting, new)
                waiting, new = [], []
        if waiting:
            yield self._compute(waiting, new)

    def _compute(self, wanted: Sequence[int], new: Sequence[int]) -> list[Levels]:
        """The features of `wanted`, of which `new` are not cached."""
        known = {frame: self._cache[frame] for frame in wanted if frame not in new}
        if new:
            in_order = sorted(new)
            levels = self._engine(frames=self._squares(self._pictures(in_order)))
            for row, frame in enumerate(in_order):
                known[frame] = {name: array[row : row + 1] for name, array in levels.items()}
                self._cache_if_room(frame, known[frame])
        return [known[frame] for frame in wanted]

    def _pictures(self, frames: Sequence[int]) -> Array:
        """Some frames (B,H,W,3), by ascending number; those that follow each other are not
        copied.
        """
        first, last = frames[0], frames[-1]
        if last - first + 1 == len(frames):
            return self.frames[first : last + 1]
        return np.stack([self.frames[frame] for frame in frames])

    def _cache_if_room(self, frame: int, levels: Levels) -> None:
        if len(self._cache) < self.capacity:
            self._cache[frame] = levels

    def _get(self, frame: int) -> Levels:
        levels: Levels | None = self._cache.get(frame)
        if levels is None:
            levels = self._engine(frames=self._squares(self.frames[frame][None]))
        return levels

    def _squares(self, frames: Array) -> Array:
        """Frames as engine sam2_image takes them: (B,S,S,3), on the GPU where that can be."""
        if self.hw == (self.side_px, self.side_px):
            return frames
        if self._resize is None or max(self.hw) > LARGEST_PX:
            return np.stack([resize_frame(frame, self.side_px) for frame in frames])
        squares: Array = self._resize(frames=frames, **self._taps())["resized"]
        return squares


def _resize_engine(engines: Engines) -> Callable[..., Levels] | None:
    """Engine sam2_resize, whose answers stay on the GPU; None where there is none."""
    held = getattr(engines, "manifest", None)  # others than a folder's have none
    if held is None or "sam2_resize" not in held.engines or engines.device == "cpu":
        return None
    return engines["sam2_resize"].keep


def _taps_on_gpu(engines: Engines, hw: tuple[int, int], side_px: int) -> dict[str, Any]:
    """What engine sam2_resize takes beside frames, brought up once for all of them."""
    found = {}
    for name, taps in zip(("index", "weight"), taps_of(hw, side_px)):
        found[name] = resident.empty(engines, taps.shape, taps.dtype)
        found[name][:] = taps
    return found


def resize_frame(frame: Array, side_px: int) -> Array:
    """A frame (H,W,3) uint8 to (side_px, side_px, 3), as the sam2 package loads images.

    That is Pillow's bicubic `resize`, antialiased where it shrinks, reproduced to the bit.
    """
    if frame.shape[:2] == (side_px, side_px):
        return frame
    # whole rows are resampled, which is fast: the columns first, turned to be rows
    wide = _resample(cv2.transpose(np.ascontiguousarray(frame)), side_px)
    return _resample(cv2.transpose(wide), side_px)


def _resample(image: Array, size: int) -> Array:
    """An image (H,W,3) uint8 resampled to `size` rows, in fixed point."""
    index, weights = _taps(len(image), size)
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
def taps_of(hw: tuple[int, int], side_px: int) -> tuple[Array, Array]:
    """How engine sam2_resize makes a square of frames (H,W): source pixels and their fixed-point
    weights (2,side_px,K) int64, those of rows second.
    """
    pairs = [_taps(length, side_px) for length in reversed(hw)]
    count = max(index.shape[1] for index, _ in pairs)
    padded = [[_padded(x, count) for x in pair] for pair in pairs]
    index, weight = (np.stack(arrays) for arrays in zip(*padded))
    return index, weight


def _padded(x: Array, count: int) -> Array:
    """(N,K) with zeros up to (N,count) int64."""
    return np.pad(x.astype(np.int64), ((0, 0), (0, count - x.shape[1])))


@lru_cache(maxsize=8)
def _taps(source: int, target: int) -> tuple[Array, Array]:
    """Which source pixels (target, taps) make a target pixel, and their fixed-point weights."""
    scale = source / target
    stretch = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - 2 * stretch + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + 2 * stretch + 0.5).astype(np.int64), source)
    tap_count = 2 * math.ceil(2 * stretch) + 1
    index = first[:, None] + np.arange(tap_count)
    distance = (index - centre[:, None] + 0.5) / stretch
    weight = _bicubic(distance) * (index < end[:, None])
    weight /= weight.sum(1, keepdims=True)
    fixed = np.round(weight * (1 << PRECISION_BITS)).astype(np.int32)
    used = (weight != 0).any(0)
    inside = np.minimum(index, source - 1)
    return inside[:, used], fixed[:, used]


def _bicubic(x: Array, a: float = -0.5) -> Array:
    """Keys' cubic convolution kernel at distances x, in pixels."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
