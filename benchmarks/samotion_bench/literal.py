"""The published stages between the nets, word for word and slowly: what samotion's own code is
compared with.

From motion scores to labels, one track, frame and pixel at a time, as docs/method.md has it.
Nothing here is shared with `samotion.prompts` and `samotion.masks`. Objects and masks are plain
lists in order of discovery.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Point = tuple[float, float]
Answer = Callable[[int, list[Point]], np.ndarray]  # a frame, points on it -> mask (H,W) bool

THRESHOLDS = (0.95, 0.93, 0.90, 0.85, 0.80, 0.75, 0.70)
LONG_THRESHOLDS = (0.99, 0.98, 0.97, 0.96, 0.95)


@dataclass
class Found:
    """An object: the frame it was found on, its tracks, and the points of every call of SAM 2 by
    frame.
    """

    frame: int
    tracks: list[int]
    calls: dict[int, list[list[Point]]] = field(default_factory=dict)


@dataclass
class Tracked:
    """Tracks xy (N,T,2) px; visible and confidence (N,T)."""

    xy: np.ndarray
    visible: np.ndarray
    confidence: np.ndarray

    @property
    def frames(self) -> int:
        """How many."""
        return int(self.xy.shape[1])

    def seen(self, track: int, frame: int) -> bool:
        """Is the track surely visible in the frame?"""
        return bool(self.visible[track, frame] and self.confidence[track, frame] > 0.9)

    def at(self, track: int, frame: int) -> Point:
        """Where the track is in the frame, px."""
        return float(self.xy[track, frame, 0]), float(self.xy[track, frame, 1])


def moving_tracks(scores: Sequence[float], frames: int) -> list[int]:
    """The first threshold that leaves ten tracks, or the three best."""
    for threshold in LONG_THRESHOLDS if frames > 300 else THRESHOLDS:
        moving = [n for n, score in enumerate(scores) if score > threshold]
        if len(moving) >= 10:
            return moving
    return sorted(sorted(range(len(scores)), key=lambda n: -scores[n])[:3])


def key_frame(counts: list[int]) -> int:
    """The middle one in time of the fifth of the frames with most points; the fullest where it
    has none.
    """
    k = int(0.2 * len(counts))
    ascending = sorted(range(len(counts)), key=lambda frame: counts[frame])
    most = sorted(ascending[len(counts) - k :]) if k else list(range(len(counts)))
    middle = most[len(most) // 2]
    return middle if counts[middle] else counts.index(max(counts))


def lies_in(mask: np.ndarray, point: Point) -> bool:
    """Truncated toward zero, then moved to the border."""
    height, width = mask.shape
    x = min(max(int(point[0]), 0), width - 1)
    y = min(max(int(point[1]), 0), height - 1)
    return bool(mask[y, x])


def grown(mask: np.ndarray) -> np.ndarray:
    """A 6 x 6 kernel three times reaches 9 px up and left of a pixel, and 6 px down and right."""
    out = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        out[max(0, y - 6) : y + 10, max(0, x - 6) : x + 10] = True
    return out


def densest_point(points: list[Point]) -> Point:
    """The point with the smallest sum of distances to all others."""
    sums = [sum(math.dist(point, other) for other in points) for point in points]
    return points[sums.index(min(sums))]


def three_points(points: list[Point]) -> list[Point]:
    """The one nearest the centroid and the two farthest from it."""
    centre = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    by_distance = sorted(points, key=lambda point: math.dist(point, centre))
    return [by_distance[0], *by_distance[-2:]]


def find_objects(tracked: Tracked, moving: list[int], answer: Answer) -> list[Found]:
    """Stage 1: one click a round."""
    pool, objects = list(moving), []
    for _ in range(min(max(math.ceil(tracked.frames / 16), 5), 10)):
        counts = [sum(tracked.seen(n, t) for n in pool) for t in range(tracked.frames)]
        if not any(counts):
            break
        frame = key_frame(counts)
        here = [n for n in pool if tracked.seen(n, frame)]
        click = densest_point([tracked.at(n, frame) for n in here])
        mask = answer(frame, [click])
        wide = grown(mask)
        caught = [n for n in here if lies_in(wide, tracked.at(n, frame))]
        own = [n for n in here if lies_in(mask, tracked.at(n, frame))]
        if own and (len(caught) >= 6 or len(moving) <= 5):
            objects.append(Found(frame, own))
        lost = caught or [next(n for n in here if tracked.at(n, frame) == click)]
        pool = [n for n in pool if n not in lost]
        if len(pool) < 6:
            break
    return objects


def prompt(found: Found, tracked: Tracked, answer: Answer) -> None:
    """Stage 2: one click a frame, and three points after it where its mask covers too few."""
    for frame in sorted({found.frame, *range(0, tracked.frames, 16)}):
        points = [tracked.at(n, frame) for n in found.tracks if tracked.seen(n, frame)]
        if not points:
            continue
        one = [densest_point(points)]
        mask = answer(frame, one)
        covered = sum(lies_in(mask, point) for point in points) / len(points)
        found.calls[frame] = [one] if covered >= 0.7 else [one, three_points(points)]


def are_one(a: np.ndarray, b: np.ndarray) -> bool:
    """Masks (T,H,W) bool of one object: in 30 % of the frames nearly equal, or one nearly
    covered.
    """
    alike = 0
    for first, second in zip(a, b):
        both, either = int((first & second).sum()), int((first | second).sum())
        smaller = min(int(first.sum()), int(second.sum()))
        if smaller and (both / either > 0.9 or both / smaller >= 0.9):
            alike += 1
    return alike / len(a) >= 0.3


def label(found: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Join masks (T,H,W) bool and number them: groups first, then singles; the lower number
    wins.
    """
    groups: list[list[int]] = []
    for first in range(len(found)):
        for second in range(first + 1, len(found)):
            if any(second in group for group in groups) or not are_one(found[first], found[second]):
                continue
            for group in groups:
                if first in group:
                    group.append(second)
                    break
            else:
                groups.append([first, second])
    singles = [[k] for k in range(len(found)) if not any(k in group for group in groups)]
    labels = np.zeros(shape, np.uint8)
    number = 0
    for group in groups + singles:
        if any(found[k].any() for k in group):
            number += 1
        for k in group:
            labels[found[k] & (labels == 0)] = number
    return labels
