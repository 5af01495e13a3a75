"""Objects as sets of moving tracks that stay together."""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.presets import Prompting
from samotion.prompts import MIN_OBJECT_TRACKS, ObjectPrompt, busiest_frame, surely_visible
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
LINK_SPACINGS = 2.5  # tracks nearer than this many mean spacings of all tracks are neighbours
LINK_FRAMES = 3  # fewest frames that see both
LINK_FAR = 0.1  # of those frames, at most, may see them apart: a tracker slips now and then


def find(
    tracks: Tracks, moving: Array, likely: Array, hw: tuple[int, int], prompting: Prompting, max_objects: int
) -> list[ObjectPrompt]:
    """Split the likely tracks (N,) bool into objects, largest first; `moving` (M,) are the sure ones among them.

    An object is a set of likely tracks, connected by links between tracks that are neighbours in nearly all frames
    that see both, so that what only passes by stays apart. Six of its tracks, or all there are, must be sure.
    """
    pool = np.flatnonzero(likely)
    seen = surely_visible(tracks, prompting.min_confidence).visible[pool]
    linked = links(tracks.xy[pool], seen, spacings(tracks.visible, hw) * LINK_SPACINGS)
    is_sure = np.isin(pool, moving)
    needed = min(MIN_OBJECT_TRACKS, max(1, len(moving)))
    sets = [one for one in components(linked) if is_sure[one].sum() >= needed and seen[one].any()]
    sets.sort(key=len, reverse=True)
    return [ObjectPrompt(i + 1, busiest_frame(seen[one]), pool[one]) for i, one in enumerate(sets[:max_objects])]


def spacings(visible: Array, hw: tuple[int, int]) -> Array:
    """(T,) px: the mean distance between the visible (N,T) of all tracks."""
    area: Array = hw[0] * hw[1] / np.maximum(1, visible.sum(axis=0))
    return np.sqrt(area)


def links(xy: Array, visible: Array, radius_px: Array) -> Array:
    """Which of the tracks xy (P,T,2), visible (P,T), stay within `radius_px` (T,) of each other: (P,P) bool."""
    common = np.zeros((len(xy), len(xy)), np.int32)
    apart = np.zeros_like(common)
    for t, radius in enumerate(radius_px):
        here = np.flatnonzero(visible[:, t])
        across, down = (xy[here, t, i] for i in (0, 1))
        far = (across[:, None] - across) ** 2 + (down[:, None] - down) ** 2 > radius**2
        both = np.ix_(here, here)
        common[both] += 1
        apart[both] += far
    linked: Array = (common >= LINK_FRAMES) & (apart <= LINK_FAR * common)
    return linked


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
