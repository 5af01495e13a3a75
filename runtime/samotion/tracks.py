"""Tracks: where points of the query frames are in every frame, and whether they can be seen there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from samotion import geometry
from samotion.engine import Engines
from samotion.errors import UsageError
from samotion.track_queries import resize_for_tracking, sample_queries
from samotion.track_windows import beyond, handover, home, shared, travellers, visits, windows

__all__ = ["RawTracks", "Tracks", "filter_tracks", "resize_for_tracking", "sample_queries", "track"]

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

POINT_FRAMES = 6000  # points x frames refined at once: about 0.24 MB each; as fast from 2000 to 12000
FEATURE_FRAMES = 8  # frames whose features are computed at once
WINDOW_FRAMES = 320  # frames tracked together; their features take 3.1 MB a frame with BootsTAPIR
OVERLAP_FRAMES = 32


class RawTracks(NamedTuple):
    """The tracker's answer: tracks (N,T,2) x, y px of 256; occlusion and expected_dist (N,T) logits."""

    tracks: Array
    occlusion: Array
    expected_dist: Array


@dataclass(frozen=True)
class Tracks:
    """N tracks over T frames; the first axis of every field is the track.

    `xy` (N,T,2) and `query_xy` (N,2) float32 px of the source frame; `visible` (N,T) bool; `visibility` and
    `confidence` (N,T) float32 in [0,1]; `query_frame` (N,) int.
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


def track(
    engines: Engines,
    frames: Array,
    queries: Array,
    *,
    progress: Progress | None = None,
    point_frames: int = POINT_FRAMES,
    window_frames: int = WINDOW_FRAMES,
    overlap_frames: int = OVERLAP_FRAMES,
) -> RawTracks:
    """Follow `queries` (N,3) t, y, x px of 256 through `frames` (T,256,256,3) uint8.

    At most `point_frames` points x frames are refined at once. Clips longer than `window_frames` are tracked in
    windows that share `overlap_frames`; memory depends on these three numbers, not on the clip.
    Raises UsageError for arrays of another shape or queries outside the clip.
    """
    frames, queries = _checked(frames, queries)
    if not 0 < overlap_frames < window_frames:
        raise UsageError(f"overlap_frames is {overlap_frames}, expected 1 to {window_frames - 1} (window_frames - 1)")
    raw = RawTracks(*(np.zeros((len(queries), len(frames), *last), np.float32) for last in ((2,), (), ())))
    parts = windows(len(frames), window_frames, overlap_frames)
    where = home(parts, queries[:, 0])
    looks: dict[str, Array] = {}
    grids: dict[str, Array] = {}
    order = visits(len(parts))
    done, total = 0, len(parts) * len(queries)
    for (index, source), (before, _) in zip(order, [(-1, None), *order]):
        part, rows = parts[index], travellers(where, index, source)
        if index != before:
            grids = _features(engines, frames[part])
        if source is None:
            local = queries[rows] - np.array([part.start, 0, 0], np.float32)
            _look(engines, grids, rows, local, looks, len(queries))
        else:
            local = _go_on(raw, rows, part, parts[source])
        for some in _chunks(len(rows), point_frames // (part.stop - part.start)):
            answer = _refine(engines, grids, looks, rows[some], local[some])
            _write(raw, rows[some], part, beyond(part, None if source is None else parts[source]), answer)
            done += some.stop - some.start
            if progress:
                progress(done, total)
    return raw


def _features(engines: Engines, frames: Array) -> dict[str, Array]:
    """The two feature grids of `frames`, a few frames at a time, written into one array each."""
    grids: dict[str, Array] = {}
    for start in range(0, len(frames), FEATURE_FRAMES):
        part = slice(start, start + FEATURE_FRAMES)
        for name, grid in engines["tracks_features"](frames=frames[part]).items():
            if name not in grids:
                grids[name] = np.empty((len(frames), *grid.shape[1:]), np.float32)
            grids[name][part] = grid
    return grids


def _look(
    engines: Engines, grids: dict[str, Array], rows: Array, local: Array, looks: dict[str, Array], count: int
) -> None:
    """Write the features of the query points `local` into `looks`, where those of all `count` tracks are kept."""
    if len(rows):
        for name, values in engines["tracks_query"](**grids, queries=local).items():
            if name not in looks:
                looks[name] = np.zeros((count, values.shape[1]), np.float32)
            looks[name][rows] = values


def _refine(
    engines: Engines, grids: dict[str, Array], looks: dict[str, Array], rows: Array, local: Array
) -> dict[str, Array]:
    return engines["tracks_refine"](**grids, **{name: values[rows] for name, values in looks.items()}, queries=local)


def _go_on(raw: RawTracks, rows: Array, part: slice, source: slice) -> Array:
    """Queries, with t counted from the window `part`, of the tracks `rows` that are known in the window `source`."""
    both = shared(part, source)
    visibility, confidence = _visibility(raw.occlusion[rows, both], raw.expected_dist[rows, both])
    return handover(raw.tracks[rows, both], visibility * confidence, both.start - part.start)


def _write(raw: RawTracks, rows: Array, part: slice, fresh: slice, answer: dict[str, Array]) -> None:
    """Keep what `answer` says of the frames `fresh` of the window `part`."""
    inside = slice(fresh.start - part.start, fresh.stop - part.start)
    for name, values in zip(raw._fields, raw):
        values[rows, fresh] = answer[name][:, inside]


def _chunks(count: int, at_most: int) -> list[slice]:
    """Slices of nearly equal length that cover `count`; onnxruntime keeps its memory for a length it has seen."""
    parts = -(-count // max(at_most, 1))
    return [slice(count * k // parts, count * (k + 1) // parts) for k in range(parts)]


def _checked(frames: Array, queries: Array) -> tuple[Array, Array]:
    size = geometry.TRACKER_PX
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (size, size, 3) or not len(frames):
        raise UsageError(
            f"frames are {frames.dtype}{list(frames.shape)}, expected uint8[T, {size}, {size}, 3];"
            " make them with samotion.tracks.resize_for_tracking"
        )
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != 3:
        raise UsageError(f"queries have shape {list(queries.shape)}, expected [N, 3]: t, y, x")
    if len(queries) and (queries[:, 0].min() < 0 or queries[:, 0].max() > len(frames) - 1):
        raise UsageError(
            f"queries name frames {queries[:, 0].min():g} to {queries[:, 0].max():g}, expected 0 to {len(frames) - 1}"
        )
    return frames, queries


def _visibility(occlusion: Array, expected_dist: Array) -> tuple[Array, Array]:
    """Probabilities that a point can be seen, and that its place is right, from the tracker's logits."""
    visibility, confidence = (0.5 - 0.5 * np.tanh(0.5 * logits) for logits in (occlusion, expected_dist))
    return visibility, confidence


