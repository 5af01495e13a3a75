"""Motion cell by cell: what the ground's motion does not explain in a frame, and what engine
`motion_map` makes of it.

Tracks that stand still say how the ground moves. Where a frame differs from others brought along
with it, or where optical flow differs from it, something moves by itself. Tracks are too sparse for
outlines, and those beside an object are dragged along; this sees every cell, and what is really
there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from samotion import dino
from samotion.backends.engines import Engines
from samotion.cues import rigid
from samotion.cues.coarse_masks import LOGIT_MAX, coarse_mask
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
LONG_SIDE_PX = 256  # of the frames compared
CELL_PX = 2  # of those
BLUR_PX = 0.8
REACHES = (2, 5, 12)  # frames from a frame to those it is compared with, before and after
FLOW_REACHES = (2, 5)  # of those, where optical flow is asked too
PATCH_PX = 5
GROUND_PX = 12  # the ground's motion is known on a grid this fine
NEIGHBOURS = 12  # nearest still tracks, whose median motion is the ground's
STILL = 0.5  # tracks with lower scores show the ground
SURE = 0.9
STEP_PX = 0.05  # per frame; differences in motion below it mean nothing
# log ratio of what a still scene leaves of a track (see rigid.py) that counts as a full vote
APART = 5.0
CHANNELS = 16
EVERY = 2  # frames between those whose maps count in a track's score
SAMPLED_FRAMES = 12  # frames in which tracks are compared with each other, spread over the clip
STEPS = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6)  # of the way between two tracks, where a map is asked
MAP_MOST = 8.0  # logits
WORKERS = 2  # threads; OpenCV uses more by itself, where it can
# of a track's own score, as a logit, beside the maps; 0.5 to 1 are within 0.003 of J on DAVIS
SCORE_SHARE = 0.7


class MotionMaps:
    """Logits (GH,GW) float32 of a clip's frames, positive where something moves; made when first
    asked for.
    """

    def __init__(self, engines: Engines, frames: Array, tracks: Tracks, scores: Array) -> None:
        self._engine, self._residuals = engines["motion_map"], Residuals(frames, tracks, scores)
        self._made: dict[int, Array] = {}

    def __getitem__(self, frame: int) -> Array:
        if frame not in self._made:
            self._made[frame] = self._engine(residual=self._residuals[frame][None])["logits"][0]
        return self._made[frame]


def weigh(
    scores: Array,
    tracks: Tracks,
    maps: MotionMaps,
    hw: tuple[int, int],
    tell: Callable[[int], None] | None = None,
) -> Array:
    """Motion scores (N,), each with the mean of the maps under its track taken into account.

    Tracks that no map sees keep their scores. `tell` is told how many maps are done.
    """
    total, seen = np.zeros((2, len(tracks)))
    for done, frame in enumerate(range(0, tracks.xy.shape[1], EVERY)):
        if tell:
            tell(done)
        here = np.flatnonzero(tracks.visible[:, frame])
        total[here] += dino.sample(maps[frame][..., None], tracks.xy[here, frame], hw)[:, 0]
        seen[here] += 1
    told = seen > 0
    weighed = scores.copy()
    weighed[told] = 1 / (1 + np.exp(-SCORE_SHARE * logits(scores[told]) - total[told] / seen[told]))
    return weighed


def logits(scores: Array) -> Array:
    """Of scores in [0,1]; those that are all but sure count as 1e-4 from it."""
    clipped = scores.astype(np.float64).clip(1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))


def sampled_frames(length: int) -> Array:
    """Frames spread over a clip of so many: SAMPLED_FRAMES, or all there are."""
    return np.unique(np.linspace(0, length - 1, SAMPLED_FRAMES).astype(int))


def min_between(logits: Array, a: Array, b: Array, hw: tuple[int, int]) -> Array:
    """The least of a map (GH,GW) on the straight ways from a (K,2) to b (K,2), px of the frame:
    (K,).
    """
    way = [dino.sample(logits[..., None], a + step * (b - a), hw)[:, 0] for step in STEPS]
    return np.asarray(np.min(way, axis=0).clip(-MAP_MOST, MAP_MOST))


class Residuals:
    """Residuals of a clip's frames (T,H,W,3) uint8 RGB, made when asked for.

    `scores` (N,) are the motion scores of `tracks`. A frame's residual is (GH,GW,CHANNELS) float32:
    votes of the tracks for motion (all by their scores, and the sure ones), log differences along
    the ground by reach, the same along optical flow, the flow relative to the ground, the frame's
    usual difference, its colours in CIELAB, and votes of the tracks by how far they are from what a
    still scene shows.
    """

    def __init__(self, frames: Array, tracks: Tracks, scores: Array) -> None:
        height, width = frames.shape[1:3]
        self._scale = LONG_SIDE_PX / max(height, width)
        self._frames, self._tracks, self._scores = frames, tracks, scores
        self._size = max(16, round(width * self._scale)), max(16, round(height * self._scale))
        self._cells = (
            max(2, round(width * self._scale / CELL_PX)),
            max(2, round(height * self._scale / CELL_PX)),
        )
        self._xy = tracks.xy * np.float32(self._scale)
        self._pixels = np.dstack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self._size)))
        self._shown = lru_cache(maxsize=2 * max(REACHES) + 2)(self._small)
        self._pool = ThreadPoolExecutor(WORKERS)
        self._apart = (rigid.rank_residual_ratio(self._xy, tracks, scores < STILL) / APART).clip(
            0, 1
        )

    def __getitem__(self, frame: int) -> Array:
        along_ground, along_flow, relative = [], [], []
        after = before = self._nothing()
        pairs = [(reach, sign) for reach in REACHES for sign in (1, -1)]
        compared = self._pool.map(lambda pair: self._look(frame, *pair), pairs)
        votes = self._pool.map(lambda vote: vote(frame), (self._votes, self._apart_votes))
        for reach, *looks in zip(REACHES, compared, compared):
            if any(np.isfinite(look[0]).any() for look in looks):
                # else the clip is too short for this reach: the last one stands in
                after, before = looks
            along_ground.append(_log(np.minimum(after[0], before[0])))
            if reach in FLOW_REACHES:
                along_flow.append(_log(np.minimum(after[1], before[1])))
                relative.append(np.where((after[1] <= before[1])[..., None], after[2], before[2]))
        motion = np.mean(relative, axis=0)
        spread = np.median(np.abs(motion)) + STEP_PX
        usual = np.full(along_ground[0].shape, np.median(along_ground[0]), np.float32)
        lab = cv2.cvtColor(self._shown(frame), cv2.COLOR_RGB2LAB).astype(np.float32) / 50 - 2
        of_scores, of_places = votes
        layers = [
            *of_scores,
            *along_ground,
            *along_flow,
            np.arcsinh(motion / spread),
            usual,
            lab,
            *of_places,
        ]
        return np.dstack([self._to_cells(np.asarray(layer, np.float32)) for layer in layers])

    def _to_cells(self, layer: Array) -> Array:
        return np.asarray(cv2.resize(layer, self._cells, interpolation=cv2.INTER_AREA))

    def _votes(self, frame: int) -> list[Array]:
        seen = np.flatnonzero(self._tracks.visible[:, frame])
        scores = self._scores[seen]
        return self._drawn(seen, frame, [scores, scores > SURE])

    def _apart_votes(self, frame: int) -> list[Array]:
        seen = np.flatnonzero(self._tracks.visible[:, frame] & np.isfinite(self._apart[:, 0]))
        return self._drawn(seen, frame, list(self._apart[seen].T))

    def _drawn(self, seen: Array, frame: int, weights: list[Array]) -> list[Array]:
        return [
            coarse_mask(self._xy[seen, frame], one, self._size[::-1]) / LOGIT_MAX for one in weights
        ]

    def _look(self, frame: int, reach: int, sign: int) -> tuple[Array, Array, Array]:
        """Differences (h,w) to another frame along the ground and along the flow, and the flow
        (h,w,2) per frame.

        Infinite and zero where there is nothing to compare with.
        """
        other = frame + sign * reach
        if not 0 <= other < len(self._frames) or (ground := self._ground(frame, other)) is None:
            return self._nothing()
        along_ground = self._difference(frame, other, ground)
        if reach not in FLOW_REACHES:
            return along_ground, *self._nothing()[1:]
        here, there = (cv2.cvtColor(self._shown(t), cv2.COLOR_RGB2GRAY) for t in (frame, other))
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
            here, there, ground.copy()
        )
        return (
            along_ground,
            self._difference(frame, other, flow),
            (flow - ground) * np.float32(sign / reach),
        )

    def _nothing(self) -> tuple[Array, Array, Array]:
        hw = self._size[::-1]
        return (
            np.full(hw, np.inf, np.float32),
            np.full(hw, np.inf, np.float32),
            np.zeros((*hw, 2), np.float32),
        )

    def _ground(self, frame: int, other: int) -> Array | None:
        """The ground's motion (h,w,2) px from one frame to another; None where too few tracks
        show it.
        """
        visible = self._tracks.visible
        still = np.flatnonzero((self._scores < STILL) & visible[:, frame] & visible[:, other])
        if len(still) < NEIGHBOURS:
            return None
        start = self._xy[still, frame]
        counts = [max(2, round(n / GROUND_PX)) for n in self._size]
        axes = [
            (np.arange(count, dtype=np.float32) + 0.5) * size / count
            for count, size in zip(counts, self._size)
        ]
        places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        distance = (places**2).sum(axis=1)[:, None] - 2 * places @ start.T + (start**2).sum(axis=1)
        nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        motion = np.median((self._xy[still, other] - start)[nearest], axis=1).reshape(
            *counts[::-1], 2
        )
        return np.asarray(
            cv2.resize(motion.astype(np.float32), self._size, interpolation=cv2.INTER_LINEAR)
        )

    def _difference(self, frame: int, other: int, motion: Array) -> Array:
        """Mean difference (h,w) in grey levels of a patch and where `motion` brings it; infinite
        outside the frame.
        """
        x, y = np.moveaxis(self._pixels + motion, -1, 0)
        brought = cv2.remap(
            self._shown(other), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        difference = cv2.absdiff(brought, self._shown(frame)).astype(np.float32).mean(axis=-1)
        width, height = self._size
        outside = (x < -1) | (y < -1) | (x > width) | (y > height)
        return np.where(outside, np.float32(np.inf), cv2.blur(difference, (PATCH_PX, PATCH_PX)))

    def _small(self, frame: int) -> Array:
        small = cv2.resize(self._frames[frame], self._size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), BLUR_PX))


def _log(difference: Array) -> Array:
    """log(1 + d); 0 where nothing was compared."""
    return np.asarray(np.log1p(np.where(np.isfinite(difference), difference, 0)))
