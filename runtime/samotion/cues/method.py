"""nano's method, stage by stage: the published one with cues that a small net lacks;
docs/method.md, section 7.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from samotion import masks, motion, sam2
from samotion.backends.engines import Engines
from samotion.checks.stages import Stages
from samotion.cues import guided_filter, track_flow
from samotion.cues.densify import RESERVED_SHARE, densify
from samotion.cues.motion_map import MotionMaps, probability
from samotion.cues.prompting import group_objects, prompt_objects
from samotion.prompts import motion_threshold, select_sure, visible_members
from samotion.results.evidence import Evidence, Thumbnails, thumbnail, without_masks
from samotion.results.result import NOTHING, Carried, Found
from samotion.settings import Numbers
from samotion.tracks import Tracks, resize_for_tracking, sample_and_track


def find_objects(
    engines: Engines,
    frames: np.ndarray,
    numbers: Numbers,
    stages: Stages,
    carried: Carried = NOTHING,
) -> Found:
    """What moves in `frames` (T,H,W,3) uint8, and its masks. `carried`: what goes on from the
    frames before. The engines' preset has cues.
    """
    cues = engines.preset.cues
    assert cues is not None
    hw = frames.shape[1], frames.shape[2]
    tracks, scores, maps, depths = _scored(engines, frames, numbers, stages, carried)
    images = sam2.Features(engines, frames)
    with stages("prompts") as step:
        prompting = replace(engines.preset.prompting, every_frames=numbers.prompt_every)
        candidate = scores > cues.grow_threshold
        every = group_objects(tracks, scores, candidate, maps, hw, prompting)
        sure, confidence = select_sure(every, numbers.min_confidence)
        known = carried.regroup(tracks, sure[: numbers.max_objects])
        visible = [visible_members(one, tracks, prompting, carried.only_last) for one in known]
        objects = prompt_objects(
            known, visible, tracks, candidate, frames, maps, images.mask_side, step
        )
    with stages("masks") as step:
        followed = sam2.propagate(
            engines,
            frames,
            [click for one in carried.prompt(objects) for click in one.clicks],
            features=images,
            progress=step,
            reach_frames=0 if carried.only_last else cues.reach_frames,
            refine=guided_filter.refine_mask,
        )
        merged = masks.merge(followed)
        labels = masks.to_labels(merged, (len(frames), *hw), smallest_in_front=True)
    by_id = {one.object_id: one for one in objects}
    found = [by_id[object_id] for object_id in merged]
    threshold = motion_threshold(scores, len(frames), prompting)
    moving = {frame: thumbnail(probability(maps[frame])) for frame in depths.frames}
    evidence = Evidence(threshold, without_masks(found), depths.by_frame, moving)
    return Found(tracks, scores, found, labels, evidence, confidence)


def _scored(
    engines: Engines, frames: np.ndarray, numbers: Numbers, stages: Stages, carried: Carried
) -> tuple[Tracks, np.ndarray, MotionMaps, Thumbnails]:
    """Tracks with their motion scores, and what else the frames (T,H,W,3) show."""
    hw = frames.shape[1], frames.shape[2]
    reserved = numbers.max_tracks // RESERVED_SHARE
    with stages("tracks") as step:
        cache = track_flow.FlowCache(resize_for_tracking(frames))
        tracks = sample_and_track(
            engines,
            frames,
            step_frames=numbers.step,
            max_tracks=numbers.max_tracks - reserved,
            seed=numbers.seed,
            refine_px=numbers.refine_px,
            known=carried.queries,
            small=cache,
            track=track_flow.track,
            progress=step,
        )
    depths = Thumbnails(len(frames))
    disparity, features = motion.inputs_under(
        engines, frames, tracks, stages, depths.add, depths.frames
    )
    with stages("motion") as step:
        scores = motion.score_tracks(engines, hw, tracks, disparity, features)
        tracks, scores, maps = densify(
            engines, frames, tracks, scores, reserved, numbers.seed, step, cache
        )
    return tracks, scores, maps, depths
