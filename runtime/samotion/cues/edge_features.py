"""Edge features: what tells the surfaces of a frame apart, which is how they move from this frame
to the next, and their hue.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from samotion.cues import appearance

Array = np.ndarray[Any, Any]
LONG_SIDE = 128  # cells of the grid
FLOW_LONG_SIDE_PX = 384
STILL_PX = 0.5  # at the size of the flow; differences in motion below it mean nothing
# of a and b of CIELAB in 8 bits: as far apart as this tells two surfaces from each other
HUE = 17.0


class EdgeFeatures:
    """Edge features of a clip's frames (T,H,W,3) uint8 RGB, computed when first asked for."""

    def __init__(self, frames: Array) -> None:
        self._frames = frames
        self._features: dict[int, Array] = {}
        self._colour_and_place: dict[int, Array] = {}

    @property
    def hw(self) -> tuple[int, int]:
        """The frames' height and width, px."""
        return self._frames.shape[1], self._frames.shape[2]

    def colours(self, frame: int) -> Array:
        """(GH,GW,3) uint8 RGB: the frame at the grid's size."""
        height, width = self.hw
        cell_px = max(height, width) / LONG_SIDE
        columns = max(2, round(width / cell_px))
        rows = max(2, round(height / cell_px))
        return _shrink(self._frames[frame], (columns, rows))

    def colour_and_place(self, frame: int) -> Array:
        """(GH,GW,5) float32: what the appearance model takes of each cell."""
        if frame not in self._colour_and_place:
            image = self.colours(frame)
            self._colour_and_place[frame] = appearance.colour_and_place(image)
        return self._colour_and_place[frame]

    def __getitem__(self, frame: int) -> Array:
        """(GH,GW,4) float32: flow in units of its spread over the frame, and hue."""
        if frame not in self._features:
            self._features[frame] = self._compute(frame)
        return self._features[frame]

    def _compute(self, frame: int) -> Array:
        small = self.colours(frame)
        # brightness is mostly texture
        hue = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32)
        flow = _shrink(self._flow(frame), (small.shape[1], small.shape[0]))
        deviation = np.linalg.norm(flow - np.median(flow, axis=(0, 1)), axis=-1)
        spread = np.median(deviation)
        scaled_flow = flow / (spread + STILL_PX)
        features: Array = np.concatenate([scaled_flow, hue / HUE], axis=-1)
        return features

    def _flow(self, frame: int) -> Array:
        """Optical flow (h,w,2) px to the next frame; from the last one, to the one before."""
        is_last = frame + 1 == len(self._frames)
        other = max(0, frame - 1) if is_last else frame + 1
        here = self._grey(frame)
        there = self._grey(other)
        method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow: Array = method.calc(here, there, np.zeros((*here.shape, 2), np.float32))
        return flow

    def _grey(self, frame: int) -> Array:
        height, width = self.hw
        scale = FLOW_LONG_SIDE_PX / max(height, width)
        size = max(16, round(width * scale)), max(16, round(height * scale))
        small = _shrink(self._frames[frame], size)
        grey: Array = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        return grey


def _shrink(image: Array, size: tuple[int, int]) -> Array:
    """An image at `size`, width and height, as the mean of each area."""
    small: Array = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small
