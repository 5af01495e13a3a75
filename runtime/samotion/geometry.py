"""Coordinates: px of the source frame (x right, y down, 0 = centre of the first pixel) and px of
the tracker's 256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TRACKER_PX = 256


def xy_to_grid(xy: Array, hw: tuple[int, int]) -> Array:
    """Points (...,2) px of a frame of size `hw` -> px of 256; the outermost pixel centres map to
    0 and 255.
    """
    return np.asarray(xy, np.float32) * (TRACKER_PX - 1) / _extent(hw)


def xy_from_grid(xy: Array, hw: tuple[int, int]) -> Array:
    """Points (...,2) px of 256 -> px of a frame of size `hw`; the inverse of `xy_to_grid`."""
    return np.asarray(xy, np.float32) * _extent(hw) / (TRACKER_PX - 1)


def queries_to_grid(queries: Array, hw: tuple[int, int]) -> Array:
    """Queries (N,3) t, y, x px of a frame of size `hw` -> t, y, x px of 256."""
    tyx = np.array(queries, np.float32)
    tyx[:, :0:-1] = xy_to_grid(tyx[:, :0:-1], hw)
    return tyx


def _extent(hw: tuple[int, int]) -> Array:
    """Distance between the outermost pixel centres, x and y; 1 where there is only one pixel."""
    return np.array([max(hw[1] - 1, 1), max(hw[0] - 1, 1)], np.float32)
