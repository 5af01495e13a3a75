"""The tracks of a result window by window, whether its clip was one window or many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from samotion.results.result import Result
from samotion.tracks.records import Tracks

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """Tracks whose frames count from `first` of the clip, with the scores (N,) and the ids (N,) of
    their objects, 0 for none.
    """

    first: int
    tracks: Tracks
    scores: Array
    owners: Array

    @property
    def end(self) -> int:
        """One past the last frame."""
        return self.first + int(self.tracks.visible.shape[1])


def windows_of(result: Result) -> Iterator[Window]:
    """One after the other, in the order of the clip."""
    if not result.windows:
        yield Window(0, result.tracks, result.scores, result.track_objects())
    for one in result.windows:
        yield Window(one.first, one.tracks, one.scores, one.owners)


def scores_of(result: Result) -> Array:
    """The motion scores of all tracks."""
    parts = [one.scores for one in result.windows] or [result.scores]
    return np.concatenate(parts)
