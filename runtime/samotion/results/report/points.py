"""Points in the page's px, and its tracks packed into text."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np

from samotion import geometry
from samotion.results.report.frames import Pictures
from samotion.results.result import Result
from samotion.results.windows import TrackWindow, windows_of

MAX_TRACKS = 600  # drawn at most, as many of them moving as still where there are
HIDDEN, SUBPIXEL, MARGIN_PX = 65535, 16, 64  # how places of tracks are packed into 16 bits


def to_picture(xy: np.ndarray, result: Result, pictures: Pictures) -> np.ndarray:
    """Points in px of the clip's frames, as px of the page's pictures."""
    height, width = result.labels.shape[1:]
    to_hw = pictures.size_wh[1], pictures.size_wh[0]
    return geometry.resized_xy(np.asarray(xy, np.float64), (height, width), to_hw)


def pack(result: Result, scores: np.ndarray, pictures: Pictures) -> dict[str, Any]:
    """Some of the tracks: x and y of track by track, frame by frame, and their scores (N,)."""
    drawn = chosen_tracks(scores, result.evidence.threshold)
    packed = np.full((len(drawn), len(pictures.chosen), 2), HIDDEN, "<u2")
    start = 0
    for window in windows_of(result):
        rows = np.flatnonzero((drawn >= start) & (drawn < start + len(window.scores)))
        packed[rows] = _packed(window, drawn[rows] - start, result, pictures)
        start += len(window.scores)
    return {
        "xy": b64encode(packed.tobytes()).decode(),
        "scores": np.round(scores[drawn].astype(np.float64), 3).tolist(),
    }


def _packed(window: TrackWindow, own: np.ndarray, result: Result, pictures: Pictures) -> np.ndarray:
    """Tracks of a window on all frames of the page (n,T,2), hidden where it is elsewhere."""
    chosen = np.array(pictures.chosen)
    (inside,) = np.nonzero((chosen >= window.first) & (chosen < window.end))
    frames = chosen[inside] - window.first
    xy = to_picture(window.tracks.xy[own][:, frames], result, pictures)
    whole = np.round((xy + MARGIN_PX) * SUBPIXEL)
    hidden = ~window.tracks.visible[own][:, frames] | ~np.isfinite(whole).all(axis=-1)
    part = np.nan_to_num(whole).clip(0, HIDDEN - 1).astype("<u2")
    part[hidden] = HIDDEN
    packed = np.full((len(own), len(chosen), 2), HIDDEN, "<u2")
    packed[:, inside] = part
    return packed


def chosen_tracks(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Which tracks are drawn: half of them the moving ones, spread over their scores."""
    order = np.argsort(scores, kind="stable")
    if len(order) <= MAX_TRACKS:
        return order
    split = int(np.count_nonzero(scores <= (0.5 if threshold is None else threshold)))
    still, moving = order[:split], order[split:]
    moving = _spread(moving, max(MAX_TRACKS // 2, MAX_TRACKS - len(still)))
    return np.concatenate([_spread(still, MAX_TRACKS - len(moving)), moving])


def _spread(items: np.ndarray, most: int) -> np.ndarray:
    """At most so many, evenly taken."""
    if len(items) <= most:
        return items
    return np.asarray(items[np.linspace(0, len(items) - 1, most).astype(int)])
