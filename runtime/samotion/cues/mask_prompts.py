"""Coarse masks of objects from all that is known: their tracks' votes, the motion map, and what
they look like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from samotion.cues import appearance as looks
from samotion.cues.coarse_masks import LOGIT_MAX, Ballot
from samotion.cues.edge_features import Guides
from samotion.cues.motion_map import WORKERS, MotionMaps
from samotion.tracks.tracking import Progress, Tracks

Array = np.ndarray[Any, Any]
VOTES = 0.5  # of the tracks' logits beside the motion map's; alone they count in full
LOOK_LOGITS = 7.0  # what a look is worth: 4 to 8 are within 0.01 of J


def coarse_masks(
    tracks: Tracks,
    members: Sequence[Array],
    frames: Sequence[Iterable[int]],
    unsure: Array,
    guides: Guides,
    maps: MotionMaps | None,
    side: int,
    progress: Progress | None = None,
) -> list[dict[int, Array]]:
    """Logits (side,side) float32 in [-6,6] of objects, each in its own `frames` squeezed so,
    positive on the object.

    `members`: the tracks of each object; `unsure` (N,) bool are tracks that may or may not belong
    to one of them. `progress` counts every frame twice: for its evidence, and for its masks.
    """
    own = np.zeros((len(members), len(tracks)), bool)
    for mine, some in zip(own, members):
        mine[some] = True
    asked = [list(some) for some in frames]
    every = sorted(set().union(*asked))
    there = {t: [k for k, some in enumerate(asked) if t in some] for t in every}
    shown = [None if maps is None else maps[t] for t in every]
    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = pool.map(
            lambda t, motion: _evidence(tracks, own, there[t], unsure, t, guides, motion),
            every,
            shown,
        )
        evidence: dict[int, dict[int, Array]] = {}
        for done, (t, found) in enumerate(zip(every, drawn)):
            evidence[t] = dict(zip(there[t], found))
            if progress:
                progress(done, 2 * len(every))
        points = dict(zip(every, pool.map(guides.points, every)))
        learnt = [
            looks.learn([points[t] for t in some], [evidence[t][k] for t in some])
            for k, some in enumerate(asked)
        ]
        large = pool.map(
            lambda t: _with_looks(evidence[t], learnt, points[t], guides.hw, side), every
        )
        by_frame: dict[int, dict[int, Array]] = {}
        for done, (t, found_masks) in enumerate(zip(every, large), start=len(every)):
            by_frame[t] = found_masks
            if progress:
                progress(done, 2 * len(every))
    return [{t: by_frame[t][k] for t in some} for k, some in enumerate(asked)]


def _evidence(
    tracks: Tracks,
    own: Array,
    there: list[int],
    unsure: Array,
    t: int,
    guides: Guides,
    motion: Array | None,
) -> list[Array]:
    """What tracks and the motion map (MH,MW) of frame t say of the objects `there`, logits (GH,GW)
    each.

    `own` (K,N) bool: the tracks of all objects.
    """
    guide = guides[t]
    hw = guide.shape[:2]
    cells = tracks.xy[:, t] * (np.array(hw[::-1]) / guides.hw[::-1]).astype(np.float32)
    known = tracks.visible[:, t] & ~unsure
    votes = Ballot(cells[known], hw, guide)
    if motion is None:
        return [votes.mask(own[k, known]) for k in there]
    moving = cv2.resize(motion, hw[::-1], interpolation=cv2.INTER_LINEAR)
    # the map does not tell objects apart: each has what is nearer to its tracks
    movers = known & own.any(axis=0)
    nearer = Ballot(cells[movers], hw)
    return [
        VOTES * votes.mask(own[k, known])
        + (np.minimum(moving, nearer.mask(own[k, movers])) if (movers & ~own[k]).any() else moving)
        for k in there
    ]


def _with_looks(
    evidence: Mapping[int, Array],
    learnt: Sequence[looks.Look | None],
    points: Array,
    hw: tuple[int, int],
    side: int,
) -> dict[int, Array]:
    """Coarse masks (side,side) of a frame of size `hw`: the evidence for each object there, and
    what it looks like.
    """
    known = {k: look for k in evidence if (look := learnt[k]) is not None}
    if known:
        alike = looks.alike(points, list(known.values()))
        evidence = {
            **evidence,
            **{k: evidence[k] + LOOK_LOGITS * alike[..., i] for i, k in enumerate(known)},
        }
    return {k: _squeezed(logits, hw, side) for k, logits in evidence.items()}


def _squeezed(logits: Array, hw: tuple[int, int], side: int) -> Array:
    """Logits (GH,GW) of a frame of size `hw` as a coarse mask (side,side) in [-6,6]."""
    large = cv2.resize(logits.astype(np.float32), hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.clip(large, -LOGIT_MAX, LOGIT_MAX, out=large)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))
