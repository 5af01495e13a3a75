"""From motion scores to SAM 2 prompts in two stages (reference.md, stages 8 to 10)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from samotion.presets import Prompting
from samotion.sam2.propagation import Click
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
Segment = Callable[[Click], Array]  # one prompt on its own frame -> mask (H,W) bool

LONG_CLIP_FRAMES = 300
BUSY_FRAMES = 0.2
WELL_COVERED = 0.7
NEGATIVE_CLICKS = 3


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


def with_negatives(click: Click, tracks: Tracks, members: Array, unsure: Array) -> Click:
    """Adds clicks on tracks nearby that do not belong to the object.

    `members` (M,) are the object's tracks; `unsure` (N,) bool are tracks that may or may not belong to it.
    """
    is_member = np.zeros(len(tracks.xy), bool)
    is_member[members] = True
    visible = tracks.visible[:, click.frame]
    negatives = tracks.xy[visible & ~is_member & ~unsure, click.frame]
    own = np.concatenate([click.points_xy, tracks.xy[visible & is_member, click.frame]])
    nearest = np.argsort(_distances(negatives, own).min(axis=1), kind="stable")[:NEGATIVE_CLICKS]
    points = np.concatenate([click.points_xy, negatives[nearest]])
    return replace(click, points_xy=points, labels=np.concatenate([click.labels, np.zeros(len(nearest), np.int32)]))


def seen_on(found: ObjectPrompt, tracks: Tracks, prompting: Prompting, every: int) -> dict[int, Array]:
    """An object's tracks on its own frame and on every `every`-th frame, where some are surely visible."""
    sure = surely_visible(tracks, prompting.min_confidence)
    frames = sorted({found.key_frame, *range(0, tracks.xy.shape[1], every)})
    shown = {frame: found.members[sure.visible[found.members, frame]] for frame in frames}
    return {frame: here for frame, here in shown.items() if len(here)}


def prompt(
    found: ObjectPrompt,
    tracks: Tracks,
    unsure: Array,
    segment: Segment,
    prompting: Prompting,
    shown: Mapping[int, Array],
    masks: Mapping[int, Array],
) -> ObjectPrompt:
    """Stage 2: prompts for one object on the frames where `seen_on` shows it.

    `unsure` (N,) bool are tracks that are no evidence: likely to move, but no object's own. `masks`: the coarse ones
    (M,M) of style "clicks+mask" by frame.
    """
    clicks = []
    for frame, here in shown.items():
        click = _click_on(found, tracks.xy[here, frame], frame, segment, prompting)
        if prompting.style == "clicks+mask":
            click = replace(with_negatives(click, tracks, found.members, unsure), mask=masks[frame])
        clicks.append(click)
    return replace(found, clicks=tuple(clicks))


def _click_on(found: ObjectPrompt, xy: Array, frame: int, segment: Segment, prompting: Prompting) -> Click:
    """One click, or three where one does not do, on tracks xy (P,2) of an object."""
    three = xy[spread(xy)]
    spread_out = Click(found.object_id, frame, three, np.ones(len(three), np.int32))
    if prompting.style == "clicks+mask":
        return spread_out
    one = replace(spread_out, points_xy=xy[densest(xy)][None], labels=np.ones(1, np.int32))
    return one if inside(segment(one), xy).mean() >= WELL_COVERED else spread_out


def _distances(a: Array, b: Array) -> Array:
    """All distances (A,B) between points (A,2) and (B,2), in the points' unit."""
    distances: Array = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))
    return distances
