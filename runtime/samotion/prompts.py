"""From motion scores to SAM 2 prompts in two stages (reference.md, stages 8 to 10)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from samotion import looks
from samotion.coarse import LOGIT_MAX, coarse_mask
from samotion.guide import Guides
from samotion.presets import Prompting
from samotion.sam2 import Click
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
Segment = Callable[[Click], Array]  # one prompt on its own frame -> mask (H,W) bool

LONG_CLIP_FRAMES = 300
BUSY_FRAMES = 0.2
WELL_COVERED = 0.7
NEGATIVE_CLICKS = 3
LOOK_LOGITS = 7.0  # what a look is worth in a coarse mask: 4 to 12 are within 0.03 of J


@dataclass(frozen=True)
class ObjectPrompt:
    """One object to segment: the frame it was found on, the tracks (M,) that are its own, its prompts."""

    object_id: int
    key_frame: int
    members: Array
    clicks: tuple[Click, ...] = ()


def select_moving(scores: Array, frame_count: int, prompting: Prompting) -> Array:
    """Indices (M,) of moving tracks: the first threshold that leaves enough of the scores (N,), else the few best."""
    thresholds = prompting.long_clip_thresholds if frame_count > LONG_CLIP_FRAMES else prompting.thresholds
    for threshold in thresholds:
        moving = np.flatnonzero(scores > threshold)
        if len(moving) >= prompting.min_moving_tracks:
            return moving
    return np.sort(np.argsort(-scores, kind="stable")[: prompting.fallback_tracks])


def surely_visible(tracks: Tracks, min_confidence: float) -> Tracks:
    """Moving tracks count as visible only where the tracker is confident."""
    return replace(tracks, visible=tracks.visible & (tracks.confidence > min_confidence))


def busiest_frame(visible: Array) -> int:
    """Of the 20 % of frames with most visible points (N,T), the middle one in time; at least one must be visible."""
    counts = visible.sum(axis=0)
    busy = np.argsort(-counts, kind="stable")[: math.ceil(BUSY_FRAMES * len(counts))]
    busy = np.sort(busy[counts[busy] > 0])
    return int(busy[len(busy) // 2])


def densest(points: Array) -> int:
    """The point of (P,2) with the smallest sum of distances to the others."""
    return int(np.argmin(_distances(points, points).sum(axis=1)))


def spread(points: Array) -> Array:
    """Three indices into points (P,2): the one nearest the centroid and the two farthest from it."""
    order = np.argsort(np.linalg.norm(points - points.mean(axis=0), axis=1), kind="stable")
    return np.unique(order[[0, -2, -1]]) if len(order) > 1 else order


def inside(mask: Array, points: Array) -> Array:
    """Which points (P,2), x and y px, lie in mask (H,W)."""
    height, width = mask.shape
    x, y = np.floor(points).astype(int).T
    within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found: Array = within & mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return found


def dilate(mask: Array) -> Array:
    """The reference's margin around a mask (H,W): a 6 x 6 kernel, three times."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((6, 6), np.uint8), iterations=3).astype(bool)


def candidates(scores: Array, moving: Array, prompting: Prompting) -> Array:
    """Which tracks (N,) bool may belong to an object that a moving one has found: the moving ones, and likely ones."""
    likely = scores > prompting.grow_threshold
    likely[moving] = True
    return likely


def group(
    tracks: Tracks, moving: Array, segment: Segment, hw: tuple[int, int], prompting: Prompting, max_objects: int
) -> list[ObjectPrompt]:
    """Stage 1 of the reference: split the moving tracks (M,) into objects, one click and one mask at a time."""
    objects: list[ObjectPrompt] = []
    free = np.zeros(len(tracks.xy), bool)
    free[moving] = True
    sure = surely_visible(tracks, prompting.min_confidence).visible
    rounds = min(max(math.ceil(tracks.xy.shape[1] / 16), 5), 10)
    needed = prompting.min_object_tracks if len(moving) >= prompting.min_object_tracks else 1
    for _ in range(rounds):
        visible = sure & free[:, None]
        if free.sum() < needed or len(objects) == max_objects or not visible.any():
            break
        frame = busiest_frame(visible)
        here = np.flatnonzero(visible[:, frame])
        xy = tracks.xy[here, frame]
        seed = densest(xy)
        mask = segment(Click(0, frame, xy[seed][None], np.ones(1, np.int32)))
        near = inside(dilate(mask), xy)
        free[here[near]] = False
        free[here[seed]] = False  # a click that finds nothing would find nothing again
        if near.sum() >= needed:
            objects.append(ObjectPrompt(len(objects) + 1, frame, here[inside(mask, xy)]))
    return [found for found in objects if len(found.members)]


