"""The clip's pictures in the page: JPEG frames of a bounded size, masks as run lengths, maps."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samotion.masks import ids_in
from samotion.results.colours import palette
from samotion.results.drawing import around_largest_piece, draw
from samotion.results.result import Result
from samotion.results.sizes import at_source

if TYPE_CHECKING:
    from samotion.clips.stream import Frames

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
    map. `boxes` are those of each object on each frame, x, y, width and height in px, and `names` x
    and y above which its name stands, the middle of the top of its largest piece; None where it is
    not seen. `thumbnail` is the frame that shows most of what moves.
    """

    chosen: list[int]
    size_wh: tuple[int, int]
    jpegs: list[str] = field(default_factory=list)
    runs: list[list[int]] = field(default_factory=list)
    boxes: dict[int, list[list[float] | None]] = field(default_factory=dict)
    names: dict[int, list[list[float] | None]] = field(default_factory=dict)
    thumbnail: str = ""


def encode(result: Result) -> Pictures:
    """The pictures of a clip, no more and no larger than the page can hold. Frames that are not
    held are read twice: a few first, which say how large the others will be.
    """
    frames = result.clip.frames
    chosen = list(range(0, len(frames), -(-len(frames) // MAX_FRAMES)))
    pictures = Pictures(chosen, _fitting(frames, chosen))
    most = -1
    for k in chosen:
        frame, labels = frames[k], result.labels[k]
        pictures.jpegs.append(_text(jpeg(_scaled(frame, pictures.size_wh))))
        pictures.runs.append(runs(at_source(labels, pictures.size_wh[::-1])))
        _add_places(labels, [one.id for one in result.objects], pictures)
        if (moving := cv2.countNonZero(labels)) > most:
            most, shown = moving, (frame, labels)
    return replace(pictures, thumbnail=thumbnail(*shown))


def _fitting(frames: np.ndarray | Frames, chosen: list[int]) -> tuple[int, int]:
    """The size at which a few frames say that all of them fit."""
    height, width = frames.shape[1:3]
    long_side = max(height, width)
    scale = min(1.0, LONG_SIDE_PX / long_side)
    step = max(1, len(chosen) // TRIED)
    tried = [frames[k] for k in chosen[step // 2 :: step]]  # films begin and end in black
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


def _scaled(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    if frame.shape[1::-1] == size_wh:
        return frame
    smaller: np.ndarray = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
    return smaller


def runs(labels: np.ndarray) -> list[int]:
    """Labels (H,W) as lengths and labels in turn, row after row: 0 0 3 is 2, 0, 1, 3."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return np.column_stack([lengths, flat[starts]]).reshape(-1).tolist()


def _add_places(labels: np.ndarray, ids: list[int], pictures: Pictures) -> None:
    """Add the boxes and the places of names of a frame."""
    height, width = labels.shape
    scale = np.array([pictures.size_wh[0] / width, pictures.size_wh[1] / height] * 2)
    there = ids_in(labels)
    for one in ids:
        box = name = None
        if one in there:
            mask = np.equal(labels, one).view(np.uint8)
            box = np.round(np.array(cv2.boundingRect(mask)) * scale, 1).tolist()
            x, y, wide, _ = around_largest_piece(mask) * scale
            name = np.round([x + wide / 2, y], 1).tolist()
        pictures.boxes.setdefault(one, []).append(box)
        pictures.names.setdefault(one, []).append(name)


def maps(by_frame: Mapping[int, np.ndarray], kind: str) -> list[tuple[int, str]]:
    """Small pictures (h,w) uint8 by frame, coloured, as base64 JPEG."""
    return [
        (frame, _text(_encoded(cv2.applyColorMap(one, COLOURS[kind]))))
        for frame, one in sorted(by_frame.items())
    ]


def thumbnail(frame: np.ndarray, labels: np.ndarray) -> str:
    """A frame with what moves, small, as base64 JPEG."""
    height, width = labels.shape
    size = _size(width, height, min(1.0, THUMBNAIL_PX / max(height, width)))
    return _text(jpeg(draw(_scaled(frame, size), at_source(labels, size[::-1]), palette())))


def jpeg(rgb: np.ndarray) -> bytes:
    """An image (H,W,3) uint8 RGB as JPEG."""
    return _encoded(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _encoded(bgr: np.ndarray) -> bytes:
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        raise ValueError(f"a picture of {bgr.shape} cannot be written as JPEG")
    return data.tobytes()


def _text(data: bytes) -> str:
    return b64encode(data).decode()
