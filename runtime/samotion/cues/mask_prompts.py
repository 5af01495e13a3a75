"""Mask prompts of objects, from three kinds of evidence: their tracks, the motion map, and an
appearance model fitted to where these two are certain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.backends.threads import mapped
from samotion.checks.stages import StageProgress
from samotion.cues import appearance
from samotion.cues.coarse_masks import LOGIT_MAX, KernelSplatting
from samotion.cues.motion_map import MotionMaps
from samotion.tracks.records import Tracks

Array = np.ndarray[Any, Any]
# object -> its logits (GH,GW) in one frame
Evidence = dict[int, Array]

TRACKS_WEIGHT = 0.5  # of the tracks' logits beside the motion map's
APPEARANCE_LOGITS = 7.0  # of an appearance score of 1; 4 to 8 are within 0.01 of J


class FrameCues(NamedTuple):
    """A clip's frames (T,H,W,3) uint8 RGB, their motion maps, and the side of the masks to be
    drawn, px.
    """

    frames: Array
    maps: MotionMaps
    side: int

    @property
    def hw(self) -> tuple[int, int]:
        """The frames' height and width, px."""
        return self.frames.shape[1], self.frames.shape[2]

    def colour_and_place(self, frame: int) -> Array:
        """(GH,GW,5): what the appearance model takes of each cell of the frame's map."""
        size = self.maps[frame].shape[::-1]
        small = cv2.resize(self.frames[frame], size, interpolation=cv2.INTER_AREA)
        return appearance.colour_and_place(small)


def draw(
    tracks: Tracks,
    members: Sequence[Array],
    frames_of: Sequence[Collection[int]],
    candidate: Array,
    frame_cues: FrameCues,
    progress: StageProgress | None = None,
) -> list[dict[int, Array]]:
    """Coarse masks of objects, each in its own frames: logits (side,side) float32 in [-6,6] of
    the frame squeezed to a square, positive on the object.

    `members`: the tracks of each object; `candidate` (N,) bool are tracks that may belong to one,
    and say nothing where they do not. `progress` counts every frame twice: for its evidence, and
    for its masks.
    """
    every = sorted(set().union(*frames_of))
    owned = np.array([np.isin(np.arange(len(tracks)), own) for own in members])
    telling = tracks.visible & (owned.any(axis=0) | ~candidate)[:, None]

    def evidence_in(t: int) -> Evidence:
        objects = [k for k, own in enumerate(frames_of) if t in own]
        xy, moving = tracks.xy[:, t], frame_cues.maps[t]
        return _evidence(xy, telling[:, t], owned, objects, moving, frame_cues.hw)

    def told(results: Iterable[Evidence], first: int) -> Iterator[Evidence]:
        for done, result in enumerate(results, first):
            if progress:
                progress(done, 2 * len(every))
            yield result

    evidence = dict(zip(every, told(mapped(evidence_in, every), 0)))
    cells = dict(zip(every, mapped(frame_cues.colour_and_place, every)))
    models = [
        appearance.learn([cells[t] for t in own], [evidence[t][k] for t in own])
        for k, own in enumerate(frames_of)
    ]

    def masks_in(t: int) -> Evidence:
        scores = appearance.scores(cells[t], [models[k] for k in evidence[t]])
        logits = zip(evidence[t].items(), APPEARANCE_LOGITS * scores)
        return {k: _squeeze(one + more, frame_cues) for (k, one), more in logits}

    masks = dict(zip(every, told(mapped(masks_in, every), len(every))))
    return [{t: masks[t][k] for t in own} for k, own in enumerate(frames_of)]


def _evidence(
    xy: Array, telling: Array, owned: Array, objects: list[int], moving: Array, hw: tuple[int, int]
) -> Evidence:
    """What the tracks `telling` (N,) of all at xy (N,2) px of a frame of size `hw` and its motion
    map `moving` (GH,GW) say of `objects`, whose tracks are `owned` (K,N).

    The map does not tell objects apart: each has what is nearer to its own tracks than to those of
    others.
    """
    grid_hw = moving.shape[0], moving.shape[1]
    cells = xy * (np.array(grid_hw[::-1]) / hw[::-1]).astype(np.float32)
    in_objects = telling & owned.any(axis=0)
    of_all, of_objects = (KernelSplatting(cells[one], grid_hw) for one in (telling, in_objects))
    evidence = {}
    for k in objects:
        share = moving
        if (in_objects & ~owned[k]).any():
            share = np.minimum(moving, of_objects.mask(owned[k, in_objects]))
        evidence[k] = TRACKS_WEIGHT * of_all.mask(owned[k, telling]) + share
    return evidence


def _squeeze(logits: Array, frame_cues: FrameCues) -> Array:
    """Logits (GH,GW) of a frame as a coarse mask (side,side) in [-6,6]."""
    width_height, side = frame_cues.hw[::-1], frame_cues.side
    large = cv2.resize(logits.astype(np.float32), width_height, interpolation=cv2.INTER_LINEAR)
    np.clip(large, -LOGIT_MAX, LOGIT_MAX, out=large)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))
