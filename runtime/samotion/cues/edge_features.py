"""Edge features: what tells the surfaces of a frame apart, which is how they move from this frame
to the next, and their hue.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from samotion.cues import appearance
from samotion.geometry import TRACKER_PX

Array = np.ndarray[Any, Any]
LONG_SIDE = 128  # cells of the grid
STILL = 1 / 768  # of the longer side; smaller differences in motion mean nothing
# of a and b of CIELAB in 8 bits: as far apart as this tells two surfaces from each other
HUE = 17.0


class EdgeFeatures:
    """Edge features of a clip's frames (T,H,W,3) uint8 RGB, from their optical flow as
    `track_flow.optical_flow` computes it.
    """

    def __init__(self, frames: Array, flows: Array) -> None:
        self._frames = frames
        # from the last frame, to the one before
        to_neighbours = [*flows[:, 0], *flows[-1:, 1]]
        self._flows = [self._to_cells(flow.astype(np.float32)) for flow in to_neighbours]

    @property
    def hw(self) -> tuple[int, int]:
        """The frames' height and width, px."""
        return self._frames.shape[1], self._frames.shape[2]

    def colours(self, frame: int) -> Array:
        """(GH,GW,3) uint8 RGB: the frame at the grid's size."""
        return self._to_cells(self._frames[frame])

    def colour_and_place(self, frame: int) -> Array:
        """(GH,GW,5) float32: what the appearance model takes of each cell."""
        return appearance.colour_and_place(self.colours(frame))

    def __getitem__(self, frame: int) -> Array:
        """(GH,GW,4) float32: flow in units of its spread over the frame, and hue."""
        # brightness is mostly texture
        hue = cv2.cvtColor(self.colours(frame), cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32)
        if not self._flows:
            return np.dstack([np.zeros_like(hue), hue / HUE])
        of_longer_side = np.array(self.hw[::-1], np.float32) / (max(self.hw) * TRACKER_PX)
        flow = self._flows[frame] * of_longer_side
        deviation = np.linalg.norm(flow - np.median(flow, axis=(0, 1)), axis=-1)
        return np.dstack([flow / (np.median(deviation) + STILL), hue / HUE])

    def _to_cells(self, image: Array) -> Array:
        """An image or a flow of a whole frame at the grid's size, as the mean of each cell."""
        height, width = (max(2, round(side * LONG_SIDE / max(self.hw))) for side in self.hw)
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
