"""The window schedule of long clips: which frames are tracked together, in which order, and how a
track goes on from one window to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from samotion.tracks.records import MIN_CERTAINTY

NO_FRAME = -1.0  # a query frame outside the window: the track is found by its features alone


class Pass(NamedTuple):
    """One pass through the window numbered `window`: of the tracks that start in it where `source`
    is None, else of those known already in the neighbouring window `source`.
    """

    window: int
    source: int | None


def split(frame_count: int, window: int, overlap: int) -> list[slice]:
    """Slices that cover all frames, none longer than `window`, neighbours sharing at least
    `overlap` frames.
    """
    if frame_count <= window:
        return [slice(0, frame_count)]
    count = -(-(frame_count - overlap) // (window - overlap))
    starts = np.linspace(0, frame_count - window, count).astype(int)
    return [slice(int(start), int(start) + window) for start in starts]


def start_windows(windows: list[slice], query_frames: np.ndarray) -> np.ndarray:
    """The number (N,) of the window in which each track starts: the one whose middle is nearest to
    its query frame.
    """
    middles = np.array([(window.start + window.stop - 1) / 2 for window in windows])
    distances = np.abs(query_frames[:, None] - middles)
    nearest: np.ndarray = distances.argmin(1)
    return nearest


def schedule(count: int) -> list[Pass]:
    """The order of passes through `count` windows.

    Forward, each window starts its own tracks and continues those of all earlier ones. Backward,
    each continues those of all later ones.
    """
    passes = [Pass(0, None)]
    for window in range(1, count):
        passes.append(Pass(window, None))
        passes.append(Pass(window, window - 1))
    for window in range(count - 2, -1, -1):
        passes.append(Pass(window, window + 1))
    return passes


def rows_in(one: Pass, starts: np.ndarray) -> np.ndarray:
    """The tracks (by number) of a pass, by the windows (N,) they start in."""
    if one.source is None:
        return np.flatnonzero(starts == one.window)
    if one.source < one.window:
        return np.flatnonzero(starts <= one.source)
    return np.flatnonzero(starts >= one.source)


def continued_queries(tracks: np.ndarray, certainty: np.ndarray, start: int) -> np.ndarray:
    """Queries (N,3) t, y, x from known places of tracks (N,S,2) in S shared frames, the first
    numbered `start`.

    Each track goes on from the shared frame where it is most surely visible (`certainty` (N,S):
    visibility times confidence). One that is visible in none of them gets `NO_FRAME`.
    """
    rows = np.arange(len(tracks))
    best = certainty.argmax(1)
    is_visible = certainty[rows, best] > MIN_CERTAINTY
    frames = np.where(is_visible, best + start, NO_FRAME)
    xy = tracks[rows, best]
    return np.column_stack((frames, xy[:, 1], xy[:, 0])).astype(np.float32)


def shared_frames(one: slice, other: slice) -> slice:
    """The frames that two windows both hold."""
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def new_frames(window: slice, source: slice | None) -> slice:
    """The frames of `window` that `source` does not hold; all of them without a source."""
    if source is None:
        return window
    if window.stop > source.stop:
        return slice(source.stop, window.stop)
    return slice(window.start, source.start)


def chunks(count: int, at_most: int) -> list[slice]:
    """Slices of nearly equal length that cover `count`; onnxruntime keeps its memory for a
    length it has seen.
    """
    parts = -(-count // max(at_most, 1))
    return [slice(count * k // parts, count * (k + 1) // parts) for k in range(parts)]
