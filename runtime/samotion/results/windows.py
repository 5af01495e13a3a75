"""The tracks of a result window by window, whether its clip was one window or many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from samotion.results.evidence import Evidence, spread_frames
from samotion.results.sizes import tracks_at_source
from samotion.tracks.records import Tracks, no_tracks

if TYPE_CHECKING:
    from samotion.clips.stream import Clip
    from samotion.results.result import Result, WindowTracks


@dataclass(frozen=True, eq=False)
class TrackWindow:
    """Tracks whose frames count from `first` of the clip, with the scores (N,) and the ids (N,) of
    their objects, 0 for none; and what a report shows of the window's maps.
    """

    first: int
    tracks: Tracks
    scores: np.ndarray
    owners: np.ndarray
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def end(self) -> int:
        """One past the last frame."""
        return self.first + int(self.tracks.visible.shape[1])

    def take(self, index: np.ndarray) -> TrackWindow:
        """The tracks that `index` selects: numbers or a boolean mask."""
        tracks, scores = self.tracks.take(index), self.scores[index]
        return replace(self, tracks=tracks, scores=scores, owners=self.owners[index])


def windows_of(result: Result) -> Iterator[TrackWindow]:
    """One after the other, in the order of the clip."""
    if not result.windows:
        yield TrackWindow(0, result.tracks, result.scores, result.track_objects())
    for one in result.windows:
        yield TrackWindow(one.first, one.tracks, one.scores, one.owners)


def joined(result: Result, object_id: int | None = None) -> TrackWindow:
    """The tracks of all windows, or one object's, over the whole clip; those that lie in several
    windows are several.
    """
    chosen = list(windows_of(result))
    if object_id is not None:
        chosen = [one.take(one.owners == object_id) for one in chosen]
    count = sum(len(one.scores) for one in chosen)
    tracks = no_tracks(len(result.labels), count)
    row = 0
    for one in chosen:
        rows, frames = slice(row, row + len(one.scores)), slice(one.first, one.end)
        for name in ("xy", "visible", "visibility", "confidence"):
            getattr(tracks, name)[rows, frames] = getattr(one.tracks, name)
        tracks.query_frame[rows] = one.tracks.query_frame + one.first
        tracks.query_xy[rows] = one.tracks.query_xy
        row = rows.stop
    scores = np.concatenate([one.scores for one in chosen])
    return TrackWindow(0, tracks, scores, np.concatenate([one.owners for one in chosen]))


def owned_by(window: WindowTracks, ids: Collection[int]) -> TrackWindow:
    """A window whose tracks belong to these objects or to none."""
    owners = np.where(np.isin(window.owners, list(ids)), window.owners, np.uint8(0))
    return TrackWindow(window.first, window.tracks, window.scores, owners, window.evidence)


def at_source(window: WindowTracks, clip: Clip) -> TrackWindow:
    """A window whose tracks are in px of the clip's source."""
    tracks = tracks_at_source(window.tracks, clip)
    return TrackWindow(window.first, tracks, window.scores, window.owners, window.evidence)


def joined_evidence(windows: Sequence[WindowTracks], frame_count: int) -> Evidence:
    """The pictures of a clip's maps, out of those of its windows: as many as of one window."""
    firsts = [one.first for one in windows]
    whole = Evidence()
    for wanted in spread_frames(frame_count) if firsts else ():
        number = bisect_right(firsts, wanted) - 1
        first, held = firsts[number], windows[number].evidence
        for kept, there in ((whole.depth, held.depth), (whole.motion, held.motion)):
            if there:
                nearest = min(there, key=lambda frame: abs(first + frame - wanted))
                kept[first + nearest] = there[nearest]
    return whole


def scores_of(result: Result) -> np.ndarray:
    """The motion scores of all tracks."""
    parts = [one.scores for one in result.windows] or [result.scores]
    return np.concatenate(parts)
