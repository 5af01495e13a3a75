"""Coordinates: every conversion between two systems of them, once.

One convention: points are px, x right and y down, and whole numbers are pixel centres. So 0 is the
centre of the first pixel, a picture W px wide reaches from -0.5 to W - 0.5, and what is resized
keeps its edges, not its outermost centres: `resized_xy`.

Four conversions differ, since published nets were trained with them, and are named for whom they
serve: `xy_to_grid` (the tracker), `motion_unit_xy` and `misplaced_index` (the motion net),
`dino_cells` (its features), and `sam2_xy` (clicks). `pixel_under` cuts as the published prompts do.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from samotion.contract import TRACKER_PX

HALF = np.float32(0.5)  # from a pixel's edge to its centre


def resized_xy(xy: np.ndarray, hw: tuple[int, int], to_hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px of a picture of size `hw` -> px of the same picture resized to `to_hw`."""
    return scaled_xy(xy, _wh(to_hw, np.float64) / _wh(hw, np.float64))


def scaled_xy(xy: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Points (...,2) px -> px of the picture `scale` times as large, one factor or x and y."""
    factor = np.asarray(scale).astype(xy.dtype)
    return np.asarray((xy + HALF) * factor - HALF)


def from_corner(xy: np.ndarray) -> np.ndarray:
    """Points (...,2) px counted from the picture's corner, pixel centres at .5 -> px."""
    return np.asarray(xy - HALF)


def to_corner(xy: np.ndarray) -> np.ndarray:
    """Points (...,2) px -> px counted from the picture's corner; the inverse of `from_corner`."""
    return np.asarray(xy + HALF)


def cell_centres(cells: np.ndarray, hw: tuple[int, int], grid_hw: tuple[int, int]) -> np.ndarray:
    """Cells (...,2) x, y of a grid -> their centres (...,2) px of a frame of size `hw`."""
    return from_corner((cells + 0.5) * (_wh(hw, np.float64) / _wh(grid_hw, np.float64)))


def xy_to_grid(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px of a frame of size `hw` -> px of the tracker's 256; the outermost pixel
    centres map to 0 and 255, as published.
    """
    grid_xy: np.ndarray = np.asarray(xy, np.float32) * (TRACKER_PX - 1) / _extent(hw)
    return grid_xy


def xy_from_grid(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px of 256 -> px of a frame of size `hw`; the inverse of `xy_to_grid`."""
    frame_xy: np.ndarray = np.asarray(xy, np.float32) * _extent(hw) / (TRACKER_PX - 1)
    return frame_xy


def queries_to_grid(queries: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Queries (N,3) t, y, x px of a frame of size `hw` -> t, y, x px of 256."""
    tyx = np.array(queries, np.float32)
    tyx[:, :0:-1] = xy_to_grid(tyx[:, :0:-1], hw)
    return tyx


def motion_unit_xy(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px as the motion net takes them: 2 * px / size - 1 in float32, clamped to
    [-1,1]; half a pixel off, as published.
    """
    unit: np.ndarray = np.clip(2 * xy.astype(np.float32) / _wh(hw) - 1, -1, 1)
    return unit


def misplaced_index(xy: np.ndarray, hw: tuple[int, int], map_hw: tuple[int, int]) -> np.ndarray:
    """Quirk B: flat indices (...) into a map of size `map_hw` of points (...,2) px.

    [-1,1] positions are taken for [0,1] and truncated, and the flat index is clamped instead of
    each axis.
    """
    height, width = map_hw
    unit = motion_unit_xy(xy, hw)
    row = (unit[..., 1] * height).astype(np.int64)
    column = (unit[..., 0] * width).astype(np.int64)
    return np.asarray((row * width + column).clip(0, height * width - 1))


def dino_cells(xy: np.ndarray, hw: tuple[int, int], grid_hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px -> cells (...,2) int x, y of DINO's grid: floor(x * GW / W), clamped; half
    a pixel off, as the motion nets were trained.
    """
    return _clamped(np.floor(xy * _wh(grid_hw, xy.dtype) / _wh(hw, xy.dtype)), grid_hw)


def sam2_xy(xy: np.ndarray, hw: tuple[int, int], side_px: int) -> np.ndarray:
    """Points (...,2) px -> px of SAM 2's square: x / W * side, the rule of its package."""
    return np.asarray(np.asarray(xy, np.float32) / _wh(hw) * np.float32(side_px))


def pixel_under(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px -> pixels (...,2) int x, y of a mask: fractions are cut off, as published;
    points outside the picture lie on its border.
    """
    return _clamped(np.trunc(xy), hw)


def nearest_pixel(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Points (...,2) px -> the pixels (...,2) int x, y they lie in, the border's for those
    outside.
    """
    return _clamped(np.rint(xy), hw)


def inside(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Which points (...,2) px lie in a picture of size `hw`, its outermost pixels in full."""
    corner = to_corner(xy)
    return np.asarray(((corner >= 0) & (corner < _wh(hw))).all(axis=-1))


def _clamped(xy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    last = np.array([hw[1] - 1, hw[0] - 1])
    return np.asarray(xy.astype(np.int64).clip(0, last))


def _wh(hw: tuple[int, int], kind: Any = np.float32) -> np.ndarray:
    return np.array([hw[1], hw[0]], kind)


def _extent(hw: tuple[int, int]) -> np.ndarray:
    """Distance between the outermost pixel centres, x and y; 1 where there is only one pixel."""
    return np.array([max(hw[1] - 1, 1), max(hw[0] - 1, 1)], np.float32)


def box_around(mask: np.ndarray, margin_px: int) -> tuple[slice, slice]:
    """The rows and columns of the box around what is not 0 in `mask` (H,W) uint8, and so many px
    around it, inside the picture.
    """
    x, y, width, height = cv2.boundingRect(mask)
    rows = slice(max(0, y - margin_px), y + height + margin_px)
    return rows, slice(max(0, x - margin_px), x + width + margin_px)
