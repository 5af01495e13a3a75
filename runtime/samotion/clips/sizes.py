"""Limits of a clip, and the size its frames are brought to."""

from __future__ import annotations

import math

import cv2
import numpy as np

from samotion.errors import InputError

MIN_FRAMES = 2
MIN_SIDE_PX = 16  # less than one cell of every net's grid
MAX_FRAME_PIXELS = 8192 * 8192  # above 8K video and 50-megapixel photographs; 200 MB decoded
MAX_SOURCE_FRAMES = 1_000_000  # 4.6 hours at 60 frames/s
MAX_CLIP_BYTES = 16 << 30


def scaled_hw(hw: tuple[int, int], long_side_px: int | None) -> tuple[int, int]:
    """`hw` with its longer side brought down to `long_side_px`, the other cut to whole px; in px.

    Never up. 1088x1920 becomes 566x1000, not 567x1000 (docs/method.md, stage 1).
    """
    longest = max(hw)
    if long_side_px is None or longest <= long_side_px:
        return hw
    height, width = (max(1, side * long_side_px // longest) for side in hw)
    return height, width


def every_kth(frame_count: int, max_frames: int | None) -> int:
    """The k for which every k-th frame of `frame_count` makes at most `max_frames`."""
    return 1 if max_frames is None else max(1, math.ceil(frame_count / max_frames))


def left_out(frame_count: int, step: int) -> list[str]:
    """The warning that frames are left out, if they are."""
    if step == 1:
        return []
    return [
        f"of {frame_count} frames every {_ordinal(step)} is used; --max-frames {frame_count}"
        f" uses all of them"
    ]


def _ordinal(number: int) -> str:
    teen = number // 10 % 10 == 1
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def check_size(hw: tuple[int, int], where: str) -> None:
    """Raise InputError for frames that are too small or too large."""
    size = f"{hw[1]}x{hw[0]}"
    if min(hw) < 1:
        raise InputError(
            f"{where} cannot be decoded: its header gives no size, or an impossible one;"
            f" expected at most {MAX_FRAME_PIXELS:,} px"
        )
    if min(hw) < MIN_SIDE_PX:
        least = f"{MIN_SIDE_PX}x{MIN_SIDE_PX}"
        raise InputError(f"{where}: frames are {size}; expected at least {least} px")
    if hw[0] * hw[1] > MAX_FRAME_PIXELS:
        raise InputError(f"{where}: frames are {size}; expected at most {MAX_FRAME_PIXELS:,} px")


def check_count(count: int, where: str, why: str = "") -> None:
    """Raise InputError for clips of too few frames (`why`) or too many."""
    frames = f"{count:,} frame{'s' * (count != 1)}"
    if count < MIN_FRAMES:
        least = f"motion needs at least {MIN_FRAMES} frames"
        raise InputError(f"{where}: {frames}; {least}{why and f' ({why})'}")
    if count > MAX_SOURCE_FRAMES:
        raise InputError(
            f"{where}: {frames}; expected at most {MAX_SOURCE_FRAMES:,}; cut the clip first"
        )


def allocate(count: int, hw: tuple[int, int], where: str) -> np.ndarray:
    """Room for `count` frames (count,H,W,3) uint8. Raises InputError where that is too much."""
    if (size := count * hw[0] * hw[1] * 3) > MAX_CLIP_BYTES:
        raise InputError(
            f"{where}: {count} frames of {hw[1]}x{hw[0]} take {size / 2**30:.0f} GiB;"
            f" expected at most {MAX_CLIP_BYTES >> 30}; use --max-frames"
        )
    return np.empty((count, *hw, 3), np.uint8)


def resized(rgb: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """An image (H,W,3) at another size, by the mean of each area."""
    if rgb.shape[:2] == hw:
        return rgb
    size = hw[1], hw[0]
    smaller: np.ndarray = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
    return smaller
