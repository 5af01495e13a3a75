"""nano's prompts for SAM 2: objects by multicut, and on every frame points with a coarse mask
drawn from the tracks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from samotion.checks.stages import StageProgress
from samotion.cues import mask_prompts, multicut
from samotion.cues.motion_map import MotionMaps
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, select_moving, spread, visible_members
from samotion.sam2.clicks import Click
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]

NEGATIVE_CLICKS = 3


def group_objects(
    tracks: Tracks,
    scores: Array,
    maps: MotionMaps | None,
    hw: tuple[int, int],
    prompting: Prompting,
    grow_threshold: float,
) -> tuple[list[ObjectPrompt], Array]:
    """What may move by the tracks' motion scores (N,), as objects without prompts, largest first;
    and which tracks (N,) bool are candidates.
    """
    moving = select_moving(scores, tracks.xy.shape[1], prompting)
    candidate = candidates(scores, moving, grow_threshold)
    objects = multicut.group(tracks, scores, moving, candidate, hw, maps, prompting)
    return objects, candidate


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
    unsure = candidate.copy()
    for own in members:
        unsure[own] = False
    visible = [visible_members(one, tracks, prompting, only_last) for one in objects]
    masks = mask_prompts.draw(tracks, members, visible, unsure, frame_cues, progress)
    prompted = [
        prompt(one, tracks, unsure, by_frame, masks_by_frame)
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
    unprompted: ObjectPrompt,
    tracks: Tracks,
    unsure: Array,
    visible: dict[int, Array],
    masks: dict[int, Array],
) -> ObjectPrompt:
    """Prompts for one object on the frames of its `visible_members`, with the coarse `masks` (M,M)
    of these frames.

    `unsure` (N,) bool are tracks that are no evidence: candidates, but no object's members.
    """
    clicks = []
    for frame, members in visible.items():
        xy = tracks.xy[members, frame]
        points = xy[np.unique(spread(xy))]
        labels = np.ones(len(points), np.int32)
        click = Click(unprompted.object_id, frame, points, labels)
        click = with_negatives(click, tracks, unprompted.members, unsure)
        clicks.append(replace(click, mask=masks[frame]))
    return replace(unprompted, clicks=tuple(clicks))


def with_negatives(click: Click, tracks: Tracks, members: Array, unsure: Array) -> Click:
    """Adds clicks on tracks nearby that do not belong to the object.

    `members` (M,) are the object's tracks; `unsure` (N,) bool are tracks that may or may not belong
    to it.
    """
    is_member = np.zeros(len(tracks.xy), bool)
    is_member[members] = True
    visible = tracks.visible[:, click.frame]
    xy = tracks.xy[:, click.frame]
    others = xy[visible & ~is_member & ~unsure]
    own = np.concatenate([click.points_xy, xy[visible & is_member]])
    distances = np.linalg.norm(others[:, None] - own[None], axis=-1).min(axis=1)
    nearest = np.argsort(distances, kind="stable")[:NEGATIVE_CLICKS]
    points = np.concatenate([click.points_xy, others[nearest]])
    labels = np.concatenate([click.labels, np.zeros(len(nearest), np.int32)])
    return replace(click, points_xy=points, labels=labels)
