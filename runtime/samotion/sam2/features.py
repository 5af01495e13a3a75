"""Image features of a clip's frames, at SAM 2's own size, in a cache of bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.squares import BICUBIC, Squares, resample
from samotion.backends.threads import ahead
from samotion.checks.arguments import AsArray, frames_of

Levels = dict[str, np.ndarray]  # the outputs of engine sam2_image for one frame, by name

# of frames at SAM 2's size: 16 at 1024 px, where a frame's features take 20 MB
CAPACITY_PX = 16 * 1024**2
CAPACITY_FRAMES = 96  # at most, however small they are
SWEEP_FRAMES = 4  # of a sweep go through a GPU at once, where its engines have a profile for it
LARGEST_PX = 4096  # of a frame's sides, to be resized by engine sam2_resize


class Features:
    """Image features of a clip, computed at first use and shared by objects, prompts and both
    directions.

    `frames` (T,H,W,3) uint8 RGB of any size; at most `capacity` frames' features are held, the last
    used ones. None: as many as fit into the room of CAPACITY_PX, and no more than CAPACITY_FRAMES.
    """

    def __init__(self, engines: Engines, frames: AsArray, capacity: int | None = None) -> None:
        self.frames = frames_of(frames)
        self.hw: tuple[int, int] = (self.frames.shape[1], self.frames.shape[2])
        self.side_px = engines.preset.sam2.image_size_px
        fitting = min(CAPACITY_FRAMES, CAPACITY_PX // self.side_px**2)
        self.capacity = max(1, fitting if capacity is None else capacity)
        engine = engines["sam2_image"]
        # on the GPU, where the other engines want them; a plain function has only its answer
        self._engine = getattr(engine, "keep", engine)
        self._several = resident.has_gpu_memory(engines)
        self._squares = Squares(engines, self.side_px, BICUBIC, LARGEST_PX)
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
            levels = self._engine(frames=self._resized(self._pictures(in_order)))
            for row, frame in enumerate(in_order):
                known[frame] = {name: array[row : row + 1] for name, array in levels.items()}
                self._cache_if_room(frame, known[frame])
        return [known[frame] for frame in wanted]

    def _pictures(self, frames: Sequence[int]) -> np.ndarray:
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
            levels = self._engine(frames=self._resized(self.frames[frame][None]))
        return levels

    def _resized(self, frames: np.ndarray) -> np.ndarray:
        """Frames as engine sam2_image takes them: (B,S,S,3), on the GPU where that can be; as the
        sam2 package loads images: with Pillow's bicubic `resize`.
        """
        if self.hw == (self.side_px, self.side_px):
            return frames
        if self._squares.takes(self.hw):
            squares: np.ndarray = self._squares(frames)
            return squares
        return np.stack([resample(frame, self.side_px, BICUBIC) for frame in frames])
