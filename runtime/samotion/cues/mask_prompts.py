"""Mask prompts of objects, from three kinds of evidence: their tracks, the motion map, and an
appearance model fitted to where these two are certain; docs/method.md, section 7.7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from samotion.backends.threads import mapped
from samotion.checks.stages import StageProgress
from samotion.cues import appearance
from samotion.cues.coarse_masks import LOGIT_MAX, splat
from samotion.cues.motion_map import MotionMaps
from samotion.tracks.records import Tracks

TRACKS_WEIGHT = 0.5  # of the tracks' logits beside the motion map's
APPEARANCE_LOGITS = 7.0  # of an appearance score of 1; 4 to 8 are within 0.01 of J


def draw(
    tracks: Tracks,
    members: Sequence[np.ndarray],
    frames_of: Sequence[Collection[int]],
    candidate: np.ndarray,
    frames: np.ndarray,
    maps: MotionMaps,
    side: int,
    progress: StageProgress | None = None,
) -> list[dict[int, np.ndarray]]:
    """Coarse masks of objects, each in its own of `frames` (T,H,W,3) uint8 RGB: logits (side,side)
    float32 in [-6,6] of the frame squeezed to a square, positive on the object.

    `members`: the tracks of each object; `candidate` (N,) bool are tracks that may belong to one,
    and say nothing where they do not. `progress` counts every frame twice: for its evidence, and
    for its masks.
    """
    hw = frames.shape[1], frames.shape[2]
    every = sorted(set().union(*frames_of))
    owned = np.array([np.isin(np.arange(len(tracks)), own) for own in members])
    telling = tracks.visible & (owned.any(axis=0) | ~candidate)[:, None]

    def evidence_in(t: int) -> np.ndarray:
        return _evidence(tracks.xy[:, t], telling[:, t], owned, maps[t], hw)

    def told(results: Iterable[Any], first: int) -> Iterator[Any]:
        for done, result in enumerate(results, first):
            if progress:
                progress(done, 2 * len(every))
            yield result

    evidence = dict(zip(every, told(mapped(evidence_in, every), 0)))
    cells = {
        t: appearance.colour_and_place(frames[t], one.shape[1:]) for t, one in evidence.items()
    }
    models = [
        appearance.learn([cells[t] for t in own], [evidence[t][k] for t in own])
        for k, own in enumerate(frames_of)
    ]

    def masks_in(t: int) -> dict[int, np.ndarray]:
        logits = evidence[t] + APPEARANCE_LOGITS * appearance.scores(cells[t], models)
        return {k: _squeeze(logits[k], hw, side) for k, own in enumerate(frames_of) if t in own}

    masks = dict(zip(every, told(mapped(masks_in, every), len(every))))
    return [{t: masks[t][k] for t in own} for k, own in enumerate(frames_of)]


def _evidence(
    xy: np.ndarray, telling: np.ndarray, owned: np.ndarray, moving: np.ndarray, hw: tuple[int, int]
) -> np.ndarray:
    """Logits (K,GH,GW): what the tracks `telling` (N,) of all at xy (N,2) px of a frame of size
    `hw` and its motion map `moving` (GH,GW) say of the objects whose tracks are `owned` (K,N).

    The map does not tell objects apart: each has what is nearer to its own tracks than to those of
    others.
    """
    grid_hw = moving.shape[0], moving.shape[1]
    cells = xy * (np.array(grid_hw[::-1]) / hw[::-1]).astype(np.float32)
    in_objects = telling & owned.any(axis=0)
    of_all, of_objects = (
        splat(cells[some], owned[:, some], grid_hw) for some in (telling, in_objects)
    )
    alone = np.all(owned | ~in_objects, axis=1)[:, None, None]
    return TRACKS_WEIGHT * of_all + np.where(alone, moving, np.minimum(moving, of_objects))


def _squeeze(logits: np.ndarray, hw: tuple[int, int], side: int) -> np.ndarray:
    """Logits (GH,GW) of a frame of size `hw` as a coarse mask (side,side) in [-6,6]."""
    large = cv2.resize(logits, hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.clip(large, -LOGIT_MAX, LOGIT_MAX, out=large)
    return cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
