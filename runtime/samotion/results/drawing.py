"""What an overlay draws on a frame: tint and outline, boxes, names, trails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from samotion.geometry import box_around
from samotion.masks import ids_in

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]  # x, y, width, height

TINT = 0.45
LINE_PER_PX = 500  # a line is 1 px wide up to this long side, then in proportion
TEXT_SHARE = 0.022  # of the short side
MIN_TEXT_PX = 11
FONT = cv2.FONT_HERSHEY_DUPLEX
FONT_PX = 21  # the height of its capitals at scale 1
DARK_BELOW = 140  # of 255: on colours less bright than this, text is white
_BITS = 4  # of fractions of px, for cv2
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def line_px(hw: tuple[int, ...]) -> int:
    """How wide a line is on frames of a size."""
    return max(1, round(max(hw) / LINE_PER_PX))


def draw(frame: np.ndarray, labels: np.ndarray, colour_of: np.ndarray) -> np.ndarray:
    """`frame` (H,W,3) uint8 with `labels` (H,W) uint8 tinted and outlined in two tones, one of
    which shows on any ground: its colour inside its border, white outside. Without labels `frame`
    itself.
    """
    if not labels.any():
        return frame
    line = line_px(labels.shape)
    region = box_around(np.ascontiguousarray(labels), line)
    drawn: np.ndarray = np.array(frame)
    drawn[region] = _tinted(np.ascontiguousarray(drawn[region]), labels[region], colour_of, line)
    return drawn


def _tinted(
    picture: np.ndarray, labels: np.ndarray, colour_of: np.ndarray, line: int
) -> np.ndarray:
    own = np.ascontiguousarray(labels)
    colours = cv2.applyColorMap(own, colour_of[:, None])  # ten times as fast as indexing
    kernel = np.ones((2 * line + 1, 2 * line + 1), np.uint8)
    grown = cv2.dilate(own, kernel)
    border = cv2.compare(grown, cv2.erode(own, kernel), cv2.CMP_NE)
    mixed = cv2.copyTo(cv2.addWeighted(picture, 1 - TINT, colours, TINT, 0), own, picture)
    mixed = cv2.copyTo(
        np.full_like(picture, 255), cv2.bitwise_and(border, 255 * (own == 0).view(np.uint8)), mixed
    )
    drawn: np.ndarray = cv2.copyTo(colours, cv2.bitwise_and(border, own), mixed)
    return drawn


def boxes_of(
    labels: np.ndarray,
    ids: list[int],
    hw: tuple[int, int],
    around: Callable[[np.ndarray], Sequence[int]] = cv2.boundingRect,
) -> dict[int, Box]:
    """The boxes of objects that labels (h,w) show, by id, on a picture of size `hw`; `around` makes
    one of a mask (h,w) uint8.
    """
    across, down = hw[1] / labels.shape[1], hw[0] / labels.shape[0]
    boxes, there = {}, ids_in(labels)
    for object_id in [one for one in ids if one in there]:
        x, y, width, height = around(np.equal(labels, object_id).view(np.uint8))
        left, right = round(x * across), round((x + width) * across)
        top, bottom = round(y * down), round((y + height) * down)
        boxes[object_id] = left, top, right - left, bottom - top
    return boxes


def around_largest_piece(mask: np.ndarray) -> Box:
    """The box of the largest connected piece of a mask (h,w) uint8 that is not empty."""
    left, top, width, height = cv2.boundingRect(mask)
    inside = mask[top : top + height, left : left + width]
    _, _, pieces, _ = cv2.connectedComponentsWithStats(inside)
    largest = 1 + pieces[1:, cv2.CC_STAT_AREA].argmax()  # the first is what lies around
    x, y, width, height, _ = pieces[largest].tolist()
    return left + x, top + y, width, height


def draw_box(picture: np.ndarray, box: Box, colour: Colour) -> None:
    """A box into the picture."""
    x, y, width, height = box
    corners = (x, y), (x + width - 1, y + height - 1)
    for tone, wide in _strokes(line_px(picture.shape[:2]), colour):
        cv2.rectangle(picture, *corners, tone, wide, cv2.LINE_AA)


def _strokes(line: int, colour: Colour) -> list[tuple[Colour, int]]:
    """Colours and widths of a line so wide: a rim, which would hide all else on small frames, below
    its colour.
    """
    return [(BLACK, line + 2), (colour, line)][line < 2 :]


def draw_name(picture: np.ndarray, text: str, box: Box, colour: Colour) -> None:
    """A name on its colour, above a box where there is room, into the picture."""
    height, width = picture.shape[:2]
    text_px = max(MIN_TEXT_PX, round(TEXT_SHARE * min(height, width)))
    scale, wide = text_px / FONT_PX, max(1, round(text_px / 18))
    (text_width, text_height), _ = cv2.getTextSize(text, FONT, scale, wide)
    pad = text_px // 3
    x, y, box_width, _ = box
    left = min(
        max(0, x + (box_width - text_width) // 2 - pad), max(0, width - text_width - 2 * pad)
    )
    top = max(0, y - text_height - 3 * pad)
    right, bottom = left + text_width + 2 * pad, top + text_height + 2 * pad
    cv2.rectangle(picture, (left, top), (right, bottom), colour, cv2.FILLED)
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    ink = WHITE if luma < DARK_BELOW else BLACK
    cv2.putText(picture, text, (left + pad, bottom - pad), FONT, scale, ink, wide, cv2.LINE_AA)


def draw_trails(picture: np.ndarray, trails: list[np.ndarray], colour: Colour) -> None:
    """Lines through points (K,2) px, with a dot at the last one, into the picture."""
    line = line_px(picture.shape[:2])
    fixed = [np.round(points * (1 << _BITS)).astype(np.int32) for points in trails]
    for tone, wide in _strokes(line, colour):
        cv2.polylines(picture, fixed, False, tone, wide, cv2.LINE_AA, _BITS)
    for points in fixed:
        end = int(points[-1][0]), int(points[-1][1])
        cv2.circle(picture, end, (line + 1) << _BITS, colour, cv2.FILLED, cv2.LINE_AA, _BITS)
