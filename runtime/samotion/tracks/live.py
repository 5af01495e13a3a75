"""Tracks of a live source: frame by frame, with a causal tracker whose memory is a value that
the caller holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samotion.backends.engines import Engines
from samotion.contract import TRACKER_PX
from samotion.errors import EngineError, UsageError
from samotion.tracks.records import RawTracks, empty_tracks
from samotion.tracks.windows import chunks

ONLINE_POINTS = 512  # points followed at once: about 1 MB each with BootsTAPIR


@dataclass(frozen=True, eq=False)
class OnlineTracker:
    """N points that are followed through a live source, and all that is kept of the frames so far.

    `query_lowres` (N,C) and `query_hires` (N,C'): features of the query points. `past` (R,N,4,D):
    the last frames, as the temporal convolutions of each mixer block remember them. All float32,
    0.4 MB a point with BootsTAPIR.
    """

    query_lowres: np.ndarray
    query_hires: np.ndarray
    past: np.ndarray

    def take(self, index: np.ndarray | slice) -> OnlineTracker:
        """The points that `index` selects, numbers or a boolean mask; the others are followed no
        more.
        """
        return OnlineTracker(self.query_lowres[index], self.query_hires[index], self.past[:, index])

    def __len__(self) -> int:
        return len(self.query_lowres)


def start(engines: Engines) -> OnlineTracker:
    """A tracker that follows no points yet. Raises EngineError for engines that need later
    frames too.
    """
    if not engines.preset.tracks.causal:
        raise EngineError(
            f"the tracker of preset {engines.preset.name!r} needs later frames, a live source"
            f" has none;"
            " export a causal one with: samotion-export tracks --preset live --out engines-live"
        )
    axes = engines.entry("tracks_online").inputs
    return OnlineTracker(
        query_lowres=_no_points(axes["query_lowres"]),
        query_hires=_no_points(axes["query_hires"]),
        past=_no_points(axes["past"]),
    )


def _no_points(axes: Sequence[int | str]) -> np.ndarray:
    """An input of engine tracks_online for no points, by its axes in the manifest."""
    shape = [0 if axis == "N" else int(axis) for axis in axes]
    return np.zeros(shape, np.float32)


def step(
    engines: Engines, frame: np.ndarray, tracker: OnlineTracker, points: np.ndarray | None = None
) -> tuple[RawTracks, OnlineTracker]:
    """Where the tracker's points are in the next `frame` (256,256,3) uint8, and the tracker for the
    frame after it.

    `points` (M,2) x, y px of 256 in this frame are followed from now on, in rows after those
    followed already. The answer has one frame: tracks (N+M,1,2). As published, a new point is found
    by its features in its own frame too. Raises UsageError for arrays of another shape.
    """
    frames, points = _checked(frame, points)
    grids = engines["tracks_features"](frames=frames)
    if len(points):
        yx = points[:, ::-1]
        queries = np.column_stack((np.zeros(len(points)), yx)).astype(np.float32)
        query_features = engines["tracks_query"](**grids, queries=queries)
        tracker = _join(tracker, **query_features)
    raw = empty_tracks(len(tracker), 1)
    present = np.empty_like(tracker.past)
    for chunk in chunks(len(tracker), ONLINE_POINTS):
        some = tracker.take(chunk)
        answer = engines["tracks_online"](**grids, **vars(some))
        present[:, chunk] = answer["present"]
        for name, values in zip(raw._fields, raw):
            values[chunk] = answer[name]
    return raw, OnlineTracker(tracker.query_lowres, tracker.query_hires, present)


def _join(
    tracker: OnlineTracker, query_lowres: np.ndarray, query_hires: np.ndarray
) -> OnlineTracker:
    """The tracker with more points, which have no past."""
    rounds, _, *rest = tracker.past.shape
    fresh = np.zeros((rounds, len(query_lowres), *rest), np.float32)
    return OnlineTracker(
        np.concatenate((tracker.query_lowres, query_lowres)),
        np.concatenate((tracker.query_hires, query_hires)),
        np.concatenate((tracker.past, fresh), axis=1),
    )


def _checked(frame: np.ndarray, points: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    shape = (TRACKER_PX, TRACKER_PX, 3)
    if frame.dtype != np.uint8 or frame.shape != shape:
        raise UsageError(
            f"frame is {frame.dtype}{list(frame.shape)}, expected uint8{list(shape)};"
            " make it with samotion.tracks.resize_for_tracking(frame[None])[0]"
        )
    points = np.zeros((0, 2), np.float32) if points is None else np.asarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UsageError(
            f"points have shape {list(points.shape)}, expected [M, 2]: x, y px of {TRACKER_PX}"
        )
    return frame[None], points
