"""Optical flow through a live source, which takes masks from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

SIDE_PX = 256  # of the longer side, at which flow is found
FIT_ROUNDS = 3  # of least squares, which count less what the round before left far off
FIT_PX = 0.25  # at least this much is not far off
ASKED_FRAMES = 2  # of so many, a small SAM 2 is asked on one: it takes half the time


class Back(Protocol):
    """The way from a frame back to an earlier one."""

    @property
    def back(self) -> np.ndarray:
        """Flow (h,w,2) float32, x and y in px of its own size."""
        ...

    @property
    def asks(self) -> bool:
        """Whether a small SAM 2 is asked in that frame."""
        ...


class Flow:
    """Flow from the newest frame back to the one before, found when it is first asked for."""

    def __init__(self) -> None:
        self._finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before = self._grey = np.zeros((1, 1), np.uint8)
        self._back: np.ndarray | None = None
        self._count = 0  # of frames

    def push(self, frame: np.ndarray) -> None:
        """The next frame (H,W,3) uint8."""
        self._before, self._grey = self._grey, _grey(frame)
        self._back = None
        self._count += 1

    @property
    def back(self) -> np.ndarray:
        """(h,w,2) float32, x and y in px of its own size."""
        if self._back is None:
            start = np.zeros((*self._grey.shape, 2), np.float32)
            self._back = np.asarray(self._finder.calc(self._grey, self._before, start))
        return self._back

    @property
    def asks(self) -> bool:
        """On every second frame."""
        return self._count % ASKED_FRAMES == 0


class Leap(NamedTuple):
    """The way from `frame` (H,W,3) back to the frame before, or to an earlier one."""

    frame: np.ndarray
    back: np.ndarray
    asks: bool = True


def joined(leaps: Sequence[Leap], asks: bool = True) -> Leap:
    """Some leaps, in order, as one."""
    back = leaps[0].back
    for leap in leaps[1:]:
        back = chained(leap.back, back)
    return Leap(leaps[-1].frame, back, asks)


def chained(back: np.ndarray, further: np.ndarray) -> np.ndarray:
    """Flow `back` (h,w,2) from a frame to the one before, and from there `further` back."""
    x, y = _grid(back)
    there = cv2.remap(further, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back + there)


def warped(mask: np.ndarray, back: np.ndarray) -> np.ndarray:
    """A mask (H,W) bool brought to the frame whose flow to the mask's own is `back` (h,w,2)."""
    height, width = mask.shape
    scale = np.array([width / back.shape[1], height / back.shape[0]], np.float32)
    flow = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    moved = cv2.remap(mask.astype(np.float32), *_grid(flow), cv2.INTER_LINEAR)
    return np.asarray(moved > 0.5)


def own_motion(mask: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Flow `back` (h,w,2) to a mask (H,W) bool as the affine motion of most of the object. Flow
    itself drags along what lies beside an object, and uncovers parts of it that are the ground's.
    """
    height, width = back.shape[:2]
    inside = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA) > 0
    inside = warped(inside, back)
    if not inside.any():
        return back
    y, x = np.mgrid[:height, :width].astype(np.float32)
    terms = np.dstack([x / width, y / height, np.ones_like(x)])
    rows, moved = terms[inside], back[inside]
    fit = np.array([(0, 0), (0, 0), np.median(moved, axis=0)])
    for _ in range(FIT_ROUNDS):
        off = np.linalg.norm(rows @ fit - moved, axis=1, keepdims=True)
        weighted = (rows / (1 + (off / max(FIT_PX, float(np.median(off)))) ** 2)).T
        fit = np.linalg.lstsq(weighted @ rows, weighted @ moved, rcond=None)[0]
    return np.asarray(terms @ fit, np.float32)


def _grid(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y (h,w) float32."""
    height, width = flow.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    return x + flow[..., 0], y + flow[..., 1]


def _grey(frame: np.ndarray) -> np.ndarray:
    """A frame (H,W,3) as flow sees it."""
    scale = min(1.0, SIDE_PX / max(frame.shape))
    size = tuple(max(16, round(side * scale)) for side in frame.shape[1::-1])
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
