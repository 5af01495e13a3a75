"""nano's masks become one label map: all that hangs together is joined, and the smaller object
lies in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from samotion.masks import same_pairs, union

Array = np.ndarray[Any, Any]


def merge(masks: Mapping[int, Array]) -> dict[int, Array]:
    """Joins masks (T,H,W) bool of objects that are one, chains included; the first object's id
    stays.

    Objects stay in order of discovery. Empty ones drop out.
    """
    owner = {one: one for one in masks}
    for first, second in same_pairs(masks):
        kept, gone = sorted((owner[first], owner[second]), key=list(masks).index)
        owner = {one: kept if root == gone else root for one, root in owner.items()}
    groups = [[one for one in masks if owner[one] == root] for root in masks if owner[root] == root]
    joined = {group[0]: union([masks[one] for one in group]) for group in groups}
    return {object_id: mask for object_id, mask in joined.items() if mask.any()}


def to_labels(masks: Mapping[int, Array], shape: tuple[int, int, int]) -> Array:
    """Label map (T,H,W) uint8 of masks (T,H,W) bool: the k-th mask is k, 0 is static.

    Where masks overlap the smaller object wins: it lies in front, or is a part someone asked for.
    """
    labels = np.zeros(shape, np.uint8)
    areas = [np.count_nonzero(mask) for mask in masks.values()]
    ordered = list(masks.values())
    for index in np.argsort(areas, kind="stable")[::-1]:
        labels[ordered[index]] = index + 1
    return labels
