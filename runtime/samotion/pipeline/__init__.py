"""The way of the data, from a clip to labelled masks."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from samotion import dino, masks, motion, prompts, sam2
from samotion.backends.engines import Engines
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.stages import Progress, StageProgress, Stages, silent
from samotion.clips import video
from samotion.results.evidence import Evidence, Thumbnails, without_masks
from samotion.results.result import Found, ObjectResult, Result
from samotion.settings import Numbers, Settings, resolve
from samotion.tracks import sample_and_track

__all__ = ["ObjectResult", "Progress", "Result", "find_objects", "segment_clip"]

Array = np.ndarray[Any, Any]


@one_thread_for_numpy()
def segment_clip(
    clip: str | os.PathLike[str] | Array | video.Clip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Find and segment everything that moves in a clip: a video file, a folder of frames, or frames
    (T,H,W,3) uint8.

    `progress` gets each stage's name with what is done of it and in all: 0 of 1 when it starts, all
    when it ends. Raises InputError for a clip that cannot be read and EngineError for engines that
    are missing or fail.
    """
    numbers = resolve(Settings() if settings is None else settings, engines.preset)
    stages = Stages(progress or silent)
    with stages("video") as step:
        source = _read(clip, numbers, step)
    if engines.preset.cues is None:
        found = find_objects(engines, source.frames, numbers, stages)
    else:
        from samotion.cues.method import find_objects as find_by_cues

        found = find_by_cues(engines, source.frames, numbers, stages)
    warnings = [*getattr(engines, "warnings", ()), *source.warnings]
    if not found.objects:
        warnings.append("nothing moves in this clip: all masks are empty")
    return Result(
        labels=found.labels,
        objects=found.scored(),
        tracks=found.tracks,
        scores=found.scores,
        timings=stages.timings,
        clip=source,
        settings=numbers,
        warnings=warnings,
        evidence=found.evidence,
        confidence=found.confidence,
    )


def find_objects(engines: Engines, frames: Array, numbers: Numbers, stages: Stages) -> Found:
    """The published method, stage by stage: what moves in `frames` (T,H,W,3) uint8, and its
    masks.
    """
    hw = frames.shape[1], frames.shape[2]
    with stages("tracks") as step:
        tracks = sample_and_track(
            engines,
            frames,
            step_frames=numbers.step,
            max_tracks=numbers.max_tracks,
            seed=numbers.seed,
            refine_px=numbers.refine_px,
            progress=step,
        )
    with stages("depth") as step:
        depths = Thumbnails(len(frames))
        disparity = motion.disparity_under(engines, frames, tracks, step, depths.add)
    with stages("dino") as step:
        features = dino.under_tracks(engines, frames, tracks, step)
    with stages("motion"):
        scores = motion.score_tracks(engines, hw, tracks, disparity, features)
    images = sam2.Features(engines, frames)
    with stages("prompts") as step:
        segment = partial(sam2.segment, engines, images)
        prompting = replace(engines.preset.prompting, every_frames=numbers.prompt_every)
        objects = prompts.published(
            tracks, scores, segment, hw, prompting, numbers.max_objects, step
        )
    with stages("masks") as step:
        clicks = [click for one in objects for click in one.clicks]
        followed = sam2.propagate(engines, frames, clicks, features=images, progress=step)
        merged = masks.merge(followed)
        labels = masks.to_labels(merged, (len(frames), *hw))
    by_id = {one.object_id: one for one in objects}
    found = [by_id[object_id] for object_id in merged]
    threshold = prompts.motion_threshold(scores, len(frames), prompting)
    evidence = Evidence(threshold, without_masks(found), depths.by_frame)
    confidence = max((float(scores[one.members].mean()) for one in objects), default=0.0)
    return Found(tracks, scores, found, labels, evidence, confidence)


def _read(
    clip: str | os.PathLike[str] | Array | video.Clip, numbers: Numbers, step: StageProgress
) -> video.Clip:
    if isinstance(clip, video.Clip):
        return clip
    return video.read_clip(
        clip, max_frames=numbers.max_frames, long_side_px=numbers.long_side_px, progress=step
    )
