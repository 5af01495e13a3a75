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
    """Edge features of a clip's frames (T,H,W,3) uint8 RGB."""

    def __init__(self, frames: Array) -> None:
        self._frames = frames

    @property
    def hw(self) -> tuple[int, int]:
        """The frames' height and width, px."""
        return self._frames.shape[1], self._frames.shape[2]

    def colours(self, frame: int) -> Array:
        """(GH,GW,3) uint8 RGB: the frame at the grid's size."""
        return self._at(frame, LONG_SIDE, 2)

    def colour_and_place(self, frame: int) -> Array:
        """(GH,GW,5) float32: what the appearance model takes of each cell."""
        return appearance.colour_and_place(self.colours(frame))

    def __getitem__(self, frame: int) -> Array:
        """(GH,GW,4) float32: flow in units of its spread over the frame, and hue."""
        small = self.colours(frame)
        # brightness is mostly texture
        hue = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32)
        flow = _shrink(self._flow(frame), (small.shape[1], small.shape[0]))
        deviation = np.linalg.norm(flow - np.median(flow, axis=(0, 1)), axis=-1)
        scaled_flow = flow / (np.median(deviation) + STILL_PX)
        features: Array = np.concatenate([scaled_flow, hue / HUE], axis=-1)
        return features

    def _flow(self, frame: int) -> Array:
        """Optical flow (h,w,2) px to the next frame; from the last one, to the one before."""
        is_last = frame + 1 == len(self._frames)
        other = max(0, frame - 1) if is_last else frame + 1
        here, there = (
            cv2.cvtColor(self._at(t, FLOW_LONG_SIDE_PX, 16), cv2.COLOR_RGB2GRAY)
            for t in (frame, other)
        )
        method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow: Array = method.calc(here, there, np.zeros((*here.shape, 2), np.float32))
        return flow

    def _at(self, frame: int, long_side: int, least: int) -> Array:
        """A frame whose longer side is `long_side`, and no side shorter than `least`."""
        scale = long_side / max(self.hw)
        height, width = (max(least, round(side * scale)) for side in self.hw)
        return _shrink(self._frames[frame], (width, height))


def _shrink(image: Array, size: tuple[int, int]) -> Array:
    """An image at `size`, width and height, as the mean of each area."""
    small: Array = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small
