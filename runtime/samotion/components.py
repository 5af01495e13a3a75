"""Objects as sets of moving tracks that stay together."""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, busiest_frame, surely_visible
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
LINK_SPACINGS = 2.5  # tracks nearer than this many mean spacings of all tracks are neighbours
CORE_FRAMES = 5  # fewest frames that see both tracks of a link that makes an object
JOIN_FRAMES = 3  # the same for a track that joins an object; it would make one of two that pass each other
LINK_FAR = 0.1  # of those frames, at most, may see them apart: a tracker slips now and then


def find(
    tracks: Tracks, moving: Array, likely: Array, hw: tuple[int, int], prompting: Prompting, max_objects: int
) -> list[ObjectPrompt]:
    """Split the likely tracks (N,) bool into objects, largest first; `moving` (M,) are the sure ones among them.

    An object begins as a set of likely tracks, connected by links between tracks that are neighbours in nearly all
    frames that see both, so that what only passes by stays apart. `min_object_tracks` of its tracks must be sure, or
    all there are. Tracks too short-lived for that join the object they have most links to. Sets smaller than
    `least_share` of the largest are mostly parallax or noise, and no objects.
    """
    pool = np.flatnonzero(likely)
    seen = surely_visible(tracks, prompting.min_confidence).visible[pool]
    common, linked = links(tracks.xy[pool], seen, spacings(tracks.visible, hw) * LINK_SPACINGS)
    is_sure = np.isin(pool, moving)
    needed = min(prompting.min_object_tracks, max(1, len(moving)))
    cores = [one for one in components(linked & (common >= CORE_FRAMES)) if is_sure[one].sum() >= needed]
    sets = [one for one in join(cores, linked & (common >= JOIN_FRAMES)) if seen[one].any()]
    sets.sort(key=len, reverse=True)
    sets = [one for one in sets if len(one) >= prompting.least_share * len(sets[0])]
    return [ObjectPrompt(i + 1, busiest_frame(seen[one]), pool[one]) for i, one in enumerate(sets[:max_objects])]


def spacings(visible: Array, hw: tuple[int, int]) -> Array:
    """(T,) px: the mean distance between the visible (N,T) of all tracks."""
    area: Array = hw[0] * hw[1] / np.maximum(1, visible.sum(axis=0))
    return np.sqrt(area)


def links(xy: Array, visible: Array, radius_px: Array) -> tuple[Array, Array]:
    """How many frames see both of two tracks, and whether they stay within a radius there, both (P,P).

    xy (P,T,2) px, visible (P,T), radius_px (T,).
    """
    common, apart = np.zeros((2, len(xy), len(xy)), np.int32)
    for t, radius in enumerate(radius_px):
        here = np.flatnonzero(visible[:, t])
        across, down = (xy[here, t, axis] for axis in (0, 1))
        far = (across[:, None] - across) ** 2 + (down[:, None] - down) ** 2 > radius**2
        both = np.ix_(here, here)
        common[both] += 1
        apart[both] += far
    return common, apart <= LINK_FAR * common


def components(linked: Array) -> list[Array]:
    """The connected components of a symmetric (P,P) bool, each as indices; in order of their first index."""
    free = np.ones(len(linked), bool)
    found = []
    while free.any():
        reached = np.zeros(len(linked), bool)
        reached[np.argmax(free)] = True
        while (grown := linked[reached].any(axis=0) | reached).sum() > reached.sum():
            reached = grown
        free &= ~reached
        found.append(np.flatnonzero(reached))
    return found


def join(sets: list[Array], linked: Array) -> list[Array]:
    """The disjoint `sets` of indices, each with the free ones that are linked (P,P) to more of it than of the others.

    Links may lead over others that have joined before.
    """
    owner = np.zeros((len(linked), len(sets)), bool)
    for k, one in enumerate(sets):
        owner[one, k] = True
    while sets:
        votes = linked.astype(np.float32) @ owner.astype(np.float32)
        new = np.flatnonzero(~owner.any(axis=1) & votes.any(axis=1))
        if not len(new):
            break
        owner[new, votes[new].argmax(axis=1)] = True
    return [np.flatnonzero(owner[:, k]) for k in range(len(sets))]
