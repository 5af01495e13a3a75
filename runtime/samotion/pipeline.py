"""The way of the data, from a clip to labelled masks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samotion import (
    depth,
    dino,
    edges,
    geometry,
    guide,
    masks,
    motion,
    motion_map,
    multicut,
    outlines,
    output,
    prompts,
    sam2,
    tracks,
    video,
)
from samotion.engine import Engines
from samotion.errors import EngineError
from samotion.second_look import kept_for_it, second_look
from samotion.settings import Numbers, Settings, resolve
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]  # stage, done, total

DEPTH_FRAMES = 16  # frames whose disparity is held at once


@dataclass(frozen=True)
class ObjectResult:
    """A moving object: its label in the masks, and the mean motion score of its tracks."""

    id: int
    score: float


@dataclass(frozen=True)
class Result:
    """What a run found.

    `labels` (T,H,W) uint8, 0 = static, at the size of `clip.frames`; `scores` (N,) in [0,1], one per track;
    `timings` in ms per stage; `settings` are the numbers that made it.
    """

    labels: Array
    objects: list[ObjectResult]
    tracks: Tracks
    scores: Array
    timings: dict[str, float]
    clip: video.Clip
    settings: Numbers
    warnings: list[str] = field(default_factory=list)

    def save(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write masks, overlay, objects, tracks and run.json; options as in `samotion.output.write`."""
        output.write(self, folder, **options)


@contextmanager
def _one_thread_for_numpy() -> Iterator[None]:
    """NumPy's products are small here, and its threads wait for each other: 29.5 s became 26 s on two idle cores, and
    many times as much is won where something else runs. Without threadpoolctl nothing changes.
    """
    with ExitStack() as stack:
        with suppress(ImportError):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1, user_api="blas"))
        yield


