"""nano's prompts for SAM 2: objects by multicut, and on every frame points with a coarse mask
drawn from the tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from samotion.cues import multicut, outlines
from samotion.cues.edge_features import Guides
from samotion.cues.motion_map import MotionMaps
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, seen_on, select_moving, spread
from samotion.sam2.features import Features
from samotion.sam2.propagation import Click
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

NEGATIVE_CLICKS = 3


def prompt_objects(
    tracks: Tracks,
    scores: Array,
    maps: MotionMaps | None,
    images: Features,
    prompting: Prompting,
    grow_threshold: float,
    max_objects: int,
    progress: Progress | None = None,
) -> list[ObjectPrompt]:
    """What moves by the tracks' motion scores (N,), as objects with their prompts, largest
    first.
    """
    moving = select_moving(scores, tracks.xy.shape[1], prompting)
    likely = candidates(scores, moving, grow_threshold)
    objects = multicut.find(tracks, scores, moving, likely, images.hw, maps, prompting, max_objects)
    unsure = likely.copy()
    for found in objects:
        unsure[found.members] = False
    shown = [seen_on(found, tracks, prompting) for found in objects]
    members = [found.members for found in objects]
    guides = Guides(images.frames)
    drawn = outlines.coarse_masks(
        tracks, members, shown, unsure, guides, maps, images.mask_side, progress
    )
    done = [
        prompt(found, tracks, unsure, here, masks)
        for found, here, masks in zip(objects, shown, drawn)
    ]
    return [found for found in done if found.clicks]


def candidates(scores: Array, moving: Array, grow_threshold: float) -> Array:
    """Which tracks (N,) bool may belong to an object that a moving one has found: the moving
    ones, and likely ones.
    """
    likely = scores > grow_threshold
    likely[moving] = True
    return likely


def prompt(
    found: ObjectPrompt,
    tracks: Tracks,
    unsure: Array,
    shown: dict[int, Array],
    masks: dict[int, Array],
) -> ObjectPrompt:
    """Prompts for one object on the frames where `seen_on` shows it, with the coarse `masks` (M,M)
    of these frames.

    `unsure` (N,) bool are tracks that are no evidence: likely to move, but no object's own.
    """
    clicks = []
    for frame, here in shown.items():
        xy = tracks.xy[here, frame]
        points = xy[np.unique(spread(xy))]
        click = Click(found.object_id, frame, points, np.ones(len(points), np.int32))
        click = with_negatives(click, tracks, found.members, unsure)
        clicks.append(replace(click, mask=masks[frame]))
    return replace(found, clicks=tuple(clicks))


def with_negatives(click: Click, tracks: Tracks, members: Array, unsure: Array) -> Click:
    """Adds clicks on tracks nearby that do not belong to the object.

    `members` (M,) are the object's tracks; `unsure` (N,) bool are tracks that may or may not belong
    to it.
    """
    is_member = np.zeros(len(tracks.xy), bool)
    is_member[members] = True
    visible = tracks.visible[:, click.frame]
    negatives = tracks.xy[visible & ~is_member & ~unsure, click.frame]
    own = np.concatenate([click.points_xy, tracks.xy[visible & is_member, click.frame]])
    nearest = np.argsort(_distances(negatives, own).min(axis=1), kind="stable")[:NEGATIVE_CLICKS]
    points = np.concatenate([click.points_xy, negatives[nearest]])
    return replace(
        click,
        points_xy=points,
        labels=np.concatenate([click.labels, np.zeros(len(nearest), np.int32)]),
    )


def _distances(a: Array, b: Array) -> Array:
    """All distances (A,B) between points (A,2) and (B,2), in the points' unit."""
    distances: Array = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))
    return distances
