"""Arrays of a result at the size of its source, and boxes of masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samotion import geometry
from samotion.masks import ids_in
from samotion.tracks.records import Tracks

if TYPE_CHECKING:
    from samotion.clips.stream import Clip

FULL = np.uint8(255)  # a pixel's share of a mask that has all of it


def at_source(labels: np.ndarray, source_hw: tuple[int, int]) -> np.ndarray:
    """Labels (h,w) uint8 at the source's size, or a page's. A larger pixel takes the label that has
    most of it by linear interpolation, so that outlines are smooth; a smaller one the nearest.
    """
    if labels.shape == source_hw:
        return labels
    height, width = source_hw
    if height < labels.shape[0] or width < labels.shape[1]:
        size = width, height
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT))
    larger, most = np.zeros((2, *source_hw), np.uint8)
    rest = np.full(source_hw, FULL)
    for label in sorted(ids_in(labels) - {0}):
        part, share = _enlarged(cv2.inRange(labels, label, label), source_hw)
        np.putmask(larger[part], share > most[part], label)
        cv2.max(most[part], share, dst=most[part])
        cv2.subtract(rest[part], share, dst=rest[part])
    return cv2.bitwise_and(larger, cv2.compare(most, rest, cv2.CMP_GE))


def _enlarged(mask: np.ndarray, hw: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where a mask (h,w) uint8 is in a picture of size `hw`, and that part of it, resized."""
    rows, columns = geometry.box_around(mask, 1)
    step = np.array(mask.shape) / hw  # from pixel to pixel, in px of the mask
    top, left = np.floor([rows.start, columns.start] / step).astype(int).tolist()
    bottom, right = np.minimum(np.ceil([rows.stop, columns.stop] / step), hw).astype(int).tolist()
    first_xy = geometry.resized_xy(np.array([left, top], np.float64), hw, mask.shape[:2])
    to_mask = np.column_stack([np.diag(step[::-1]), first_xy])
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (right - left, bottom - top)
    share = cv2.warpAffine(mask, to_mask, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return (slice(top, bottom), slice(left, right)), np.asarray(share)


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
