"""A scene that engines can answer from: textured ground, and boxes that go to and fro in lanes of
their own.

A bar code in the first rows of each frame says its number, at any size that a net sees it in.
Positions are in parts of the frame, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BITS = 12  # of the bar code: clips of up to 4095 frames
BAR = 1 / 16  # its height
TOP = 0.12  # lanes begin below it
HALF_WIDTH, HALF_HEIGHT = 0.08, 0.35  # of a box: of the frame, and of its lane
REACH = 0.38  # how far a box's centre goes from the middle
PERIOD_FRAMES = 120


@dataclass(frozen=True)
class Scene:
    """`objects` boxes that move, each in its lane."""

    objects: int

    @property
    def half_height(self) -> float:
        """Of a box."""
        return HALF_HEIGHT * (1 - TOP) / self.objects

    def centres(self, frame: Any) -> np.ndarray:
        """Where the boxes are in a frame: (...,M,2) x, y for frame numbers (...)."""
        one = np.asarray(frame, np.float64)[..., None]
        phase = one / PERIOD_FRAMES + np.arange(self.objects) / max(self.objects, 1) + 0.1
        swing = 4 * np.abs(phase % 1 - 0.5) - 1
        y = TOP + (1 - TOP) * (np.arange(self.objects) + 0.5) / self.objects
        return np.stack(np.broadcast_arrays(0.5 + REACH * swing, y), axis=-1)

    def under(self, frame: Any, xy: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """The number of the box (N,) under each point (N,2), or within a margin of it, from 1; 0
        for the ground.
        """
        off = np.abs(xy[:, None] - self.centres(frame)) - margin
        inside = (off[..., 0] <= HALF_WIDTH) & (off[..., 1] <= self.half_height)
        return np.where(inside.any(1), inside.argmax(1) + 1, 0)

    def draw(self, mask: np.ndarray, frame: int, number: int, inside: Any, outside: Any) -> None:
        """Fill `mask` (H,W,...) with `inside` where box `number` is, and else with `outside`."""
        mask[:] = outside
        if number:
            height, width = mask.shape[:2]
            x, y = self.centres(frame)[number - 1]
            rows = slice(round((y - self.half_height) * height), None)
            rows = slice(rows.start, round((y + self.half_height) * height))
            left, right = (round((x + side * HALF_WIDTH) * width) for side in (-1, 1))
            mask[rows, left:right] = inside

    def frames(self, count: int, hw: tuple[int, int]) -> np.ndarray:
        """The clip (T,H,W,3) uint8."""
        height, width = hw
        rng = np.random.default_rng(0)
        ground = rng.integers(60, 140, (-(-height // 8), -(-width // 8), 3), np.uint8)
        ground = ground.repeat(8, 0).repeat(8, 1)[:height, :width]
        clip = np.empty((count, *hw, 3), np.uint8)
        box = np.zeros(hw, bool)
        for t, frame in enumerate(clip):
            frame[:] = ground
            for number in range(1, self.objects + 1):
                self.draw(box, t, number, True, False)
                frame[box] = (250 - 10 * number, 40 + 20 * number, 200)
            _write_number(frame, t)
        return clip


def read_number(frame: np.ndarray) -> int:
    """The number in a frame's bar code, whatever size it was scaled to."""
    height, width = frame.shape[:2]
    columns = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    bits = frame[int(BAR / 2 * height), columns, 1] > 127
    return int((bits << np.arange(BITS)).sum())


def _write_number(frame: np.ndarray, number: int) -> None:
    height, width = frame.shape[:2]
    edges = (np.arange(BITS + 1) * width / BITS).astype(int)
    for bit in range(BITS):
        value = 255 * (number >> bit & 1)
        frame[: int(BAR * height), edges[bit] : edges[bit + 1]] = value
