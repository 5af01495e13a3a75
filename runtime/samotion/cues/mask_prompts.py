"""Mask prompts of objects, from three kinds of evidence: their tracks, the motion map, and an
appearance model fitted to where these two are certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.backends.threads import mapped
from samotion.checks.stages import StageProgress
from samotion.cues import appearance
from samotion.cues.appearance import AppearanceModel
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
    frames: Sequence[Iterable[int]],
    unsure: Array,
    frame_cues: FrameCues,
    progress: StageProgress | None = None,
) -> list[dict[int, Array]]:
    """Coarse masks of objects, each in its own `frames`: logits (side,side) float32 in [-6,6] of
    the frame squeezed to a square, positive on the object.

    `members`: the tracks of each object; `unsure` (N,) bool are tracks that may or may not belong
    to one of them. `progress` counts every frame twice: for its evidence, and for its masks.
    """
    frames_of = [list(own) for own in frames]
    every = sorted(set().union(*frames_of))
    objects_in = {t: [k for k, own in enumerate(frames_of) if t in own] for t in every}
    sources = _Sources(tracks, _as_mask(members, len(tracks)), unsure, frame_cues)

    def evidence_in(t: int) -> Evidence:
        return _evidence(sources, objects_in[t], t)

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
        logits = _add_appearance(evidence[t], models, cells[t])
        return {k: _squeeze(one, frame_cues.hw, frame_cues.side) for k, one in logits.items()}

    masks = dict(zip(every, told(mapped(masks_in, every), len(every))))
    return [{t: masks[t][k] for t in own} for k, own in enumerate(frames_of)]


@dataclass(frozen=True)
class _Sources:
    """What the evidence of all frames comes from.

    `members` (K,N) bool: each object's tracks; `unsure` (N,) bool: tracks that say nothing.
    """

    tracks: Tracks
    members: Array
    unsure: Array
    frame_cues: FrameCues

    def cells(self, t: int, grid_hw: tuple[int, int]) -> Array:
        """The tracks' places (N,2) in frame t, in cells of a grid."""
        grid_wh = np.array(grid_hw[::-1])
        cells_per_px = (grid_wh / self.frame_cues.hw[::-1]).astype(np.float32)
        return np.asarray(self.tracks.xy[:, t] * cells_per_px)


def _as_mask(members: Sequence[Array], count: int) -> Array:
    """Which of `count` tracks each object has: (K,N) bool."""
    mask = np.zeros((len(members), count), bool)
    for row, own in zip(mask, members):
        row[own] = True
    return mask


def _evidence(sources: _Sources, objects: list[int], t: int) -> Evidence:
    """What tracks and the motion map (GH,GW) of frame t say of `objects`."""
    moving = sources.frame_cues.maps[t]
    grid_hw = moving.shape[0], moving.shape[1]
    cells = sources.cells(t, grid_hw)
    visible = sources.tracks.visible[:, t] & ~sources.unsure
    splatting = KernelSplatting(cells[visible], grid_hw)
    shares = _share_map(sources.members, objects, visible, cells, moving)
    return {
        k: TRACKS_WEIGHT * splatting.mask(sources.members[k, visible]) + shares[k] for k in objects
    }


def _share_map(
    members: Array, objects: list[int], visible: Array, cells: Array, moving: Array
) -> Evidence:
    """Each object's part of the motion map (GH,GW), which does not tell objects apart: what is
    nearer to its own tracks than to those of others.
    """
    in_objects = visible & members.any(axis=0)
    splatting = KernelSplatting(cells[in_objects], (moving.shape[0], moving.shape[1]))
    shares = {}
    for k in objects:
        alone = not (in_objects & ~members[k]).any()
        nearer = None if alone else splatting.mask(members[k, in_objects])
        shares[k] = moving if nearer is None else np.minimum(moving, nearer)
    return shares


def _add_appearance(
    evidence: Evidence, models: Sequence[AppearanceModel | None], cells: Array
) -> Evidence:
    """The evidence in one frame with the appearance scores of its cells (GH,GW,5) added."""
    known = {k: model for k in evidence if (model := models[k]) is not None}
    if not known:
        return evidence
    scores = appearance.appearance_scores(cells, list(known.values()))
    logits = dict(evidence)
    for i, k in enumerate(known):
        logits[k] = evidence[k] + APPEARANCE_LOGITS * scores[..., i]
    return logits


def _squeeze(logits: Array, hw: tuple[int, int], side: int) -> Array:
    """Logits (GH,GW) of a frame of size `hw` as a coarse mask (side,side) in [-6,6]."""
    large = cv2.resize(logits.astype(np.float32), hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.clip(large, -LOGIT_MAX, LOGIT_MAX, out=large)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))