@_one_thread_for_numpy()
def segment_clip(
    clip: str | os.PathLike[str] | Array | video.Clip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Find and segment everything that moves in a clip: a video file, a folder of frames, or frames (T,H,W,3) uint8.

    Raises InputError for a clip that cannot be read and EngineError for engines that are missing or fail.
    """
    preset = engines.preset
    numbers = resolve(settings or Settings(), preset)
    report = progress or _silent
    timings: dict[str, float] = {}

    with _timed("video", timings):
        source = _read(clip, numbers, report)
    frames = source.frames
    hw = frames.shape[1], frames.shape[2]

    later = kept_for_it(numbers.max_tracks) if preset.motion.maps else 0
    with _timed("tracks", timings):
        small = tracks.resize_for_tracking(frames)
        seen = tracks.Seen(small) if preset.motion.maps else small  # kept where they are looked at again
        found = _track(engines, frames, seen, replace(numbers, max_tracks=numbers.max_tracks - later), report)
    with _timed("depth", timings):
        disparity = _disparity(engines, frames, found, report)
    with _timed("dino", timings):
        features = _features(engines, frames, found, report)
    with _timed("motion", timings):
        report("motion", 0, 1)
        scores = motion.score(
            engines,
            xy_px=found.xy,
            hw=hw,
            visible=found.visible,
            visibility=found.visibility,
            confidence=found.confidence,
            disparity=disparity,
            dino=features,
        )
        maps = None
        if preset.motion.maps:
            found, scores, maps = second_look(
                engines, frames, found, scores, later, numbers.seed, _stage(report, "motion"), seen
            )
        del seen
        report("motion", 1, 1)

    images = sam2.Features(engines, frames)
    with _timed("prompts", timings):
        objects = prompt_objects(engines, images, found, scores, maps, numbers, report)
    with _timed("masks", timings):
        merged = _segment(engines, images, objects, report)
        labels = masks.to_labels(merged, (len(frames), *hw))

    members = {found.object_id: found.members for found in objects}
    return Result(
        labels,
        [ObjectResult(k + 1, float(scores[members[i]].mean())) for k, i in enumerate(merged)],
        found,
        scores,
        timings,
        source,
        numbers,
        [*source.warnings, *([] if merged else ["nothing moves in this clip: all masks are empty"])],
    )


def _read(clip: str | os.PathLike[str] | Array | video.Clip, numbers: Numbers, report: Progress) -> video.Clip:
    if isinstance(clip, video.Clip):
        return clip
    progress = _stage(report, "video")
    return video.read_clip(clip, max_frames=numbers.max_frames, long_side_px=numbers.long_side_px, progress=progress)


def _track(engines: Engines, frames: Array, seen: Array | tracks.Seen, numbers: Numbers, report: Progress) -> Tracks:
    hw = frames.shape[1], frames.shape[2]
    queries = tracks.sample_queries(len(frames), hw, numbers.step, numbers.max_tracks, numbers.seed)
    points = geometry.queries_to_grid(queries, hw)
    finer = numbers.refine_px > geometry.TRACKER_PX
    large = tracks.resize_for_tracking(frames, numbers.refine_px) if finer else None
    raw = tracks.track(engines, seen, points, large=large, progress=_stage(report, "tracks"))
    return tracks.filter_tracks(raw, queries, hw)


def _disparity(engines: Engines, frames: Array, found: Tracks, report: Progress) -> Array:
    """Disparity under every track in every frame (N,T), a few frames at a time."""
    hw = frames.shape[1], frames.shape[2]
    parts = []
    for start in range(0, len(frames), DEPTH_FRAMES):
        report("depth", start, len(frames))
        part = slice(start, start + DEPTH_FRAMES)
        disparity = depth.estimate(engines, frames[part])
        parts.append(motion.gather_disparity(disparity, found.xy[:, part], hw, engines.preset.motion.disparity))
    report("depth", len(frames), len(frames))
    return np.concatenate(parts, axis=1)


def _features(engines: Engines, frames: Array, found: Tracks, report: Progress) -> Array:
    """The semantic feature (N,C) under each track's own query point."""
    hw = frames.shape[1], frames.shape[2]
    features = np.zeros((len(found.xy), engines.preset.motion.dino_channels), np.float32)
    query_frames = np.unique(found.query_frame)
    for done, frame in enumerate(query_frames):
        report("dino", done, len(query_frames))
        mine = found.query_frame == frame
        grid = dino.describe(engines, frames[frame : frame + 1])
        if grid.shape[-1] != features.shape[1]:
            raise EngineError(
                f"dino gives {grid.shape[-1]} channels, motion takes {features.shape[1]}; export both again"
            )
        features[mine] = dino.sample(grid[0], found.query_xy[mine], hw)
    report("dino", len(query_frames), len(query_frames))
    return features


def prompt_objects(
    engines: Engines,
    images: sam2.Features,
    found: Tracks,
    scores: Array,
    maps: motion_map.MotionMaps | None,
    numbers: Numbers,
    progress: Progress | None = None,
) -> list[prompts.ObjectPrompt]:
    """What moves by the tracks' motion scores (N,), as objects with their prompts for SAM 2."""
    report = progress or _silent
    style = engines.preset.prompting
    frame_count, hw = found.xy.shape[1], images.hw
    draws = style.style == "clicks+mask"
    guides = guide.Guides(images.frames)
    report("prompts", 0, 1)

    def segment(click: sam2.Click) -> Array:
        return sam2.segment(engines, images, click)

    moving = prompts.select_moving(scores, frame_count, style)
    likely = prompts.candidates(scores, moving, style)
    if draws:
        objects = multicut.find(found, scores, moving, likely, hw, maps, style, numbers.max_objects)
    else:
        objects = prompts.group(found, moving, segment, hw, style, numbers.max_objects)
    claimed = np.zeros(len(found), bool)
    for candidate in objects:
        claimed[candidate.members] = True
    unsure = likely & ~claimed

    shown = [prompts.seen_on(candidate, found, style, numbers.prompt_every) for candidate in objects]
    drawn: list[dict[int, Array]] = [{} for _ in objects]
    if draws:
        members = [candidate.members for candidate in objects]
        drawn = outlines.coarse_masks(
            found, members, shown, unsure, guides, maps, images.mask_side, _stage(report, "prompts")
        )
    done = []
    for index, (candidate, here, coarse) in enumerate(zip(objects, shown, drawn)):
        if not draws:
            report("prompts", index, len(objects))
        done.append(prompts.prompt(candidate, found, unsure, segment, style, here, coarse))
    report("prompts", 1, 1)
    return [candidate for candidate in done if candidate.clicks]


def _segment(
    engines: Engines, images: sam2.Features, objects: list[prompts.ObjectPrompt], report: Progress
) -> dict[int, Array]:
    clicks = [click for found in objects for click in found.clicks]
    if not clicks:
        return {}
    found = sam2.propagate(
        engines,
        images.frames,
        clicks,
        features=images,
        progress=_stage(report, "masks"),
        reach_frames=engines.preset.prompting.reach_frames,
        refine=edges.snap if engines.preset.sam2.snaps else None,
    )
    return masks.merge(found)


def _stage(report: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: report(stage, done, total)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


@contextmanager
def _timed(stage: str, timings: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = (time.perf_counter() - start) * 1000
