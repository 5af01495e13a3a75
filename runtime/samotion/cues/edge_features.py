"""What tells the surfaces of a frame apart: how they move from this frame to the next, and their
hue.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from samotion.cues import appearance as looks

Array = np.ndarray[Any, Any]
LONG_SIDE = 128  # cells of the guide
FLOW_LONG_SIDE_PX = 384
STILL_PX = 0.5  # at the size of the flow; differences in motion below it mean nothing
# of a and b of CIELAB in 8 bits: as far apart as this tells two surfaces from each other
HUE = 17.0


class Guides:
    """Guides of a clip's frames (T,H,W,3) uint8 RGB, made when first asked for; see
    `samotion.coarse`.
    """

    def __init__(self, frames: Array) -> None:
        self._frames = frames
        self._made: dict[int, Array] = {}
        self._points: dict[int, Array] = {}

    @property
    def hw(self) -> tuple[int, int]:
        """The frames' height and width, px."""
        return self._frames.shape[1], self._frames.shape[2]

    def colours(self, frame: int) -> Array:
        """(GH,GW,3) uint8 RGB: the frame at the guide's size."""
        height, width = self.hw
        cell = max(height, width) / LONG_SIDE
        size = max(2, round(width / cell)), max(2, round(height / cell))
        small: Array = cv2.resize(self._frames[frame], size, interpolation=cv2.INTER_AREA)
        return small

    def points(self, frame: int) -> Array:
        """(GH,GW,5) float32: colour and place of each cell; see `samotion.looks`."""
        if frame not in self._points:
            self._points[frame] = looks.points_of(self.colours(frame))
        return self._points[frame]

    def __getitem__(self, frame: int) -> Array:
        """(GH,GW,4) float32: flow in units of its spread over the frame, and hue."""
        if frame not in self._made:
            self._made[frame] = self._make(frame)
        return self._made[frame]

    def _make(self, frame: int) -> Array:
        small = self.colours(frame)
        # brightness is mostly texture
        hue = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32)
        flow = cv2.resize(self._flow(frame), small.shape[1::-1], interpolation=cv2.INTER_AREA)
        spread = np.median(np.linalg.norm(flow - np.median(flow, axis=(0, 1)), axis=-1))
        guide: Array = np.concatenate([flow / (spread + STILL_PX), hue / HUE], axis=-1)
        return guide

    def _flow(self, frame: int) -> Array:
        other = frame + 1 if frame + 1 < len(self._frames) else max(0, frame - 1)
        here, there = (self._grey(t) for t in (frame, other))
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        found: Array = flow.calc(here, there, np.zeros((*here.shape, 2), np.float32))
        return found

    def _grey(self, frame: int) -> Array:
        height, width = self._frames.shape[1:3]
        scale = FLOW_LONG_SIDE_PX / max(height, width)
        size = max(16, round(width * scale)), max(16, round(height * scale))
        small = cv2.resize(self._frames[frame], size, interpolation=cv2.INTER_AREA)
        grey: Array = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        return grey