def with_context(
    click: Click,
    tracks: Tracks,
    members: Array,
    unsure: Array,
    hw: tuple[int, int],
    guides: Guides | None = None,
    look: looks.Look | None = None,
) -> Click:
    """Adds what the tracks know beyond a click: negative clicks nearby, and a coarse mask.

    `members` (M,) are the object's tracks; `unsure` (N,) bool are tracks that may or may not belong to it. `look`:
    what the object looks like, which counts in the mask beside where its tracks are.
    """
    is_member = np.zeros(len(tracks.xy), bool)
    is_member[members] = True
    known = np.flatnonzero(tracks.visible[:, click.frame] & (is_member | ~unsure))
    xy, positive = tracks.xy[known, click.frame], is_member[known]
    mask = coarse_mask(xy, positive, hw, None if guides is None else guides[click.frame])
    if guides is not None and look is not None:
        mask = with_look(mask, look(looks.points_of(guides.colours(click.frame))))
    negatives = xy[~positive]
    own = np.concatenate([click.points_xy, xy[positive]])
    to_object = _distances(negatives, own).min(axis=1)
    nearest = np.argsort(to_object, kind="stable")[:NEGATIVE_CLICKS]
    points = np.concatenate([click.points_xy, negatives[nearest]])
    labels = np.concatenate([click.labels, np.zeros(len(nearest), np.int32)])
    return replace(click, points_xy=points, labels=labels, mask=mask)


def with_look(mask: Array, alike: Array) -> Array:
    """A coarse mask (H,W) of logits and how far each cell (GH,GW) looks like the object, in [-1,1], as one."""
    added: Array = LOOK_LOGITS * cv2.resize(alike, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(mask + added, -LOGIT_MAX, LOGIT_MAX))


def prompt(
    found: ObjectPrompt,
    tracks: Tracks,
    unsure: Array,
    segment: Segment,
    hw: tuple[int, int],
    prompting: Prompting,
    every: int,
    guides: Guides | None = None,
) -> ObjectPrompt:
    """Stage 2: prompts for one object on its own frame and on every `every`-th frame it is seen on.

    `unsure` (N,) bool are tracks that are no evidence: likely to move, but no object's own.
    """
    sure = surely_visible(tracks, prompting.min_confidence)
    frames = sorted({found.key_frame, *range(0, tracks.xy.shape[1], every)})
    look = None if guides is None else looks.learn(guides, tracks, found.members, unsure, frames)
    clicks = []
    for frame in frames:
        here = found.members[sure.visible[found.members, frame]]
        if len(here):
            clicks.append(_click_on(found, tracks, unsure, here, frame, segment, hw, prompting, guides, look))
    return replace(found, clicks=tuple(clicks))


def _click_on(
    found: ObjectPrompt,
    tracks: Tracks,
    unsure: Array,
    here: Array,
    frame: int,
    segment: Segment,
    hw: tuple[int, int],
    prompting: Prompting,
    guides: Guides | None,
    look: looks.Look | None,
) -> Click:
    xy = tracks.xy[here, frame]
    three = xy[spread(xy)]
    if prompting.style == "clicks+mask":
        click = Click(found.object_id, frame, three, np.ones(len(three), np.int32))
        return with_context(click, tracks, found.members, unsure, hw, guides, look)
    one = Click(found.object_id, frame, xy[densest(xy)][None], np.ones(1, np.int32))
    if inside(segment(one), xy).mean() >= WELL_COVERED:
        return one
    return replace(one, points_xy=three, labels=np.ones(len(three), np.int32))


def _distances(a: Array, b: Array) -> Array:
    """All distances (A,B) between points (A,2) and (B,2), in the points' unit."""
    distances: Array = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))
    return distances
