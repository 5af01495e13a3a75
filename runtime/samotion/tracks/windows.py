"""Long clips: which frames are tracked together, and where a track goes on from one window to
the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NO_FRAME = -1.0  # a query frame outside the window: the track is found by its looks alone


def windows(frame_count: int, window: int, overlap: int) -> list[slice]:
    """Slices that cover all frames, none longer than `window`, neighbours sharing at least
    `overlap` frames.
    """
    if frame_count <= window:
        return [slice(0, frame_count)]
    count = -(-(frame_count - overlap) // (window - overlap))
    starts = np.linspace(0, frame_count - window, count).astype(int)
    return [slice(int(start), int(start) + window) for start in starts]


def home(parts: list[slice], query_frame: Array) -> Array:
    """The window (N,) in which each query lies, the one in whose middle it lies where several
    hold it.
    """
    middles = np.array([(part.start + part.stop - 1) / 2 for part in parts])
    nearest: Array = np.abs(query_frame[:, None] - middles).argmin(1)
    return nearest


def handover(tracks: Array, certainty: Array, start: int) -> Array:
    """Queries (N,3) t, y, x from what is known of tracks (N,S,2) in S shared frames, the first
    numbered `start`.

    Each track goes on from the shared frame where it is most surely visible (`certainty` (N,S):
    visibility times confidence); one that is visible in none of them is left to its looks
    (`NO_FRAME`).
    """
    best = certainty.argmax(1)
    rows = np.arange(len(tracks))
    xy = tracks[rows, best]
    frame = np.where(certainty[rows, best] > 0.5, best + start, NO_FRAME)
    return np.column_stack((frame, xy[:, 1], xy[:, 0])).astype(np.float32)


def visits(count: int) -> list[tuple[int, int | None]]:
    """The order of work on `count` windows: (window, the one that tracks arrive from, or None: they
    start here).

    Forward, each window starts its own tracks and takes over those of all earlier ones; then back.
    """
    forward = [visit for k in range(count) for visit in ((k, None), (k, k - 1))]
    return [*forward[:1], *forward[2:], *((k, k + 1) for k in range(count - 2, -1, -1))]


def travellers(where: Array, index: int, source: int | None) -> Array:
    """Which tracks (by number) a visit is about, by the window `where` (N,) each of them starts
    in.
    """
    if source is None:
        return np.flatnonzero(where == index)
    return np.flatnonzero(where <= source if source < index else where >= source)


def shared(part: slice, source: slice) -> slice:
    """The frames that two windows both hold."""
    return slice(max(part.start, source.start), min(part.stop, source.stop))


def beyond(part: slice, source: slice | None) -> slice:
    """The frames of `part` that `source` does not hold."""
    if source is None:
        return part
    return (
        slice(source.stop, part.stop)
        if part.stop > source.stop
        else slice(part.start, source.start)
    )


def chunks(count: int, at_most: int) -> list[slice]:
    """Slices of nearly equal length that cover `count`; onnxruntime keeps its memory for a
    length it has seen.
    """
    parts = -(-count // max(at_most, 1))
    return [slice(count * k // parts, count * (k + 1) // parts) for k in range(parts)]
