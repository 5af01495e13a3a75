"""Tracks: where points of the query frames are in every frame, and whether they can be seen
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from samotion import geometry
from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.resident import Answer
from samotion.backends.threads import mapped
from samotion.checks.stages import StageProgress
from samotion.contract import SIGNATURES, TRACKER_PX
from samotion.errors import UsageError
from samotion.tracks.arguments import check_large, checked_frames
from samotion.tracks.features import (
    FEATURE_FRAMES,
    LARGE_FEATURE_FRAMES,
    FrameCache,
    Grids,
    ResizedFrames,
    features_of,
    resizing,
)
from samotion.tracks.queries import resize_for_tracking, sample_queries
from samotion.tracks.records import (
    RawTracks,
    Tracks,
    empty_tracks,
    filter_tracks,
    visibility_of,
)
from samotion.tracks.windows import (
    Pass,
    chunks,
    continued_queries,
    new_frames,
    rows_in,
    schedule,
    shared_frames,
    split,
    start_windows,
)

POINT_FRAMES = 6000  # points x frames that a GPU's engine refines at once: about 0.24 MB each
CPU_POINT_FRAMES = 2000  # the same by each of two threads; as fast from 2000 to 12000
GPU_POINT_FRAMES = 60_000  # in one call, which its engine may cut; the host waits once for it
WINDOW_FRAMES = 320  # frames tracked together; their features take 3.1 MB a frame with BootsTAPIR
OVERLAP_FRAMES = 32
LARGE_WINDOW_FRAMES = 128  # with the features of frames of 512 px, 15.7 MB a frame


def track(
    engines: Engines,
    frames: np.ndarray | FrameCache,
    queries: np.ndarray,
    *,
    large: np.ndarray | None = None,
    progress: StageProgress | None = None,
    point_frames: int | None = None,
    window_frames: int | None = None,
    overlap_frames: int = OVERLAP_FRAMES,
) -> RawTracks:
    """Follow `queries` (N,3) t, y, x px of 256 through `frames` (T,256,256,3) uint8.

    For several calls with the same frames, give them as one `FrameCache`, which keeps their
    features. `large` (T,S,S,3) uint8, the same frames at the preset's `tracks.refine_px`:
    tracks are refined on them once more, and the answer is the mean of both rounds, as published.
    At most `point_frames` points x frames are refined at once by each of two threads (None: 2000),
    or in a call to a GPU (60000). Clips longer than `window_frames`
    (None: 320, or 128 with `large`) are tracked in windows that share `overlap_frames`; memory
    depends on these three numbers, not on the clip, but for the answer itself. Raises UsageError
    for arrays of another shape or queries outside the clip, EngineError for engines that do not
    refine on large frames.
    """
    cache = frames if isinstance(frames, FrameCache) else FrameCache(frames)
    small, queries = checked_frames(cache.frames, queries)
    if large is not None:
        check_large(engines, large, len(small))
    window_frames = _window_frames(window_frames, overlap_frames, large)
    windows = split(len(small), window_frames, overlap_frames)
    answer = empty_tracks(len(queries), len(small))
    if point_frames is None:
        point_frames = GPU_POINT_FRAMES if resident.is_on_gpu(engines) else CPU_POINT_FRAMES
    job = _Job(engines, cache, large, queries, windows, point_frames, answer)
    total = len(windows) * len(queries)
    done = 0
    for count in _passes(job):
        done += count
        if progress:
            progress(done, total)
    return answer


@dataclass(frozen=True)
class _Job:
    """One call of `track`: what it was given, its windows, and what is filled in pass by pass, the
    answer and the features of the query points of all tracks.
    """

    engines: Engines
    cache: FrameCache
    large: np.ndarray | None
    queries: np.ndarray
    windows: list[slice]
    point_frames: int
    answer: RawTracks
    query_features: dict[str, np.ndarray] = field(default_factory=dict)


def _window_frames(given: int | None, overlap_frames: int, large: np.ndarray | None) -> int:
    """How many frames are tracked together. Raises UsageError where windows could not overlap."""
    window_frames = WINDOW_FRAMES if large is None else LARGE_WINDOW_FRAMES
    if given is not None:
        window_frames = given
    if not 0 < overlap_frames < window_frames:
        raise UsageError(
            f"overlap_frames is {overlap_frames}, expected 1 to {window_frames - 1}"
            f" (window_frames - 1)"
        )
    return window_frames


def _passes(job: _Job) -> Iterator[int]:
    """Make all passes of the window schedule; after each chunk of tracks, how many it held."""
    starts = start_windows(job.windows, job.queries[:, 0])
    grids: Grids = {}
    previous = None
    for one in schedule(len(job.windows)):
        if one.window != previous:
            grids = _window_features(job, job.windows[one.window])
        yield from _pass(job, grids, one, rows_in(one, starts))
        previous = one.window


def _pass(job: _Job, grids: Grids, one: Pass, rows: np.ndarray) -> Iterator[int]:
    """Track `rows` through one window, a chunk at a time. The next chunk is on its way when an
    answer is waited for.
    """
    window = job.windows[one.window]
    source = None if one.source is None else job.windows[one.source]
    if source is None:
        queries = job.queries[rows] - np.array([window.start, 0, 0], np.float32)
        _sample_query_features(job, grids, rows, queries)
    else:
        queries = _continued(job.answer, rows, window, source)
    fresh = new_frames(window, source)
    frame_count = window.stop - window.start

    def refine(chunk: slice) -> tuple[slice, list[Answer]]:
        return chunk, _refine(job, grids, rows[chunk], queries[chunk])

    parts = chunks(len(rows), job.point_frames // frame_count)
    started = mapped(refine, parts, on_threads=not resident.is_on_gpu(job.engines))
    for chunk, answers in resident.one_ahead(started):
        _write(job.answer, rows[chunk], window, fresh, _mean(answers))
        yield chunk.stop - chunk.start


def sample_and_track(  # noqa: PLR0913 (a stage, called with keywords)
    engines: Engines,
    frames: np.ndarray,
    *,
    step_frames: int,
    max_tracks: int,
    seed: int,
    refine_px: int = TRACKER_PX,
    known: np.ndarray | None = None,
    small: Any = None,
    track: Callable[..., RawTracks] = track,
    progress: StageProgress | None = None,
) -> Tracks:
    """Draw at most `max_tracks` queries on every `step_frames`-th of `frames` (T,H,W,3) uint8 and
    follow them.

    `known` (Q,3) t, y, x px: queries that come before those drawn, and count among them.
    `small`: the frames as the tracker takes them, or their `FrameCache` (None: made here).
    `refine_px` above 256 refines on larger ones.
    """
    hw = frames.shape[1], frames.shape[2]
    known = np.zeros((0, 3), np.float32) if known is None else known
    drawn = sample_queries(len(frames), hw, step_frames, max(1, max_tracks - len(known)), seed)
    queries = np.concatenate([known, drawn])
    resized: Any = resize_for_tracking
    if resident.is_on_gpu(engines):
        resized = partial(ResizedFrames, resize=resizing(engines))
    large = resized(frames, refine_px) if refine_px > TRACKER_PX else None
    small = resized(frames) if small is None else small
    on_grid = geometry.queries_to_grid(queries, hw)
    raw = track(engines, small, on_grid, large=large, progress=progress)
    return filter_tracks(raw, queries, hw)


def _window_features(job: _Job, window: slice) -> Grids:
    """The feature grids of a window's frames, of large frames too where there are some."""
    kept = job.cache.grids if len(job.windows) == 1 else {}
    if not kept:
        kept |= features_of(
            job.engines, "tracks_features", job.cache.frames, window, FEATURE_FRAMES
        )
    if job.large is None:
        return kept
    large = features_of(
        job.engines, "tracks_features_large", job.large, window, LARGE_FEATURE_FRAMES
    )
    return kept | large


