"""What the tracker says: raw answers, and tracks judged by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from samotion import geometry

Array = np.ndarray[Any, Any]


class RawTracks(NamedTuple):
    """The tracker's answer: tracks (N,T,2) x, y px of 256; occlusion and expected_dist (N,T)
    logits.
    """

    tracks: Array
    occlusion: Array
    expected_dist: Array


@dataclass(frozen=True)
class Tracks:
    """N tracks over T frames; the first axis of every field is the track.

    `xy` (N,T,2) and `query_xy` (N,2) float32 px of the source frame; `visible` (N,T) bool;
    `visibility` and `confidence` (N,T) float32 in [0,1]; `query_frame` (N,) int.
    """

    xy: Array
    visible: Array
    visibility: Array
    confidence: Array
    query_frame: Array
    query_xy: Array

    def take(self, index: Array) -> Tracks:
        """The tracks that `index` selects: numbers or a boolean mask."""
        return Tracks(*(value[index] for value in self.__dict__.values()))

    def __len__(self) -> int:
        return len(self.xy)


def join(first: Tracks, second: Tracks) -> Tracks:
    """The tracks of both, of the same frames."""
    both = zip(first.__dict__.values(), second.__dict__.values())
    return Tracks(*(np.concatenate(values) for values in both))


def visibility_of(occlusion: Array, expected_dist: Array) -> tuple[Array, Array]:
    """Probabilities that a point can be seen, and that its place is right, from the tracker's
    logits.
    """
    visibility, confidence = (
        0.5 - 0.5 * np.tanh(0.5 * logits) for logits in (occlusion, expected_dist)
    )
    return visibility, confidence


def filter_tracks(
    raw: RawTracks, queries: Array, hw: tuple[int, int], one_a_frame: bool = True
) -> Tracks:
    """Judge raw tracks of `queries` (N,3) t, y, x px of the source of size `hw`; docs/method.md,
    stages 3 and 4.

    A point is visible where visibility times confidence is over 0.5, surely hidden where (1 -
    visibility) times confidence is; where it is neither, its confidence becomes 0. Tracks that are
    never visible are dropped. In a frame in which none is visible the most confident one is marked
    so, if `one_a_frame`: the motion net needs one. At its query frame a track is at its query.
    """
    frame = np.rint(queries[:, 0]).astype(np.int64)
    xy = geometry.xy_from_grid(raw.tracks, hw)
    xy[np.arange(len(xy)), frame] = queries[:, :0:-1]
    visibility, confidence = visibility_of(raw.occlusion, raw.expected_dist)
    visible = visibility * confidence > 0.5
    hidden = (1 - visibility) * confidence > 0.5
    confidence = np.where(visible | hidden, confidence, np.float32(0))
    found = Tracks(xy, visible, visibility, confidence, frame, queries[:, :0:-1].astype(np.float32))
    found = found.take(np.any(visible, axis=1))
    if len(found) and one_a_frame:
        empty = np.flatnonzero(~found.visible.any(0))
        found.visible[found.confidence[:, empty].argmax(0), empty] = True
    return found
