"""Masks of objects become one label map, as the published method does it; docs/method.md, stage
12.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

SAME_COVER = 0.9
SAME_FRAMES = 0.3  # of all frames


def ids_in(labels: np.ndarray) -> set[int]:
    """The ids that labels (H,W) uint8 show, 0 too; np.unique takes five times as long."""
    counts = cv2.calcHist([np.ascontiguousarray(labels, np.uint8)], [0], None, [256], [0, 256])
    return set(np.flatnonzero(counts).tolist())


def _agreement(a: np.ndarray, b: np.ndarray, area_a: np.ndarray, area_b: np.ndarray) -> float:
    """The share of frames in which two masks (T,H,W) bool are one: one covers 90 % of the other,
    as it does of those whose IoU is above 0.9.
    """
    # a frame at a time, for what whole masks share takes as much memory as a mask
    both = np.array([np.count_nonzero(x & y) for x, y in zip(a, b)], np.float64)
    smaller = np.minimum(area_a, area_b)
    return float(np.mean((both >= SAME_COVER * smaller) & (smaller > 0)))


def _areas(mask: np.ndarray) -> np.ndarray:
    """Pixels per frame (T,) of a mask (T,H,W) bool; five times as fast as counting along axes."""
    return np.array([np.count_nonzero(frame) for frame in mask], np.float64)


def same_pairs(masks: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    """The pairs of objects that are one, each the earlier found first, in order of discovery."""
    areas = {one: _areas(mask) for one, mask in masks.items()}
    return [
        (first, second)
        for first, second in itertools.combinations(masks, 2)
        if _agreement(masks[first], masks[second], areas[first], areas[second]) >= SAME_FRAMES
    ]


def groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Objects that become one: a first object, those paired with it as second, those paired with
    these as second, and so on.

    There is no full closure: 1-3 and 2-3 make the one group 1, 3, for in 2-3 object 2 comes first.
    """
    joined: list[list[int]] = []
    for first, second in pairs:
        if any(second in group for group in joined):
            continue
        mine = next((group for group in joined if first in group), None)
        if mine is None:
            joined.append([first, second])
        else:
            mine.append(second)
    return joined


def merge(masks: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Joins masks (T,H,W) bool of objects that are one; the first object's id stays. Empty objects
    drop out.

    Joined objects come first and then single ones, each in order of discovery.
    """
    joined = groups(same_pairs(masks))
    taken = set(itertools.chain(*joined))
    joined += [[single] for single in masks if single not in taken]
    return {
        group[0]: union([masks[one] for one in group])
        for group in joined
        if any(masks[one].any() for one in group)
    }


def union(masks: Sequence[np.ndarray]) -> np.ndarray:
    """One mask (T,H,W) bool of several; of one that mask itself, not copied."""
    if len(masks) == 1:
        return masks[0]
    joined: np.ndarray = masks[0] | masks[1]
    for mask in masks[2:]:
        joined |= mask
    return joined


def to_labels(
    masks: Mapping[int, np.ndarray], shape: tuple[int, int, int], smallest_in_front: bool = False
) -> np.ndarray:
    """Label map (T,H,W) uint8 of masks (T,H,W) bool: the k-th mask is k, 0 is static.

    Where masks overlap the lower number wins, or the smallest mask: it lies in front, or is a part
    that someone asked for.
    """
    labels = np.zeros(shape, np.uint8)
    front_first = list(enumerate(masks.values(), start=1))
    if smallest_in_front:
        front_first.sort(key=lambda one: np.count_nonzero(one[1]))
    for label, mask in reversed(front_first):
        np.copyto(labels, np.uint8(label), where=mask)
    return labels
