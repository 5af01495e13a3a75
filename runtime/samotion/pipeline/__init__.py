"""The way of the data, from a clip to labelled masks."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from samotion import masks, motion, prompts, sam2
from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.arguments import preset_of
from samotion.checks.stages import Progress, StageProgress, Stages, silent
from samotion.clips import video
from samotion.clips.cuts import mark_cuts
from samotion.clips.part import Part
from samotion.clips.stream import Frames, Reading, Stream, fitted, stream_of
from samotion.errors import InputError
from samotion.pipeline import folder
from samotion.pipeline.windows import (
    State,
    WindowResult,
    nothing_moves,
    run,
    to_result,
)
from samotion.results.evidence import Evidence, Thumbnails, without_masks
from samotion.results.folder import check_frame_names
from samotion.results.record import OutputFolder
from samotion.results.result import NOTHING, Carried, Found, ObjectResult, Result
from samotion.results.windows import TrackWindow
from samotion.sam2.logits import Refine
from samotion.settings import Numbers, Settings, resolve
from samotion.tracks import sample_and_track
from samotion.tracks.features import (
    FEATURE_FRAMES,
    FrameCache,
    ResizedFrames,
    features_while_read,
)
from samotion.tracks.tracking import WINDOW_FRAMES

__all__ = [
    "ObjectResult",
    "Progress",
    "Result",
    "WindowResult",
    "find",
    "find_objects",
    "refine_of",
    "segment_clip",
    "segment_to",
    "segment_windows",
]

AnyClip = video.Source | video.Clip


@one_thread_for_numpy()
def segment_clip(
    clip: AnyClip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Find and segment everything that moves in a clip: a video file, a folder of frames, frames
    (T,H,W,3) uint8 RGB as an array or a list of images, or a `Clip` that has been read.

    `progress` gets each stage's name with what is done of it and in all: 0 of 1 when it starts, all
    when it ends. A clip of more than `window_frames`, or of several scenes, is worked on window by
    window, and its labels are held for all frames, those of an array too: `segment_windows` holds
    those of one window.
    Raises InputError for a clip that cannot be read and EngineError for engines that are missing or
    fail.
    """
    numbers = _numbers(settings, engines)
    clip = _fitted(clip, numbers)
    stream, report = _open(clip, numbers), progress or silent
    if stream.count > numbers.window_frames:
        if stream.path is None and not isinstance(clip, video.Clip):
            clip = stream.read()  # what is written into an array later is no part of the result
            stream = stream_of(clip)
        return _segment_by_windows(clip, stream, engines, numbers, report)
    stages = Stages(report)
    with stages("video") as step:
        source, cache = _read(clip, stream, engines, step)
    if any(is_cut for _, is_cut in mark_cuts(source.frames)):
        return _segment_by_windows(source, stream_of(source), engines, numbers, report)
    return _segment_whole(source, cache, engines, numbers, stages)


def _segment_by_windows(
    clip: AnyClip,
    stream: Stream,
    engines: Engines,
    numbers: Numbers,
    progress: Progress,
) -> Result:
    """A clip of several windows."""
    reading = stream.open()
    labels: list[np.ndarray] = []
    tracks: list[TrackWindow] = []
    state = State()
    for window in _run(stream, reading, engines, numbers, progress):
        labels.append(window.labels)
        tracks.append(window.tracks)
        state = window.state
    joined = np.concatenate(labels)
    source = clip
    if not isinstance(source, video.Clip):
        frames = Frames(stream, (*joined.shape, 3))
        source = stream.clip(frames, reading)
    result = to_result(state, source, joined, tracks, numbers)
    result.warnings[:0] = getattr(engines, "warnings", ())
    return result


