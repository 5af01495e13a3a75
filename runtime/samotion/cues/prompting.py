"""nano's prompts for SAM 2: objects by multicut, and on every frame points with a coarse mask
drawn from the tracks.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from samotion.checks.stages import StageProgress
from samotion.cues import mask_prompts, movers, multicut
from samotion.cues.motion_map import MotionMaps
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, select_moving, spread, surely_visible, visible_members
from samotion.sam2.clicks import Click
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
BUSY_SHARE = 0.2  # of a clip's frames


def group_objects(
    tracks: Tracks,
    scores: Array,
    maps: MotionMaps,
    hw: tuple[int, int],
    prompting: Prompting,
    grow_threshold: float,
) -> tuple[list[ObjectPrompt], Array]:
    """What may move by the tracks' motion scores (N,), as objects without prompts, largest first;
    and which tracks (N,) bool are candidates. An object's confidence is that of movers.py.
    """
    moving = select_moving(scores, tracks.xy.shape[1], prompting)
    candidate = candidates(scores, moving, grow_threshold)
    groups = multicut.partition(tracks, moving, candidate, hw, maps, prompting)
    confidences = movers.confidences(groups, tracks, scores, hw)
    visible = surely_visible(tracks, prompting.min_confidence).visible
    objects = [
        ObjectPrompt(number, busiest_frame(visible[members]), members, confidence=confidence)
        for number, (members, confidence) in enumerate(zip(groups, confidences), start=1)
    ]
    return objects, candidate


def busiest_frame(visible: Array) -> int:
    """Of the 20 % of frames with most visible points (N,T), the middle one in time; at least one
    must be visible.

    Among equals earlier frames come first. The published method rounds and sorts otherwise; see
    prompts.py.
    """
    counts = visible.sum(axis=0)
    busy_count = math.ceil(BUSY_SHARE * len(counts))
    busiest = np.argsort(-counts, kind="stable")[:busy_count]
    in_time = np.sort(busiest[counts[busiest] > 0])
    return int(in_time[len(in_time) // 2])


def prompt_objects(
    objects: list[ObjectPrompt],
    tracks: Tracks,
    candidate: Array,
    frame_cues: mask_prompts.FrameCues,
    prompting: Prompting,
    progress: StageProgress | None = None,
    only_last: bool = False,
) -> list[ObjectPrompt]:
    """Objects with their prompts, or those with one on the last frame; `candidate` (N,) bool are
    the tracks that may belong to one.
    """
    members = [one.members for one in objects]
    visible = [visible_members(one, tracks, prompting, only_last) for one in objects]
    masks = mask_prompts.draw(tracks, members, visible, candidate, frame_cues, progress)
    prompted = [
        prompt(one, tracks, by_frame, masks_by_frame)
        for one, by_frame, masks_by_frame in zip(objects, visible, masks)
    ]
    return [one for one in prompted if one.clicks]


def candidates(scores: Array, moving: Array, grow_threshold: float) -> Array:
    """Which tracks (N,) bool may belong to an object: the moving ones, and all that score above
    `grow_threshold`.
    """
    candidate = scores > grow_threshold
    candidate[moving] = True
    return candidate


def prompt(
    unprompted: ObjectPrompt, tracks: Tracks, visible: dict[int, Array], masks: dict[int, Array]
) -> ObjectPrompt:
    """Prompts for one object on the frames of its `visible_members`, with the coarse `masks` (M,M)
    of these frames.
    """
    clicks = []
    for frame, members in visible.items():
        xy = tracks.xy[members, frame]
        points = xy[np.unique(spread(xy))]
        labels = np.ones(len(points), np.int32)
        clicks.append(Click(unprompted.object_id, frame, points, labels, masks[frame]))
    return replace(unprompted, clicks=tuple(clicks))
