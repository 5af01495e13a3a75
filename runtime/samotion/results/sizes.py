"""Arrays of a result at the size of its source, and boxes of masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samotion import geometry
from samotion.tracks.records import Tracks

if TYPE_CHECKING:
    from samotion.clips.stream import Clip


def at_source(labels: np.ndarray, source_hw: tuple[int, int]) -> np.ndarray:
    """Labels (h,w) at the source's size, or a page's: each pixel takes the nearest one's."""
    if labels.shape == source_hw:
        return labels
    height, width = source_hw
    larger: np.ndarray = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return larger


def tracks_at_source(tracks: Tracks, clip: Clip) -> Tracks:
    """Tracks in px of `clip.frames` as in px of its source, whole numbers at pixel centres."""
    height, width = clip.frames.shape[1:3]
    xy, query_xy = (
        geometry.resized_xy(points, (height, width), clip.source_hw).astype(np.float32)
        for points in (tracks.xy, tracks.query_xy)
    )
    return replace(tracks, xy=xy, query_xy=query_xy)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """The box (T,4) float32 around each mask of (T,H,W): left, top, right, bottom, the last two
    past the last pixel; NaN around an empty one.
    """
    boxes = np.full((len(masks), 4), np.nan, np.float32)
    for box, mask in zip(boxes, masks):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        if width:
            box[:] = x, y, x + width, y + height
    return boxes
