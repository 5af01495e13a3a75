"""The clip's pictures in the page: JPEG frames of a bounded size, masks as run lengths, maps."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from samotion.results.result import Result

Array = np.ndarray[Any, Any]

MAX_FRAMES = 300  # of a longer clip, every k-th is in the page
LONG_SIDE_PX = 960
SMALLEST_PX = 320
BUDGET_BYTES = 7_000_000  # of all frames together, as JPEG; a third more as text
QUALITY = 80
TRIED = 3  # frames that tell how large the others will be
THUMBNAIL_PX = 320
COLOURS = {"depth": cv2.COLORMAP_INFERNO, "motion": cv2.COLORMAP_VIRIDIS}


@dataclass(frozen=True)
class Pictures:
    """The frames that are in the page: `chosen` of the clip's, at `size_wh` px.

    `jpegs` are base64; `runs` are lengths and labels in turn, row by row, of each frame's label
    map.
    """

    chosen: list[int]
    size_wh: tuple[int, int]
    jpegs: list[str]
    runs: list[list[int]]


def encode(result: Result) -> Pictures:
    """The pictures of a clip, no more and no larger than the page can hold."""
    frames = result.clip.frames
    step = -(-len(frames) // MAX_FRAMES)
    chosen = list(range(0, len(frames), step))
    size = _fitting(frames, chosen)
    jpegs = [_text(jpeg(_scaled(frames[k], size))) for k in chosen]
    return Pictures(
        chosen, size, jpegs, [runs(scaled_labels(result.labels[k], size)) for k in chosen]
    )


def _fitting(frames: Array, chosen: list[int]) -> tuple[int, int]:
    """The size at which a few frames say that all of them fit."""
    height, width = frames.shape[1:3]
    long_side = max(height, width)
    scale = min(1.0, LONG_SIDE_PX / long_side)
    tried = [frames[k] for k in chosen[:: max(1, len(chosen) // TRIED)]]
    while True:
        size = _size(width, height, scale)
        each = np.mean([len(jpeg(_scaled(frame, size))) for frame in tried])
        over = float(each) * len(chosen) / BUDGET_BYTES
        if over <= 1 or scale * long_side <= SMALLEST_PX:
            return size
        # bytes grow with the area, less than in proportion
        scale = max(scale / over**0.6, SMALLEST_PX / long_side)


def _size(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scaled(frame: Array, size_wh: tuple[int, int]) -> Array:
    if frame.shape[1::-1] == size_wh:
        return frame
    smaller: Array = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
    return smaller


def scaled_labels(labels: Array, size_wh: tuple[int, int]) -> Array:
    """Labels (H,W) uint8 at another size, each pixel as the nearest one."""
    if labels.shape[::-1] == size_wh:
        return labels
    other: Array = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return other


def runs(labels: Array) -> list[int]:
    """Labels (H,W) as lengths and labels in turn, row after row: 0 0 3 is 2, 0, 1, 3."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return np.column_stack([lengths, flat[starts]]).reshape(-1).tolist()


def areas_and_boxes(
    labels: Array, object_id: int, pictures: Pictures
) -> tuple[list[float], list[list[float] | None]]:
    """Of one object on each frame of the page: its share of the picture, and its box x, y, width,
    height in the page's px, None where it is not seen.
    """
    height, width = labels.shape[1:]
    scale = np.array([pictures.size_wh[0] / width, pictures.size_wh[1] / height] * 2)
    areas, boxes = [], []
    for frame in pictures.chosen:
        mask = np.equal(labels[frame], object_id).view(np.uint8)
        area = cv2.countNonZero(mask)
        areas.append(round(area / mask.size, 6))
        box = np.array(cv2.boundingRect(mask)) * scale
        boxes.append(np.round(box, 1).tolist() if area else None)
    return areas, boxes


def maps(by_frame: Mapping[int, Array], kind: str) -> list[tuple[int, str]]:
    """Small pictures (h,w) uint8 by frame, coloured, as base64 JPEG."""
    return [
        (frame, _text(_encoded(cv2.applyColorMap(one, COLOURS[kind]))))
        for frame, one in sorted(by_frame.items())
    ]


def thumbnail(result: Result) -> str:
    """The frame that shows most of what moves, small, as base64 JPEG."""
    from samotion.results.colours import palette
    from samotion.results.drawing import draw

    frames, labels = result.clip.frames, result.labels
    seen = [cv2.countNonZero(one) for one in labels]
    best = int(np.argmax(seen)) if any(seen) else len(frames) // 2
    height, width = frames.shape[1:3]
    size = _size(width, height, min(1.0, THUMBNAIL_PX / max(height, width)))
    small = draw(_scaled(frames[best], size), scaled_labels(labels[best], size), palette())
    return _text(jpeg(small))


def jpeg(rgb: Array) -> bytes:
    """An image (H,W,3) uint8 RGB as JPEG."""
    return _encoded(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _encoded(bgr: Array) -> bytes:
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        raise ValueError(f"a picture of {bgr.shape} cannot be written as JPEG")
    return data.tobytes()


def _text(data: bytes) -> str:
    return b64encode(data).decode()