def segment_windows(
    clip: AnyClip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Generator[WindowResult, None, None]:
    """As `segment_clip`, but each window's answer is given as soon as it is there; no more than one
    is held, however long the clip is. `contextlib.closing` ends it early.
    """
    numbers = _numbers(settings, engines)
    stream = _open(_fitted(clip, numbers), numbers)
    return _run(stream, stream.open(), engines, numbers, progress or silent)


def segment_to(
    target: OutputFolder,
    clip: AnyClip,
    engines: Engines,
    settings: Settings | None = None,
    progress: Progress | None = None,
    info: Mapping[str, Any] | None = None,
) -> Result:
    """Segment a clip into a reserved folder (`samotion.results.folder.reserve`), in the memory of
    one window.

    `info` joins run.json; with its `request` a run that was killed is gone on with. The answer's
    labels are no longer there to be read where the clip has several windows.
    """
    report, info = progress or silent, info or {}
    numbers = _numbers(settings, engines)
    stream = None
    there: Collection[str] = ()
    with suppress(InputError):  # which segment_clip raises again
        clip = _fitted(clip, numbers)
        stream = _open(clip, numbers)
        check_frame_names(target, stream.frame_names)
    if stream is None or stream.count <= numbers.window_frames:
        result = segment_clip(clip, engines, settings, report)
    else:

        def go_on(reading: Reading, state: State) -> Iterator[WindowResult]:
            return _run(stream, reading, engines, numbers, report, state)

        prompting = engines.preset.prompting
        result = folder.write_windows(target, stream, go_on, numbers, prompting, info)
        result.warnings[:0] = getattr(engines, "warnings", ())
        there = folder.WRITTEN
    writes = partial(report, "output", 0, 1)
    writes()
    folder.finish(target, result, info, there, writes)
    report("output", 1, 1)
    return result


def _segment_whole(
    source: video.Clip,
    cache: FrameCache | None,
    engines: Engines,
    numbers: Numbers,
    stages: Stages,
) -> Result:
    """A clip of one window."""
    found = find(engines, np.asarray(source.frames), numbers, stages, cache=cache)
    warnings = [*getattr(engines, "warnings", ()), *source.warnings]
    if not found.objects:
        warnings.append(nothing_moves(found.confidence))
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


def _run(
    stream: Stream,
    reading: Reading,
    engines: Engines,
    numbers: Numbers,
    progress: Progress,
    state: State | None = None,
) -> Generator[WindowResult, None, None]:
    """The windows of a stream, from where `state` says. Raises InputError where no frame comes."""
    with one_thread_for_numpy():
        yield from run(find, engines, reading, stream.count, numbers, state, progress)
    if not reading.scaled.numbers:
        reading.end(reading.scaled)


def find(
    engines: Engines,
    frames: np.ndarray,
    numbers: Numbers,
    stages: Stages,
    carried: Carried = NOTHING,
    cache: FrameCache | None = None,
) -> Found:
    """What moves in `frames`, by the method of the engines' preset. `cache`: what the published
    method's tracker has of them already.
    """
    if engines.preset.cues is None:
        return find_objects(engines, frames, numbers, stages, carried, cache)
    from samotion.cues.method import find_objects as find_by_cues

    return find_by_cues(engines, frames, numbers, stages, carried)


def refine_of(engines: Engines) -> Refine | None:
    """What improves the masks of the preset's SAM 2, given a frame and logits; None: nothing."""
    if engines.preset.cues is None:
        return None
    from samotion.cues.guided_filter import refine_mask

    return refine_mask


def find_objects(
    engines: Engines,
    frames: np.ndarray,
    numbers: Numbers,
    stages: Stages,
    carried: Carried = NOTHING,
    cache: FrameCache | None = None,
) -> Found:
    """The published method, stage by stage: what moves in `frames` (T,H,W,3) uint8, and its
    masks. `carried`: what goes on from the frames before; `cache`: what the tracker has of these.
    """
    hw = frames.shape[1], frames.shape[2]
    with stages("tracks") as step:
        tracks = carried.tracks
        if tracks is None:
            tracks = sample_and_track(
                engines,
                frames,
                step_frames=numbers.step,
                max_tracks=numbers.max_tracks,
                seed=numbers.seed,
                refine_px=numbers.refine_px,
                known=carried.queries,
                small=cache,
                progress=step,
            )
    depths = Thumbnails(len(frames))
    disparity, features = motion.inputs_under(
        engines, frames, tracks, stages, depths.add, depths.frames
    )
    with stages("motion"):
        scores = motion.score_tracks(engines, hw, tracks, disparity, features)
    images = sam2.Features(engines, frames)
    with stages("prompts") as step:
        segment = partial(sam2.segment, engines, images)
        prompting = replace(engines.preset.prompting, every_frames=numbers.prompt_every)
        objects = prompts.published(
            tracks,
            scores,
            segment,
            hw,
            prompting,
            numbers.max_objects,
            step,
            regroup=partial(carried.regroup, tracks),
        )
        objects, confidence = prompts.select_sure(objects, numbers.min_confidence)
        objects = carried.prompt(objects)
    with stages("masks") as step:
        clicks = [click for one in objects for click in one.clicks]
        followed = sam2.propagate(engines, frames, clicks, features=images, progress=step)
        merged = masks.merge(followed)
        labels = masks.to_labels(merged, (len(frames), *hw))
    by_id = {one.object_id: one for one in objects}
    found = [by_id[object_id] for object_id in merged]
    threshold = prompts.motion_threshold(scores, len(frames), prompting)
    evidence = Evidence(threshold, without_masks(found), depths.by_frame)
    return Found(tracks, scores, found, labels, evidence, confidence)


def _numbers(settings: Settings | None, engines: Engines) -> Numbers:
    """The numbers of a run. Raises UsageError for engines and settings that are none."""
    return resolve(Settings() if settings is None else settings, preset_of(engines))


def _fitted(clip: AnyClip, numbers: Numbers) -> AnyClip:
    """A clip that has been read, as large and long as the numbers allow; any other as it is."""
    if not isinstance(clip, video.Clip):
        return clip
    part = Part(numbers.start_s, numbers.end_s)
    return fitted(clip, numbers.max_frames, numbers.long_side_px, part)


def _open(clip: AnyClip, numbers: Numbers) -> Stream:
    if isinstance(clip, video.Clip):
        return stream_of(clip)
    return video.open_clip(
        clip,
        max_frames=numbers.max_frames,
        long_side_px=numbers.long_side_px,
        start_s=numbers.start_s,
        end_s=numbers.end_s,
    )


def _read(
    clip: Any, stream: Stream, engines: Engines, step: StageProgress
) -> tuple[video.Clip, FrameCache | None]:
    """The clip; for a GPU with what the published method's tracker has of its frames, computed
    while they are read.
    """
    if isinstance(clip, video.Clip):
        is_held = isinstance(clip.frames, np.ndarray)
        return clip if is_held else replace(clip, frames=np.asarray(clip.frames)), None
    is_one_window = stream.count <= WINDOW_FRAMES
    if engines.preset.cues or not resident.is_on_gpu(engines) or not is_one_window:
        return stream.read(step), None
    reading = stream.open()
    collected = stream.collect(reading)
    parts = collected.parts(FEATURE_FRAMES)
    grids = features_while_read(engines, parts, stream.count, step)
    source = stream.clip(collected.frames, reading)
    return source, FrameCache(ResizedFrames(collected.frames), grids)