def filter_tracks(raw: RawTracks, queries: Array, hw: tuple[int, int]) -> Tracks:
    """Judge raw tracks of `queries` (N,3) t, y, x px of the source of size `hw`; reference.md, stages 3 and 4.

    A point is visible where visibility times confidence is over 0.5, surely hidden where (1 - visibility) times
    confidence is; where it is neither, its confidence becomes 0. Tracks that are never visible are dropped. In a
    frame in which none is visible the most confident one is marked so: the motion net needs one.
    At its query frame a track is at its query.
    """
    frame = np.rint(queries[:, 0]).astype(np.int64)
    xy = geometry.xy_from_grid(raw.tracks, hw)
    xy[np.arange(len(xy)), frame] = queries[:, :0:-1]
    visibility, confidence = _visibility(raw.occlusion, raw.expected_dist)
    visible = visibility * confidence > 0.5
    hidden = (1 - visibility) * confidence > 0.5
    confidence = np.where(visible | hidden, confidence, np.float32(0))
    found = Tracks(xy, visible, visibility, confidence, frame, queries[:, :0:-1].astype(np.float32))
    found = found.take(np.any(visible, axis=1))
    if len(found):
        empty = np.flatnonzero(~found.visible.any(0))
        found.visible[found.confidence[:, empty].argmax(0), empty] = True
    return found
