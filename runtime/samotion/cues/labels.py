"""nano's masks become one label map: pairs that agree are joined, chains of them too, and the
smaller object lies in front.
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
    order = list(masks)
    owner = {object_id: object_id for object_id in order}
    for pair in same_pairs(masks):
        kept, absorbed = sorted((owner[object_id] for object_id in pair), key=order.index)
        for object_id in order:
            if owner[object_id] == absorbed:
                owner[object_id] = kept
    joined = {}
    for kept in order:
        group = [masks[object_id] for object_id in order if owner[object_id] == kept]
        if group:
            joined[kept] = union(group)
    return {object_id: mask for object_id, mask in joined.items() if mask.any()}


def to_labels(masks: Mapping[int, Array], shape: tuple[int, int, int]) -> Array:
    """Label map (T,H,W) uint8 of masks (T,H,W) bool: the k-th mask is k, 0 is static.

    Where masks overlap the smaller object wins: it lies in front, or is a part someone asked for.
    """
    labels = np.zeros(shape, np.uint8)
    in_order = list(masks.values())
    areas = [np.count_nonzero(mask) for mask in in_order]
    largest_first = np.argsort(areas, kind="stable")[::-1]
    for index in largest_first:
        labels[in_order[index]] = index + 1
    return labels
