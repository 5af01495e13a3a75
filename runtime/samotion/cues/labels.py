"""nano's masks become one label map: pairs that agree are joined, chains of them too, and the
smaller object lies in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from samotion.cues.multicut import multicut
from samotion.masks import same_pairs, union

Array = np.ndarray[Any, Any]


def merge(masks: Mapping[int, Array]) -> dict[int, Array]:
    """Joins masks (T,H,W) bool of objects that are one, chains included; the first object's id
    stays.

    Objects stay in order of discovery. Empty ones drop out.
    """
    order = list(masks)
    same = np.zeros((len(order), len(order)))
    for pair in same_pairs(masks):
        first, second = map(order.index, pair)
        same[first, second] = same[second, first] = 1
    groups = sorted(multicut(same), key=lambda group: group[0])
    joined = {order[group[0]]: union([masks[order[k]] for k in group]) for group in groups}
    return {k: mask for k, mask in joined.items() if mask.any()}


def to_labels(masks: Mapping[int, Array], shape: tuple[int, int, int]) -> Array:
    """Label map (T,H,W) uint8 of masks (T,H,W) bool: the k-th mask is k, 0 is static.

    Where masks overlap the smaller object wins: it lies in front, or is a part someone asked for.
    """
    labels = np.zeros(shape, np.uint8)
    smallest_first = sorted(enumerate(masks.values(), 1), key=lambda one: np.count_nonzero(one[1]))
    for label, mask in reversed(smallest_first):
        labels[mask] = label
    return labels
