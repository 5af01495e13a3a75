"""What `track` is called with: arrays of other shapes are refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.backends.engines import Engines
from samotion.contract import TRACKER_PX
from samotion.errors import EngineError, UsageError
from samotion.presets import REFINE_PX


def checked_frames(frames: Any, queries: np.ndarray) -> tuple[Any, np.ndarray]:
    """Both as the tracker takes them. Raises UsageError for other shapes and times."""
    size = TRACKER_PX
    if not hasattr(frames, "dtype"):
        frames = np.asarray(frames)
    is_uint8 = frames.dtype == np.uint8
    is_square = frames.ndim == 4 and frames.shape[1:] == (size, size, 3)
    if not (is_uint8 and is_square and len(frames)):
        raise UsageError(
            f"frames are {frames.dtype}{list(frames.shape)}, expected uint8[T, {size}, {size}, 3];"
            " make them with samotion.tracks.resize_for_tracking"
        )
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != 3:
        raise UsageError(f"queries have shape {list(queries.shape)}, expected [N, 3]: t, y, x")
    if not len(queries):
        return frames, queries
    first, last = queries[:, 0].min(), queries[:, 0].max()
    if not np.isfinite(queries).all():
        raise UsageError("some queries are infinite or no number; expected finite t, y, x")
    if first < 0 or last > len(frames) - 1:
        raise UsageError(
            f"queries name frames {first:g} to {last:g}, expected 0 to {len(frames) - 1}"
        )
    return frames, queries


def check_large(engines: Engines, large: np.ndarray, count: int) -> None:
    """Raises EngineError for engines that take no `large` frames, UsageError for other shapes."""
    numbers = engines.preset.tracks
    if not numbers.refines_large:
        raise EngineError(
            f"these engines refine tracks on frames of {numbers.refine_px} px only; for larger"
            f" ones export with:"
            f" samotion-export tracks --preset {engines.preset.name} --refine-px {max(REFINE_PX)}"
        )
    shape = (count, numbers.refine_px, numbers.refine_px, 3)
    if large.dtype != np.uint8 or large.shape != shape:
        raise UsageError(
            f"large frames are {large.dtype}{list(large.shape)}, expected uint8{list(shape)};"
            f" make them with samotion.tracks.resize_for_tracking(frames, {numbers.refine_px})"
        )
