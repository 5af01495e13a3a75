"""nano's prompts for SAM 2: objects by average linkage, and on every frame points with a coarse
mask drawn from the tracks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from samotion.checks.stages import StageProgress
from samotion.cues import grouping, mask_prompts, movers
from samotion.cues.motion_map import MotionMaps
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, busiest_frame, select_moving, spread
from samotion.sam2.clicks import Click
from samotion.tracks.records import Tracks


def group_objects(
    tracks: Tracks,
    scores: np.ndarray,
    candidate: np.ndarray,
    maps: MotionMaps,
    hw: tuple[int, int],
    prompting: Prompting,
) -> list[ObjectPrompt]:
    """What may move by the tracks' motion scores (N,), as objects without prompts, largest first;
    `candidate` (N,) bool are the tracks that may belong to one. An object's confidence is that of
    movers.py.
    """
    moving = select_moving(scores, tracks.xy.shape[1], prompting)
    groups = grouping.partition(tracks, moving, np.flatnonzero(candidate), hw, maps, prompting)
    confidences = movers.confidences(groups, tracks, scores, hw)
    return [
        ObjectPrompt(number, busiest_frame(tracks.visible[members]), members, confidence=confidence)
        for number, (members, confidence) in enumerate(zip(groups, confidences), start=1)
    ]


def prompt_objects(
    objects: list[ObjectPrompt],
    visible: list[dict[int, np.ndarray]],
    tracks: Tracks,
    candidate: np.ndarray,
    frames: np.ndarray,
    maps: MotionMaps,
    side: int,
    progress: StageProgress | None = None,
) -> list[ObjectPrompt]:
    """Objects with prompts on the frames of their `visible_members`, those without such frames left
    out; the rest as of `mask_prompts.draw`.
    """
    members = [one.members for one in objects]
    masks = mask_prompts.draw(tracks, members, visible, candidate, frames, maps, side, progress)
    prompted = [
        prompt(one, tracks, by_frame, masks_by_frame)
        for one, by_frame, masks_by_frame in zip(objects, visible, masks)
    ]
    return [one for one in prompted if one.clicks]


def prompt(
    unprompted: ObjectPrompt,
    tracks: Tracks,
    visible: dict[int, np.ndarray],
    masks: dict[int, np.ndarray],
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
