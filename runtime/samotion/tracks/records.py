"""Records of tracks: the tracker's raw answer, and tracks with their visibility decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from samotion import geometry

MIN_CERTAINTY = 0.5  # of visibility times confidence, where a point counts as visible


class RawTracks(NamedTuple):
    """The tracker's answer: tracks (N,T,2) x, y px of 256; occlusion and expected_dist (N,T)
    logits.
    """

    tracks: np.ndarray
    occlusion: np.ndarray
    expected_dist: np.ndarray


def empty_tracks(track_count: int, frame_count: int) -> RawTracks:
    """Raw tracks of zeros, to be filled in."""
    shape = (track_count, frame_count)
    tracks = np.zeros((*shape, 2), np.float32)
    return RawTracks(tracks, np.zeros(shape, np.float32), np.zeros(shape, np.float32))


@dataclass(frozen=True, eq=False)
class Tracks:
    """N tracks over T frames; the first axis of every field is the track.

    `xy` (N,T,2) and `query_xy` (N,2) float32 px of the source frame; `visible` (N,T) bool;
    `visibility` and `confidence` (N,T) float32 in [0,1]; `query_frame` (N,) int.
    """

    xy: np.ndarray
    visible: np.ndarray
    visibility: np.ndarray
    confidence: np.ndarray
    query_frame: np.ndarray
    query_xy: np.ndarray

    def take(self, index: np.ndarray) -> Tracks:
        """The tracks that `index` selects: numbers or a boolean mask."""
        return Tracks(*(value[index] for value in self.__dict__.values()))

    def __len__(self) -> int:
        return len(self.xy)


FIELDS = tuple(Tracks.__dataclass_fields__)  # as files name them


def no_tracks(frame_count: int, track_count: int = 0) -> Tracks:
    """No tracks, of so many frames; or some that are nowhere seen, to be filled in: NaN for
    places.
    """
    shape = (track_count, frame_count)
    return Tracks(
        xy=np.full((*shape, 2), np.nan, np.float32),
        visible=np.zeros(shape, bool),
        visibility=np.zeros(shape, np.float32),
        confidence=np.zeros(shape, np.float32),
        query_frame=np.zeros(track_count, np.int64),
        query_xy=np.zeros((track_count, 2), np.float32),
    )


def join(first: Tracks, second: Tracks) -> Tracks:
    """The tracks of both, of the same frames."""
    both = zip(first.__dict__.values(), second.__dict__.values())
    return Tracks(*(np.concatenate(values) for values in both))


def visibility_of(
    occlusion: np.ndarray, expected_dist: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that a point can be seen, and that its place is right, from the tracker's
    logits.
    """
    visibility = _one_minus_sigmoid(occlusion)
    confidence = _one_minus_sigmoid(expected_dist)
    return visibility, confidence


def _one_minus_sigmoid(logits: np.ndarray) -> np.ndarray:
    """By tanh, which does not overflow."""
    return np.asarray(0.5 - 0.5 * np.tanh(0.5 * logits))


def filter_tracks(
    raw: RawTracks, queries: np.ndarray, hw: tuple[int, int], one_a_frame: bool = True
) -> Tracks:
    """Tracks in px of the source of size `hw`, by `queries` (N,3) t, y, x px of it, with their
    visibility decided; docs/method.md, stages 3 and 4.

    A point is visible where visibility times confidence is over 0.5, surely hidden where (1 -
    visibility) times confidence is; where it is neither, its confidence becomes 0. Tracks that are
    never visible are dropped. In a frame in which none is visible the most confident one is marked
    so, if `one_a_frame`: the motion net needs one. At its query frame a track is at its query.
    """
    query_frame = np.rint(queries[:, 0]).astype(np.int64)
    query_xy = queries[:, :0:-1]
    xy = geometry.xy_from_grid(raw.tracks, hw)
    xy[np.arange(len(xy)), query_frame] = query_xy
    visibility, confidence = visibility_of(raw.occlusion, raw.expected_dist)
    visible = visibility * confidence > MIN_CERTAINTY
    hidden = (1 - visibility) * confidence > MIN_CERTAINTY
    confidence = np.where(visible | hidden, confidence, np.float32(0))
    query_xy = query_xy.astype(np.float32)
    tracks = Tracks(xy, visible, visibility, confidence, query_frame, query_xy)
    tracks = tracks.take(np.any(visible, axis=1))
    if len(tracks) and one_a_frame:
        _show_one_a_frame(tracks)
    return tracks


def _show_one_a_frame(tracks: Tracks) -> None:
    """Mark the most confident track as visible in frames in which none is."""
    empty = np.flatnonzero(~tracks.visible.any(0))
    best = tracks.confidence[:, empty].argmax(0)
    tracks.visible[best, empty] = True
