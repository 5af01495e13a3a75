"""What is kept of the way to a result, for a report to show: thumbnails, prompts, a threshold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from samotion.prompts import ObjectPrompt

PICTURES = 8  # of a clip, spread over it
LONG_SIDE_PX = 240


@dataclass(frozen=True)
class Evidence:
    """How a result came about. `threshold`: motion scores above it count as moving, None: unknown.

    `prompts`: as many as there are objects, in their order, clicks without masks, or none. `depth`
    and `motion`: by frame, pictures (h,w) uint8 of at most LONG_SIDE_PX; larger is nearer, or moves
    more surely.
    """

    threshold: float | None = None
    prompts: tuple[ObjectPrompt, ...] = ()
    depth: dict[int, np.ndarray] = field(default_factory=dict)
    motion: dict[int, np.ndarray] = field(default_factory=dict)


class Thumbnails:
    """Small pictures of maps of a few `frames`; `by_frame` holds those that came."""

    def __init__(self, frame_count: int) -> None:
        """Of a clip of so many frames."""
        self.frames = spread_frames(frame_count)
        self.by_frame: dict[int, np.ndarray] = {}

    def add(self, frame: int, unit: np.ndarray) -> None:
        """Take the map (H,W) in [0,1] of a frame."""
        self.by_frame[frame] = thumbnail(unit)


def spread_frames(frame_count: int) -> list[int]:
    """The frames of a clip that have pictures; even numbers, for which motion maps are made."""
    middle = (np.arange(PICTURES) + 0.5) * frame_count / PICTURES
    return sorted({int(frame) // 2 * 2 for frame in middle})


def thumbnail(unit: np.ndarray) -> np.ndarray:
    """A map (H,W) in [0,1] as a small picture (h,w) uint8."""
    scale = min(1.0, LONG_SIDE_PX / max(unit.shape))
    width, height = (max(1, round(side * scale)) for side in unit.shape[::-1])
    small = cv2.resize(unit.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    picture: np.ndarray = np.rint(small.clip(0, 1) * 255).astype(np.uint8)
    return picture


def without_masks(objects: list[ObjectPrompt]) -> tuple[ObjectPrompt, ...]:
    """The same prompts; the coarse masks that some are drawn with would keep megabytes."""
    return tuple(
        replace(one, clicks=tuple(replace(click, mask=None) for click in one.clicks))
        for one in objects
    )
