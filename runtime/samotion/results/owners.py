"""Which object a track belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samotion import geometry
from samotion.prompts import ObjectPrompt
from samotion.tracks.records import Tracks


def owners(
    tracks: Tracks, labels: np.ndarray, ids: Sequence[int], prompts: Sequence[ObjectPrompt] = ()
) -> np.ndarray:
    """The label (N,) uint8 of each track's object, 0 for none.

    By the tracks that `prompts` say were found to move together, those of the object of the same
    place in `ids`. Without prompts it is the label in `labels` (T,H,W) under most of a track's
    visible points.
    """
    if not len(tracks):
        return np.zeros(0, np.uint8)
    if not prompts:
        return _under_most_points(tracks, labels)
    return owned_by_prompts(len(tracks), ids, prompts)


def owned_by_prompts(count: int, ids: Sequence[int], prompts: Sequence[ObjectPrompt]) -> np.ndarray:
    """The id (count,) uint8 of each track's object, 0 for none: that of the first prompt it is
    among the tracks of.
    """
    owner = np.zeros(count, np.uint8)
    for label, one in reversed(list(zip(ids, prompts))):
        owner[one.members] = label
    return owner


def _under_most_points(tracks: Tracks, labels: np.ndarray) -> np.ndarray:
    hw = labels.shape[1], labels.shape[2]
    x, y = geometry.nearest_pixel(tracks.xy, hw).transpose(2, 0, 1)
    under = labels[np.arange(len(labels)), y, x]
    seen = geometry.inside(tracks.xy, hw) & tracks.visible
    counts = np.stack([((under == n) & seen).sum(1) for n in range(int(labels.max()) + 1)])
    owner: np.ndarray = counts.argmax(0).astype(np.uint8)
    return owner
