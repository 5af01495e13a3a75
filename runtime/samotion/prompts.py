"""From motion scores to SAM 2 prompts, in the two stages of the published method;
docs/method.md, stages 8 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from samotion import geometry
from samotion.checks.stages import StageProgress
from samotion.errors import UsageError
from samotion.presets import Prompting
from samotion.sam2.clicks import Click
from samotion.tracks.records import Tracks

Segment = Callable[[Click], np.ndarray]  # one prompt on its own frame -> mask (H,W) bool
Regroup = Callable[[list["ObjectPrompt"]], list["ObjectPrompt"]]

LONG_CLIP_FRAMES = 300
MAX_OBJECTS = 10  # as many as there are rounds at most
BUSY_FRAMES = 0.2
WELL_COVERED = 0.7
DISTANCE_ROWS = 32  # of points, whose distances to all are held at once


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """One object to segment: the frame it was found on, the tracks (M,) that are its own, its
    prompts, how probable it is that it moves by itself, and whether it goes on from frames before
    with none of these tracks found to move.

    Two clicks on the same frame are two calls of SAM 2: the second is decoded with the first one's
    mask as a prompt.
    """

    object_id: int
    key_frame: int
    members: np.ndarray
    clicks: tuple[Click, ...] = ()
    confidence: float = 1.0
    stands: bool = False


def published(
    tracks: Tracks,
    scores: np.ndarray,
    segment: Segment,
    hw: tuple[int, int],
    prompting: Prompting,
    max_objects: int = MAX_OBJECTS,
    progress: StageProgress | None = None,
    regroup: Regroup | None = None,
) -> list[ObjectPrompt]:
    """The objects that move by their tracks' scores (N,), in order of discovery, with their
    prompts.

    `segment` answers a click with a mask (H,W) bool of the frames' size `hw`. `regroup` may change
    the objects before they are prompted. Raises UsageError for other masks.
    """

    def checked(click: Click) -> np.ndarray:
        mask = segment(click)
        if mask.shape != hw:
            raise UsageError(f"a click was answered with a mask of {mask.shape}; expected {hw}")
        return mask

    moving = select_moving(scores, tracks.xy.shape[1], prompting)
    objects = group(tracks, moving, checked, hw, prompting, max_objects)
    objects = objects if regroup is None else regroup(objects)
    prompted = []
    for done, unprompted in enumerate(objects):
        if progress:
            progress(done, len(objects))
        confidence = float(scores[unprompted.members].mean())
        scored = replace(unprompted, confidence=confidence)
        prompted.append(prompt(scored, tracks, checked, prompting))
    return prompted


def select_sure(
    objects: list[ObjectPrompt], min_confidence: float
) -> tuple[list[ObjectPrompt], float]:
    """Those objects that move at least so probably; and the probability that anything moves, which
    is that of the surest.
    """
    sure = [one for one in objects if one.confidence >= min_confidence]
    return sure, max((one.confidence for one in objects), default=0.0)


def select_moving(scores: np.ndarray, frame_count: int, prompting: Prompting) -> np.ndarray:
    """Indices (M,) of moving tracks: the first threshold that leaves enough of the scores (N,),
    else the few best.
    """
    threshold = motion_threshold(scores, frame_count, prompting)
    if threshold is not None:
        return np.flatnonzero(scores > threshold)
    return np.sort(np.argsort(-scores, kind="stable")[: prompting.fallback_tracks])


def motion_threshold(scores: np.ndarray, frame_count: int, prompting: Prompting) -> float | None:
    """The first threshold that leaves enough of the scores (N,); None where none does."""
    thresholds = (
        prompting.long_clip_thresholds if frame_count > LONG_CLIP_FRAMES else prompting.thresholds
    )
    for threshold in thresholds:
        if np.count_nonzero(scores > threshold) >= prompting.min_moving_tracks:
            return threshold
    return None


def surely_visible(tracks: Tracks, min_confidence: float) -> Tracks:
    """Moving tracks count as visible only where the tracker is confident."""
    return replace(tracks, visible=tracks.visible & (tracks.confidence > min_confidence))


def group(
    tracks: Tracks,
    moving: np.ndarray,
    segment: Segment,
    hw: tuple[int, int],
    prompting: Prompting,
    max_objects: int,
) -> list[ObjectPrompt]:
    """Stage 1: split the moving tracks (M,) into objects, one click and one mask a round.

    The first round always runs; there is no other while fewer tracks are free than an object needs.
    """
    objects: list[ObjectPrompt] = []
    sure = surely_visible(tracks, prompting.min_confidence).visible
    free = np.zeros(len(tracks.xy), bool)
    free[moving] = True
    needed = prompting.min_object_tracks if len(moving) >= prompting.min_object_tracks else 1
    for _ in range(round_count(tracks.xy.shape[1])):
        visible = sure & free[:, None]
        if not visible.any():
            break
        frame = busiest_frame(visible)
        near, own = _under_one_click(tracks, frame, np.flatnonzero(visible[:, frame]), segment)
        free[near] = False
        if len(near) >= needed and len(own):
            objects.append(ObjectPrompt(len(objects) + 1, frame, own))
        if free.sum() < prompting.min_object_tracks or len(objects) == max_objects:
            break
    return objects


def round_count(frame_count: int) -> int:
    """How often another object is looked for in a clip."""
    return min(max(math.ceil(frame_count / 16), 5), 10)


def _under_one_click(
    tracks: Tracks, frame: int, here: np.ndarray, segment: Segment
) -> tuple[np.ndarray, np.ndarray]:
    """Click the densest of the tracks `here` (P,) on a frame: those in the grown mask, and those in
    the mask itself.

    A click that catches none gives up its own track: tried again it would catch none again.
    """
    xy = tracks.xy[here, frame]
    clicked = densest(xy)
    mask = segment(_click(0, frame, xy[[clicked]]))
    near = here[inside(dilate(mask), xy)]
    return (near if len(near) else here[[clicked]]), here[inside(mask, xy)]


def busiest_frame(visible: np.ndarray) -> int:
    """Of the 20 % of frames with most visible points (N,T) the middle one in time; at least one
    must be visible.

    Among equals later frames come first. Where the middle one shows nothing it is the fullest.
    """
    counts = visible.sum(axis=0)
    k = int(BUSY_FRAMES * len(counts)) or len(counts)
    busiest = np.sort(np.argsort(counts, kind="stable")[-k:])
    middle = busiest[k // 2]
    return int(middle if counts[middle] else counts.argmax())


def prompt(
    unprompted: ObjectPrompt, tracks: Tracks, segment: Segment, prompting: Prompting
) -> ObjectPrompt:
    """Stage 2: prompts for one object on the frames of its `visible_members`."""
    clicks: list[Click] = []
    for frame, members in visible_members(unprompted, tracks, prompting).items():
        xy = tracks.xy[members, frame]
        clicks += clicks_on(unprompted.object_id, frame, xy, segment)
    return replace(unprompted, clicks=tuple(clicks))


def visible_members(
    unprompted: ObjectPrompt, tracks: Tracks, prompting: Prompting, only_last: bool = False
) -> dict[int, np.ndarray]:
    """An object's members that are surely visible, by frame: on its key frame and on every
    `every_frames`-th, where there are some; or in the last frame alone.
    """
    visible = surely_visible(tracks, prompting.min_confidence).visible
    members = unprompted.members
    count = tracks.xy.shape[1]
    every = range(0, count, prompting.every_frames)
    frames = [count - 1] if only_last else sorted({unprompted.key_frame, *every})
    by_frame = {frame: members[visible[members, frame]] for frame in frames}
    return {frame: visible for frame, visible in by_frame.items() if len(visible)}


def clicks_on(object_id: int, frame: int, xy: np.ndarray, segment: Segment) -> list[Click]:
    """One click on an object's points xy (P,2), and three more that correct it where it covers
    too few of them.
    """
    one = _click(object_id, frame, xy[[densest(xy)]])
    if inside(segment(one), xy).mean() >= WELL_COVERED:
        return [one]
    return [one, _click(object_id, frame, xy[spread(xy)])]


def _click(object_id: int, frame: int, xy: np.ndarray) -> Click:
    return Click(object_id, frame, xy, np.ones(len(xy), np.int32))


def densest(points: np.ndarray) -> int:
    """The point of (P,2) with the smallest sum of distances to the others."""
    x, y = points.T.astype(np.float64)
    sums = []
    for start in range(0, len(x), DISTANCE_ROWS):
        rows = slice(start, start + DISTANCE_ROWS)
        across, down = x[rows, None] - x, y[rows, None] - y
        sums.append(np.sqrt(across * across + down * down).sum(axis=1))
    return int(np.argmin(np.concatenate(sums)))


def spread(points: np.ndarray) -> np.ndarray:
    """Indices (3,) into points (P,2): the one nearest the centroid and the two farthest from it.

    Of two points one comes twice. A lone point comes twice as well, (2,): SAM 2 answers two points
    with one mask.
    """
    exact = points.astype(np.float64)
    order = np.argsort(np.linalg.norm(exact - exact.mean(axis=0), axis=1), kind="stable")
    return np.concatenate([order[:1], order[-2:]])


def inside(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (P,2), x and y px, lie in mask (H,W), by `geometry.pixel_under`."""
    height, width = mask.shape
    x, y = geometry.pixel_under(points, (height, width)).T
    is_inside: np.ndarray = mask[y, x]
    return is_inside


def dilate(mask: np.ndarray) -> np.ndarray:
    """The margin around a mask (H,W) in which its tracks are taken: a 6 x 6 kernel, three times."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((6, 6), np.uint8), iterations=3).astype(bool)
