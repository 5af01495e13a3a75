"""Tracks: where points of the query frames are in every frame, and whether they can be seen
there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.contract import SIGNATURES
from samotion.errors import EngineError, UsageError
from samotion.presets import REFINE_PX
from samotion.tracks.live import OnlineTracker, start, step
from samotion.tracks.queries import resize_for_tracking, sample_queries
from samotion.tracks.records import RawTracks, Tracks, filter_tracks, join, visibility_of
from samotion.tracks.windows import (
    beyond,
    chunks,
    handover,
    home,
    shared,
    travellers,
    visits,
    windows,
)

__all__ = [
    "FrameCache",
    "OnlineTracker",
    "RawTracks",
    "Tracks",
    "filter_tracks",
    "join",
    "resize_for_tracking",
    "sample_queries",
    "start",
    "step",
    "track",
    "visibility_of",
]

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

# points x frames refined at once: about 0.24 MB each; as fast from 2000 to 12000
POINT_FRAMES = 6000
FEATURE_FRAMES = 8  # frames whose features are computed at once
WINDOW_FRAMES = 320  # frames tracked together; their features take 3.1 MB a frame with BootsTAPIR
OVERLAP_FRAMES = 32
LARGE_FEATURE_FRAMES = 2  # as many px as FEATURE_FRAMES
LARGE_WINDOW_FRAMES = 128  # with the features of frames of 512 px, 15.7 MB a frame


@dataclass
class FrameCache:
    """Features of `frames` (T,256,256,3) uint8 that calls of `track` share; kept for clips of
    one window.
    """

    frames: Array
    grids: dict[str, Array] = field(default_factory=dict)


def track(
    engines: Engines,
    frames: Array | FrameCache,
    queries: Array,
    *,
    large: Array | None = None,
    progress: Progress | None = None,
    point_frames: int = POINT_FRAMES,
    window_frames: int | None = None,
    overlap_frames: int = OVERLAP_FRAMES,
) -> RawTracks:
    """Follow `queries` (N,3) t, y, x px of 256 through `frames` (T,256,256,3) uint8.

    Who will ask for more tracks of the same frames gives them as one `FrameCache`, which keeps
    their features. `large` (T,S,S,3) uint8, the same frames at the preset's `tracks.refine_px`:
    tracks are refined on them once more, and the answer is the mean of both rounds, as published.
    At most `point_frames` points x frames are refined at once. Clips longer than `window_frames`
    (None: 320, or 128 with `large`) are tracked in windows that share `overlap_frames`; memory
    depends on these three numbers, not on the clip, but for the answer itself. Raises UsageError
    for arrays of another shape or queries outside the clip, EngineError for engines that do not
    refine on large frames.
    """
    cache = frames if isinstance(frames, FrameCache) else FrameCache(frames)
    frames, queries = _checked(cache.frames, queries)
    if large is not None:
        _check_large(engines, large, len(frames))
    if window_frames is None:
        window_frames = WINDOW_FRAMES if large is None else LARGE_WINDOW_FRAMES
    if not 0 < overlap_frames < window_frames:
        raise UsageError(
            f"overlap_frames is {overlap_frames}, expected 1 to {window_frames - 1}"
            f" (window_frames - 1)"
        )
    raw = RawTracks(
        *(np.zeros((len(queries), len(frames), *last), np.float32) for last in ((2,), (), ()))
    )
    parts = windows(len(frames), window_frames, overlap_frames)
    where = home(parts, queries[:, 0])
    looks: dict[str, Array] = {}
    grids: dict[str, Array] = {}
    order = visits(len(parts))
    done, total = 0, len(parts) * len(queries)
    for (index, source), (before, _) in zip(order, [(-1, None), *order]):
        part, rows = parts[index], travellers(where, index, source)
        if index != before:
            kept = cache.grids if len(parts) == 1 else {}
            if not kept:
                kept |= _features(engines, "tracks_features", frames[part], FEATURE_FRAMES)
            grids = dict(kept)
            if large is not None:
                grids |= _features(
                    engines, "tracks_features_large", large[part], LARGE_FEATURE_FRAMES
                )
        if source is None:
            local = queries[rows] - np.array([part.start, 0, 0], np.float32)
            _look(engines, grids, rows, local, looks, len(queries))
        else:
            local = _go_on(raw, rows, part, parts[source])
        for some in chunks(len(rows), point_frames // (part.stop - part.start)):
            answer = _refine(engines, grids, looks, rows[some], local[some])
            _write(
                raw,
                rows[some],
                part,
                beyond(part, None if source is None else parts[source]),
                answer,
            )
            done += some.stop - some.start
            if progress:
                progress(done, total)
    return raw


def sample_and_track(
    engines: Engines,
    frames: Array,
    *,
    step_frames: int,
    max_tracks: int,
    seed: int,
    refine_px: int = geometry.TRACKER_PX,
    small: Array | FrameCache | None = None,
    track: Callable[..., RawTracks] = track,
    progress: Progress | None = None,
) -> Tracks:
    """Draw at most `max_tracks` queries on every `step_frames`-th of `frames` (T,H,W,3) uint8 and
    follow them.

    `small`: the frames as the tracker takes them (None: made here). `refine_px` above 256 refines
    on larger ones.
    """
    hw = frames.shape[1], frames.shape[2]
    queries = sample_queries(len(frames), hw, step_frames, max_tracks, seed)
    large = resize_for_tracking(frames, refine_px) if refine_px > geometry.TRACKER_PX else None
    small = resize_for_tracking(frames) if small is None else small
    raw = track(
        engines, small, geometry.queries_to_grid(queries, hw), large=large, progress=progress
    )
    return filter_tracks(raw, queries, hw)


def _features(engines: Engines, engine: str, frames: Array, at_once: int) -> dict[str, Array]:
    """The feature grids of `frames`, a few frames at a time, written into one array each."""
    grids: dict[str, Array] = {}
    for first in range(0, len(frames), at_once):
        part = slice(first, first + at_once)
        for name, grid in engines[engine](frames=frames[part]).items():
            if name not in grids:
                grids[name] = np.empty((len(frames), *grid.shape[1:]), np.float32)
            grids[name][part] = grid
    return grids


def _look(
    engines: Engines,
    grids: dict[str, Array],
    rows: Array,
    local: Array,
    looks: dict[str, Array],
    count: int,
) -> None:
    """Write the features of the query points `local` into `looks`, where those of all `count`
    tracks are kept.
    """
    if not len(rows):
        return
    for engine in ("tracks_query", *(["tracks_query_large"] if "large_lowres" in grids else [])):
        for name, values in _call(engines, engine, {**grids, "queries": local}).items():
            if name not in looks:
                looks[name] = np.zeros((count, values.shape[1]), np.float32)
            looks[name][rows] = values


def _refine(
    engines: Engines, grids: dict[str, Array], looks: dict[str, Array], rows: Array, local: Array
) -> dict[str, Array]:
    values = {**grids, **{name: values[rows] for name, values in looks.items()}, "queries": local}
    answer = _call(engines, "tracks_refine", values)
    if "large_lowres" not in grids:
        return answer
    finer = _call(engines, "tracks_refine_large", {**values, "start": answer["tracks"]})
    return {name: (answer[name] + finer[name]) / 2 for name in answer}


def _call(engines: Engines, engine: str, values: dict[str, Array]) -> dict[str, Array]:
    """Run an engine on what it takes of `values`."""
    return engines[engine](**{name: values[name] for name in SIGNATURES[engine].input_names})


def _go_on(raw: RawTracks, rows: Array, part: slice, source: slice) -> Array:
    """Queries, with t counted from the window `part`, of the tracks `rows` that are known in the
    window `source`.
    """
    both = shared(part, source)
    visibility, confidence = visibility_of(raw.occlusion[rows, both], raw.expected_dist[rows, both])
    return handover(raw.tracks[rows, both], visibility * confidence, both.start - part.start)


def _write(
    raw: RawTracks, rows: Array, part: slice, fresh: slice, answer: dict[str, Array]
) -> None:
    """Keep what `answer` says of the frames `fresh` of the window `part`."""
    inside = slice(fresh.start - part.start, fresh.stop - part.start)
    for name, values in zip(raw._fields, raw):
        values[rows, fresh] = answer[name][:, inside]


def _checked(frames: Array, queries: Array) -> tuple[Array, Array]:
    size = geometry.TRACKER_PX
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[1:] != (size, size, 3)
        or not len(frames)
    ):
        raise UsageError(
            f"frames are {frames.dtype}{list(frames.shape)}, expected uint8[T, {size}, {size}, 3];"
            " make them with samotion.tracks.resize_for_tracking"
        )
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != 3:
        raise UsageError(f"queries have shape {list(queries.shape)}, expected [N, 3]: t, y, x")
    if len(queries) and (queries[:, 0].min() < 0 or queries[:, 0].max() > len(frames) - 1):
        raise UsageError(
            f"queries name frames {queries[:, 0].min():g} to {queries[:, 0].max():g}, expected"
            f" 0 to {len(frames) - 1}"
        )
    return frames, queries


def _check_large(engines: Engines, large: Array, count: int) -> None:
    numbers = engines.preset.tracks
    if not numbers.refines_large:
        raise EngineError(
            f"these engines refine tracks on frames of {numbers.refine_px} px only; for larger"
            f" ones export with:"
            f" samotion-export tracks --preset {engines.preset.name} --refine-px {max(REFINE_PX)}"
        )
    shape = (count, numbers.refine_px, numbers.refine_px, 3)
    if large.dtype != np.uint8 or large.shape != shape:
        raise UsageError(
            f"large frames are {large.dtype}{list(large.shape)}, expected uint8{list(shape)};"
            f" make them with samotion.tracks.resize_for_tracking(frames, {numbers.refine_px})"
        )
