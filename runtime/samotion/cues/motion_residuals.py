"""Motion residuals of frames: what the ground's motion does not explain, cell by cell;
docs/method.md, section 7.2.
"""

from __future__ import annotations

from functools import lru_cache, partial

import cv2
import numpy as np

from samotion.cues.coarse_masks import LOGIT_MAX, splat
from samotion.cues.parallax import parallax_residuals
from samotion.tracks.records import Tracks

LONG_SIDE_PX = 384  # of the frames compared
CELL_PX = 2  # of those
MIN_SIDE_PX, MIN_CELLS = 16, 2  # of very long or very high frames
BLUR_PX = 0.8
FRAME_OFFSETS = (2, 5, 12)  # from a frame to those it is compared with, before and after
FLOW_OFFSETS = (2, 5)  # of those, where optical flow is computed too
PATCH_PX = 5
GROUND_CELL_PX = 12  # of the grid on which the ground's motion is known
NEIGHBOURS = 12  # nearest still tracks, whose median motion is the ground's
STILL_SCORE = 0.5  # tracks with lower motion scores show the ground
HIGH_SCORE = 0.9
HALF_PX = 1.0  # parallax residual that counts half
MIN_SPREAD_PX = 0.05  # per frame; differences in motion below it mean nothing


class MotionResiduals:
    """Motion residuals of a clip's frames (T,H,W,3) uint8 RGB, computed when asked for.

    `scores` (N,) are the motion scores of `tracks`. The residual of a frame is (GH,GW,C) float32:
    splatted track scores (all, and the high ones), log differences along the ground for each of
    FRAME_OFFSETS, the same along optical flow, the flow relative to the ground, the frame's median
    difference, its colours in CIELAB, and the parallax residuals of tracks, splatted (their ratios,
    and whether they are much).
    """

    def __init__(self, frames: np.ndarray, tracks: Tracks, scores: np.ndarray) -> None:
        """Nothing is compared yet."""
        hw = frames.shape[1], frames.shape[2]
        self._frames, self._tracks, self._scores = frames, tracks, scores
        self._hw = _scaled(hw, LONG_SIDE_PX / max(hw), MIN_SIDE_PX)
        self._grid_hw = _scaled(hw, LONG_SIDE_PX / max(hw) / CELL_PX, MIN_CELLS)
        self._xy = tracks.xy * np.float32(LONG_SIDE_PX / max(hw))
        still = scores < STILL_SCORE
        (by_plane, by_still), left_px = parallax_residuals(tracks.xy, tracks.visible, still, hw)
        much = left_px**2 / (left_px**2 + HALF_PX**2)
        # in [0,1], what is splatted of each track
        shares = [scores, scores > HIGH_SCORE, by_plane, much, by_still]
        self._shares = np.array(shares, np.float32)
        x, y = (np.arange(side, dtype=np.float32) for side in self._hw[::-1])
        self._pixels = np.dstack(np.meshgrid(x, y))
        # the comparison with a frame that is not there
        self._unknown = np.full((*self._hw, 4), [np.inf, np.inf, 0, 0], np.float32)
        # no method of its own, or it would keep itself in memory
        small = partial(_small, frames, self._hw)
        self._small = lru_cache(maxsize=2 * max(FRAME_OFFSETS) + 2)(small)

    def __getitem__(self, frame: int) -> np.ndarray:
        """The residual of one frame."""
        colours = cv2.cvtColor(self._small(frame), cv2.COLOR_RGB2LAB).astype(np.float32)
        scores, high, *parallax = self._splat_tracks(frame)
        layers = [scores, high, *self._motion_layers(frame), colours / 50 - 2, *parallax]
        size = self._grid_hw[::-1]
        return np.dstack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in layers])

    def _motion_layers(self, frame: int) -> list[np.ndarray]:
        """Log differences along the ground and the flow, relative flow, and the median difference,
        of the frame and those after and before it, for each of FRAME_OFFSETS.
        """
        differences, flows = [], []
        after = before = self._unknown
        for offset in FRAME_OFFSETS:
            pair = self._compare(frame, offset), self._compare(frame, -offset)
            if any(np.isfinite(one[..., 0]).any() for one in pair):
                # else the clip is too short for this offset: the last one stands in
                after, before = pair
            differences.append(np.minimum(after, before)[..., :2])
            if offset in FLOW_OFFSETS:
                take_after = after[..., 1:2] <= before[..., 1:2]
                flows.append(np.where(take_after, after, before)[..., 2:])
        known = np.where(np.isfinite(differences), differences, 0)
        along_ground, along_flow = np.moveaxis(np.log1p(known), -1, 0)
        motion = np.mean(flows, axis=0)
        spread = np.median(np.abs(motion)) + MIN_SPREAD_PX
        usual = np.full(self._hw, np.median(along_ground[0]), np.float32)
        return [*along_ground, *along_flow[: len(flows)], np.arcsinh(motion / spread), usual]

    def _splat_tracks(self, frame: int) -> np.ndarray:
        """Maps (5,h,w) in [-1,1] of the tracks' shares."""
        visible = np.flatnonzero(self._tracks.visible[:, frame])
        return splat(self._xy[visible, frame], self._shares[:, visible], self._hw) / LOGIT_MAX

    def _compare(self, frame: int, offset: int) -> np.ndarray:
        """A frame and the one `offset` frames later: (h,w,4) differences along the ground's motion
        and along the optical flow, infinite where unknown; and the flow relative to the ground, px
        per frame.
        """
        other, compared = frame + offset, self._unknown.copy()
        is_there = 0 <= other < len(self._frames)
        ground = self._ground_motion(frame, other) if is_there else None
        if ground is not None:
            compared[..., 0] = self._difference(frame, other, ground)
            if abs(offset) in FLOW_OFFSETS:
                flow = self._optical_flow(frame, other, ground)
                compared[..., 1] = self._difference(frame, other, flow)
                compared[..., 2:] = (flow - ground) * np.float32(1 / offset)
        return compared

    def _ground_motion(self, frame: int, other: int) -> np.ndarray | None:
        """The ground's motion (h,w,2) px from one frame to another; None where too few tracks
        show it.
        """
        visible = self._tracks.visible
        in_both = visible[:, frame] & visible[:, other]
        still = np.flatnonzero((self._scores < STILL_SCORE) & in_both)
        if len(still) < NEIGHBOURS:
            return None
        start = self._xy[still, frame]
        displacement = self._xy[still, other] - start
        y, x = (_cell_centres(side) for side in self._hw)
        centres = np.dstack(np.meshgrid(x, y)).reshape(-1, 2)
        _, nearest = cv2.batchDistance(
            centres, start, cv2.CV_32F, normType=cv2.NORM_L2SQR, K=NEIGHBOURS
        )
        motion = np.median(displacement[nearest], axis=1).reshape(len(y), len(x), 2)
        motion = motion.astype(np.float32)
        return np.asarray(cv2.resize(motion, self._hw[::-1], interpolation=cv2.INTER_LINEAR))

    def _optical_flow(self, frame: int, other: int, start: np.ndarray) -> np.ndarray:
        """Dense flow (h,w,2) px from one frame to another, searched from `start` (h,w,2)."""
        grey, other_grey = (
            cv2.cvtColor(self._small(t), cv2.COLOR_RGB2GRAY) for t in (frame, other)
        )
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return np.asarray(dis.calc(grey, other_grey, start.copy()))

    def _difference(self, frame: int, other: int, motion: np.ndarray) -> np.ndarray:
        """Mean difference (h,w) in grey levels between patches and those to which `motion` (h,w,2)
        leads; infinite outside the frame.
        """
        places = self._pixels + motion
        warped = cv2.remap(  # type: ignore[call-overload]
            self._small(other), places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        absolute = cv2.absdiff(warped, self._small(frame))
        total = cv2.transform(absolute.astype(np.float32), np.ones((1, 3), np.float32))
        of_patches = cv2.blur(total / np.float32(3), (PATCH_PX, PATCH_PX))
        inside = cv2.inRange(places, np.array([-1.0, -1.0]), np.array(self._hw[::-1], float))
        return np.where(inside, of_patches, np.float32(np.inf))


def _small(frames: np.ndarray, hw: tuple[int, int], frame: int) -> np.ndarray:
    """A frame (h,w,3) at the size of comparison."""
    small = cv2.resize(frames[frame], hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), BLUR_PX))


def _scaled(hw: tuple[int, int], factor: float, least: int) -> tuple[int, int]:
    """A size times a factor, in whole px or cells."""
    height, width = (max(least, round(side * factor)) for side in hw)
    return height, width


def _cell_centres(side: int) -> np.ndarray:
    """Centres of the ground's cells along a side, px."""
    count = max(MIN_CELLS, round(side / GROUND_CELL_PX))
    return (np.arange(count, dtype=np.float32) + 0.5) * side / count
