"""A stand-in for SAM 2 that answers from known parts, and random scenes to try prompts and labels
on.

A scene's `parts` (T,H,W) are what the stand-in knows: 0 is ground. A click is answered with the
part under it within 40 px (ground within 9 px), several with all of theirs, and a second call on a
frame with what the first one had as well. Frames without a prompt show the parts of which the
nearest prompted frame before covers more than 40 %; before the first prompt it is the nearest
after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PART_RADIUS_PX, GROUND_RADIUS_PX = 40, 9
FOLLOWED = 0.4


@dataclass(frozen=True)
class Scene:
    """Parts (T,H,W); tracks xy (N,T,2) px, visible and confidence (N,T), scores (N,).

    `labels` (T,H,W), where they are known, are the original program's.
    """

    parts: np.ndarray
    xy: np.ndarray
    visible: np.ndarray
    confidence: np.ndarray
    scores: np.ndarray
    labels: np.ndarray | None = None


def answer(parts: np.ndarray, points: Any) -> np.ndarray:
    """The mask (H,W) bool of clicks at points (P,2) px on parts (H,W)."""
    rows, columns = np.indices(parts.shape)
    mask = np.zeros(parts.shape, bool)
    for x, y in np.asarray(points, np.float64):
        row = min(max(int(y), 0), parts.shape[0] - 1)
        column = min(max(int(x), 0), parts.shape[1] - 1)
        part = parts[row, column]
        radius = PART_RADIUS_PX if part else GROUND_RADIUS_PX
        mask |= (parts == part) & ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)
    return mask


def follow(parts: np.ndarray, calls: Mapping[int, Sequence[Any]]) -> np.ndarray:
    """The mask (T,H,W) bool of an object, from the points (P,2) px of every call by frame."""
    prompted = {
        frame: np.any([answer(parts[frame], points) for points in some], axis=0)
        for frame, some in calls.items()
    }
    out = np.zeros(parts.shape, bool)
    for frame in range(len(parts)):
        if frame in prompted:
            out[frame] = prompted[frame]
            continue
        before = [known for known in prompted if known < frame]
        source = max(before) if before else min(prompted)
        out[frame] = np.isin(parts[frame], _covered(parts[source], prompted[source]))
    return out


def _covered(parts: np.ndarray, mask: np.ndarray) -> list[int]:
    """The parts of (H,W) of which a mask shows enough."""
    areas = np.bincount(parts.ravel())
    shown = np.bincount(parts[mask], minlength=len(areas))
    return [part for part in range(1, len(areas)) if shown[part] > FOLLOWED * areas[part]]


def random_scene(seed: int, hw: tuple[int, int] = (120, 160)) -> Scene:
    """Rectangles that go straight over each other, tracks on and beside them, some unsure, some out
    of the picture.

    In some scenes so few tracks surely move that the three best are taken.
    """
    rng = np.random.default_rng(seed)
    frames, count = int(rng.choice([3, 8, 20, 33, 50])), int(rng.integers(1, 11))
    start, step = rng.uniform(0, 1, (count, 2)) * hw[::-1], rng.normal(0, 0.7, (count, 2))
    half = rng.uniform(3, 18, (count, 2))
    centres = start[:, None] + np.arange(frames)[:, None] * step[:, None]
    owner = np.repeat(np.arange(count), rng.integers(6, 25, count))
    offset = rng.uniform(-1.2, 1.2, (len(owner), 2)) * half[owner]
    xy = centres[owner] + offset[:, None] + rng.normal(0, 0.3, (len(owner), frames, 2))
    visible = rng.random((len(owner), frames)) < rng.uniform(0.5, 1)
    confidence = rng.uniform(rng.uniform(0.7, 0.95), 1, (len(owner), frames))
    scores = rng.uniform(0, 1, len(owner)) ** rng.choice([0.02, 0.2]) * rng.choice(
        [1, 1, 1, 1, 0.7]
    )
    parts = _draw(centres, half, hw, rng)
    return Scene(parts, xy.astype(np.float32), visible, confidence.astype(np.float32), scores)


def _draw(
    centres: np.ndarray, half: np.ndarray, hw: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Parts (T,H,W): rectangles at centres (K,T,2) of half sides (K,2), some of one number,
    later ones in front.
    """
    rows, columns = np.indices(hw)
    names = rng.integers(1, len(centres) + 1, len(centres))
    parts = np.zeros((centres.shape[1], *hw), np.uint8)
    for name, path, (wide, high) in zip(names, centres, half):
        for t, (x, y) in enumerate(path):
            parts[t][(np.abs(columns - x) <= wide) & (np.abs(rows - y) <= high)] = name
    return parts
