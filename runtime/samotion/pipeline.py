"""The way of the data, from a clip to labelled masks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samotion import depth, dino, geometry, masks, motion, prompts, sam2, tracks
from samotion.arguments import path_of
from samotion.backends.engines import Engines
from samotion.clips import video
from samotion.cues import guided_filter as edges
from samotion.cues import labels as cue_labels
from samotion.cues import motion_map
from samotion.cues import prompting as cue_prompting
from samotion.cues.densify import kept_for_it, second_look
from samotion.errors import EngineError
from samotion.presets import Preset
from samotion.results import write as output
from samotion.settings import Numbers, Settings, resolve
from samotion.threads import one_thread_for_numpy
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]  # stage, done, total
Step = Callable[[int, int], None]  # done, total of one stage

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
        output.write(self, path_of(folder, "the folder for results"), **options)


@one_thread_for_numpy()
def segment_clip(
    clip: str | os.PathLike[str] | Array | video.Clip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Find and segment everything that moves in a clip: a video file, a folder of frames, or frames (T,H,W,3) uint8.

    `progress` gets each stage's name with what is done of it and in all: 0 of 1 when it starts, all when it ends.
    Raises InputError for a clip that cannot be read and EngineError for engines that are missing or fail.
    """
    preset = engines.preset
    numbers = resolve(Settings() if settings is None else settings, preset)
    report = progress or _silent
    timings: dict[str, float] = {}

    with _stage("video", timings, report) as step:
        source = _read(clip, numbers, step)
    frames = source.frames
    hw = frames.shape[1], frames.shape[2]

    later = kept_for_it(numbers.max_tracks) if preset.motion.maps else 0
    with _stage("tracks", timings, report) as step:
        small = tracks.resize_for_tracking(frames)
        seen = tracks.Seen(small) if preset.motion.maps else small  # kept where they are looked at again
        found = _track(engines, frames, seen, replace(numbers, max_tracks=numbers.max_tracks - later), step)
    with _stage("depth", timings, report) as step:
        disparity = _disparity(engines, frames, found, step)
    with _stage("dino", timings, report) as step:
        features = _features(engines, frames, found, step)
    with _stage("motion", timings, report) as step:
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
            found, scores, maps = second_look(engines, frames, found, scores, later, numbers.seed, step, seen)
        del seen

    images = sam2.Features(engines, frames)
    with _stage("prompts", timings, report) as step:
        objects = prompt_objects(engines, images, found, scores, maps, numbers, step)
    with _stage("masks", timings, report) as step:
        followed = _segment(engines, images, objects, step)
        merged, labels = _label(followed, (len(frames), *hw), preset)

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


def _read(clip: str | os.PathLike[str] | Array | video.Clip, numbers: Numbers, step: Step) -> video.Clip:
    if isinstance(clip, video.Clip):
        return clip
    return video.read_clip(clip, max_frames=numbers.max_frames, long_side_px=numbers.long_side_px, progress=step)


def _track(engines: Engines, frames: Array, seen: Array | tracks.Seen, numbers: Numbers, step: Step) -> Tracks:
    hw = frames.shape[1], frames.shape[2]
    queries = tracks.sample_queries(len(frames), hw, numbers.step, numbers.max_tracks, numbers.seed)
    points = geometry.queries_to_grid(queries, hw)
    finer = numbers.refine_px > geometry.TRACKER_PX
    large = tracks.resize_for_tracking(frames, numbers.refine_px) if finer else None
    raw = tracks.track(engines, seen, points, large=large, progress=step)
    return tracks.filter_tracks(raw, queries, hw)


def _disparity(engines: Engines, frames: Array, found: Tracks, step: Step) -> Array:
    """Disparity under every track in every frame (N,T), a few frames at a time."""
    hw = frames.shape[1], frames.shape[2]
    parts = []
    for start in range(0, len(frames), DEPTH_FRAMES):
        step(start, len(frames))
        part = slice(start, start + DEPTH_FRAMES)
        disparity = depth.estimate(engines, frames[part])
        parts.append(motion.gather_disparity(disparity, found.xy[:, part], hw, engines.preset.motion.disparity))
    return np.concatenate(parts, axis=1)


def _features(engines: Engines, frames: Array, found: Tracks, step: Step) -> Array:
    """The semantic feature (N,C) under each track's own query point."""
    hw = frames.shape[1], frames.shape[2]
    features = np.zeros((len(found.xy), engines.preset.motion.dino_channels), np.float32)
    query_frames = np.unique(found.query_frame)
    for done, frame in enumerate(query_frames):
        step(done, len(query_frames))
        mine = found.query_frame == frame
        grid = dino.describe(engines, frames[frame : frame + 1])
        if grid.shape[-1] != features.shape[1]:
            raise EngineError(
                f"dino gives {grid.shape[-1]} channels, motion takes {features.shape[1]}; export both again"
            )
        features[mine] = dino.sample(grid[0], found.query_xy[mine], hw)
    return features


def prompt_objects(
    engines: Engines,
    images: sam2.Features,
    found: Tracks,
    scores: Array,
    maps: motion_map.MotionMaps | None,
    numbers: Numbers,
    progress: Step | None = None,
) -> list[prompts.ObjectPrompt]:
    """What moves by the tracks' motion scores (N,), as objects with their prompts for SAM 2."""
    style = replace(engines.preset.prompting, every_frames=numbers.prompt_every)
    if style.style == "clicks+mask":
        return cue_prompting.prompt_objects(found, scores, maps, images, style, numbers.max_objects, progress)

    def segment(click: sam2.Click) -> Array:
        return sam2.segment(engines, images, click)

    return prompts.published(found, scores, segment, images.hw, style, numbers.max_objects, progress)


def _segment(
    engines: Engines, images: sam2.Features, objects: list[prompts.ObjectPrompt], step: Step
) -> dict[int, Array]:
    clicks = [click for found in objects for click in found.clicks]
    if not clicks:
        return {}
    return sam2.propagate(
        engines,
        images.frames,
        clicks,
        features=images,
        progress=step,
        reach_frames=engines.preset.prompting.reach_frames,
        refine=edges.snap if engines.preset.sam2.snaps else None,
    )


def _label(found: dict[int, Array], shape: tuple[int, int, int], preset: Preset) -> tuple[list[int], Array]:
    """Join masks (T,H,W) of one object: the ids (K,) that are left, and a label map in which the k-th is k + 1."""
    if preset.prompting.style == "clicks+mask":
        joined = cue_labels.merge(found)
        return list(joined), cue_labels.to_labels(joined, shape)
    joined = masks.merge(found)
    return list(joined), masks.to_labels(joined, shape)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


@contextmanager
def _stage(name: str, timings: dict[str, float], report: Progress) -> Iterator[Step]:
    """Time one stage of a run and report its progress under its name.

    The first report is 0 of 1 or more, the last is all of it, and no other is: that tells the end of a stage.
    """
    start = time.perf_counter()
    whole = 1

    def step(done: int, total: int) -> None:
        nonlocal whole
        whole = max(1, total)
        if done < total:
            report(name, done, total)

    report(name, 0, whole)
    yield step
    report(name, whole, whole)
    timings[name] = (time.perf_counter() - start) * 1000
