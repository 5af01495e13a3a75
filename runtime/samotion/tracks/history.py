"""What an online tracker said of its points in the last frames, as tracks of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.tracks import live
from samotion.tracks.queries import resize_for_tracking, sample_queries
from samotion.tracks.records import RawTracks, Tracks, empty_tracks, filter_tracks

RENEWED_SHARE = 4  # one in so many points is drawn anew each time, the oldest ones first
UNKNOWN = 20.0  # the logit of hidden, and of far off, before a point was followed


@dataclass(frozen=True)
class History:
    """N points and where they were in the last W frames: `raw`, as the tracker answers; `known`
    (N,): how many of these frames each has been followed for.
    """

    tracker: live.OnlineTracker
    raw: RawTracks
    known: np.ndarray

    def take(self, index: np.ndarray) -> History:
        """The points that `index` selects."""
        raw = RawTracks(*(values[index] for values in self.raw))
        return History(self.tracker.take(index), raw, self.known[index])

    def __len__(self) -> int:
        return len(self.known)


def begin(engines: Engines, frame_count: int) -> History:
    """No points yet. Raises EngineError for a tracker that needs later frames."""
    return History(live.start(engines), empty_tracks(0, frame_count), np.zeros(0, np.int64))


def advance(
    engines: Engines, frame: np.ndarray, history: History, points: np.ndarray | None = None
) -> History:
    """The history with the next `frame` (H,W,3) uint8; `points` (M,2) x, y px of it are followed
    from now on.
    """
    hw = frame.shape[0], frame.shape[1]
    points = np.zeros((0, 2), np.float32) if points is None else points
    small = resize_for_tracking(frame[None])[0]
    now, tracker = live.step(engines, small, history.tracker, geometry.xy_to_grid(points, hw))
    raw = RawTracks(
        _appended(history.raw.tracks, now.tracks),
        _appended(history.raw.occlusion, now.occlusion, UNKNOWN),
        _appended(history.raw.expected_dist, now.expected_dist, UNKNOWN),
    )
    window = raw.occlusion.shape[1]
    known = np.minimum(np.append(history.known, np.zeros(len(points), np.int64)) + 1, window)
    return History(tracker, raw, known)


def _appended(past: np.ndarray, now: np.ndarray, before: float | None = None) -> np.ndarray:
    """One more frame (N+M,1,...) after those of the past (N,W,...), the first of which goes; before
    M new points were followed they had the value `before`, or that of now.
    """
    window = past.shape[1]
    fresh = now[len(past) :].repeat(window - 1, axis=1)
    if before is not None:
        fresh = np.full_like(fresh, before)
    return np.concatenate([np.concatenate([past[:, 1:], fresh]), now], axis=1)


def renewed(
    history: History, hw: tuple[int, int], most: int, seed: int
) -> tuple[History, np.ndarray]:
    """The points worth following on, and new ones (M,2) x, y px for the next frame of size `hw`, so
    that there are `most`.
    """
    visible = history.raw.occlusion[:, -1] < 0
    newest_first = np.argsort(history.known, kind="stable")
    worth = newest_first[visible[newest_first]][: most - max(1, most // RENEWED_SHARE)]
    kept = history.take(np.sort(worth))
    drawn = sample_queries(1, hw, 1, most - len(kept), seed)
    return kept, drawn[:, :0:-1]


def as_tracks(history: History, hw: tuple[int, int]) -> Tracks:
    """Tracks over the last frames, of size `hw`; each counts from the frame it is known in."""
    rows = np.arange(len(history))
    first = history.raw.occlusion.shape[1] - history.known
    start_xy = geometry.xy_from_grid(history.raw.tracks[rows, first], hw)
    queries = np.column_stack([first, start_xy[:, ::-1]]).astype(np.float32)
    return filter_tracks(history.raw, queries, hw)