def _sample_query_features(job: _Job, grids: Grids, rows: np.ndarray, queries: np.ndarray) -> None:
    """Keep the features of the query points of the tracks `rows`."""
    if not len(rows):
        return
    engines = ["tracks_query"]
    if "large_lowres" in grids:
        engines.append("tracks_query_large")
    kept = job.query_features
    for engine in engines:
        answer = _start(job.engines, engine, {**grids, "queries": queries})
        for name, values in answer.get().items():
            if name not in kept:
                kept[name] = np.zeros((len(job.queries), values.shape[1]), np.float32)
            kept[name][rows] = values


def _refine(job: _Job, grids: Grids, rows: np.ndarray, queries: np.ndarray) -> list[Answer]:
    """The tracker's answer for the tracks `rows`, on its way; with large frames two, of both
    rounds.
    """
    query_features = {name: values[rows] for name, values in job.query_features.items()}
    values = {**grids, **query_features, "queries": queries}
    first = _start(job.engines, "tracks_refine", values)
    if "large_lowres" not in grids:
        return [first]
    values["start"] = first.arrays["tracks"]
    return [first, _start(job.engines, "tracks_refine_large", values)]


def _mean(answers: list[Answer]) -> dict[str, np.ndarray]:
    """Of one round, or of both."""
    found = [answer.get() for answer in answers]
    if len(found) == 1:
        return found[0]
    return {name: (found[0][name] + found[1][name]) / 2 for name in found[0]}


def _start(engines: Engines, engine: str, values: dict[str, Any]) -> Answer:
    """Run an engine on what it takes of `values`; its answer is on its way."""
    inputs = {name: values[name] for name in SIGNATURES[engine].input_names}
    return resident.call(engines, engine, **inputs).fetch()


def _continued(answer: RawTracks, rows: np.ndarray, window: slice, source: slice) -> np.ndarray:
    """Queries, with t counted from `window`, of the tracks `rows` that are known in the window
    `source`.
    """
    both = shared_frames(window, source)
    visibility, confidence = visibility_of(
        answer.occlusion[rows, both], answer.expected_dist[rows, both]
    )
    certainty = visibility * confidence
    return continued_queries(answer.tracks[rows, both], certainty, both.start - window.start)


def _write(
    answer: RawTracks, rows: np.ndarray, window: slice, fresh: slice, refined: dict[str, np.ndarray]
) -> None:
    """Write what `refined` says of the frames `fresh` of a window into the answer."""
    inside = slice(fresh.start - window.start, fresh.stop - window.start)
    for name, values in zip(answer._fields, answer):
        values[rows, fresh] = refined[name][:, inside]
