"""SAM 2 forward through a live source: one object, frame by frame, in bounded memory."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from samotion.backends.engines import Engines
from samotion.sam2.clicks import Click, Decoded, decode
from samotion.sam2.features import Features
from samotion.sam2.flow import Back, own_motion, warped
from samotion.sam2.logits import HOLE_AREA, MASK_LOGIT, Refine, fill_holes, to_frame
from samotion.sam2.memory import Bank, MemoryEntry, recall, remember, to_bfloat16
from samotion.sam2.propagation import memory_window

PROMPTED = 2  # frames that are remembered as prompted, the last ones
SOFT_PX = 3  # how far a mask that is a prompt fades at its outline
POINTS = 3  # inside a mask
FOLLOWED_IOU = 0.5  # of SAM 2's answer with where the flow takes the mask; else the flow's counts
SMALLEST_PX = 12  # of a mask


class Follower(Protocol):
    """Follows one object. `prompt` says where it is in a frame, `follow` takes it to the next."""

    def prompt(self, images: Features, mask: np.ndarray) -> None:
        """Its mask (H,W) bool in the only frame of `images`."""
        ...

    def follow(self, images: Features, flow: Back) -> np.ndarray:
        """Its mask (H,W) bool in the next frame: the one of `images`, from which `flow` leads
        back.
        """
        ...


def follower(engines: Engines, refine: Refine | None = None) -> Follower:
    """What follows an object with the engines of a preset: SAM 2's memory, or for a small SAM 2,
    which forgets, a prompt on every frame. `refine` improves the latter's logits.
    """
    return MemoryFollower(engines) if engines.preset.cues is None else FlowFollower(engines, refine)


class MemoryFollower:
    """SAM 2 as published, forward only."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._window = memory_window(engines)._replace(prompted=PROMPTED)
        self._bank = Bank(0, {})
        self._frame = 0

    def prompt(self, images: Features, mask: np.ndarray) -> None:
        """Remember the mask as a prompted frame's."""
        decoded = _decode(self._engines, images, mask)
        memory = self._engines["sam2_memory"](
            level2=images[0]["level2"],
            masks=decoded.mask[None],
            object_score=np.array([decoded.score], np.float32),
        )["memory"][0]
        entry = MemoryEntry(to_bfloat16(memory), decoded.pointer)
        prompted = dict([*self._bank.prompted.items(), (self._frame, entry)][-PROMPTED:])
        tracked = {t: one for t, one in self._bank.tracked.items() if t != self._frame}
        self._bank = Bank(self._frame, prompted, tracked)

    def follow(self, images: Features, flow: Back) -> np.ndarray:
        """By the last frames' memories."""
        self._frame += 1
        frame = self._frame
        inputs = recall(self._bank, frame, frame + 1, False, self._window)
        rows = {name: value[None] for name, value in inputs._asdict().items()}
        out = self._engines["sam2_track"](**images.get_for_sweep(0), **rows)
        entry = MemoryEntry(to_bfloat16(out["memory"][0]), out["pointer"][0])
        self._bank = remember(self._bank, frame, entry, self._window)
        return _large(to_frame(fill_holes(out["masks"][0], HOLE_AREA), images.hw) > 0)


class FlowFollower:
    """The last mask, where its own motion in the optical flow takes it; on every second frame a
    small SAM 2 is asked to improve it. All that share a flow ask on the same frames, whose features
    serve them all.
    """

    def __init__(self, engines: Engines, refine: Refine | None) -> None:
        self._engines, self._refine = engines, refine
        self._mask = np.zeros((1, 1), bool)

    def prompt(self, images: Features, mask: np.ndarray) -> None:
        """Go on from this mask."""
        self._mask = mask

    def follow(self, images: Features, flow: Back) -> np.ndarray:
        """By the flow, and what SAM 2 and the picture's edges make of it."""
        if self._mask.any():
            there = _large(warped(self._mask, own_motion(self._mask, flow.back)))
            self._mask = self._improved(images, there, flow.asks) if there.any() else there
        return self._mask

    def _improved(self, images: Features, there: np.ndarray, by_sam2: bool) -> np.ndarray:
        """A mask (H,W) bool near the one where the flow leads."""
        if by_sam2:
            logits = to_frame(_decode(self._engines, images, there).mask, images.hw)
        else:
            logits = _soft(there)
        if self._refine is not None:
            logits = self._refine(images.frames[0], logits)
        mask = _large(logits > 0)
        iou = (mask & there).sum() / max(1, (mask | there).sum())
        return mask if iou > FOLLOWED_IOU else there


def _decode(engines: Engines, images: Features, mask: np.ndarray) -> Decoded:
    """SAM 2's answer to a mask (H,W) bool with points inside it, in the only frame of `images`."""
    points = _points(mask)
    click = Click(1, 0, points, np.ones(len(points), np.int32), _soft(mask))
    return decode(engines, images, [click], [None], HOLE_AREA)[0]


def _soft(mask: np.ndarray) -> np.ndarray:
    """Logits (H,W) float32 of a mask, which fade at its outline."""
    soft = cv2.blur(mask.astype(np.float32), (2 * SOFT_PX + 1,) * 2)
    return np.asarray((2 * soft - 1) * MASK_LOGIT, np.float32)


def _points(mask: np.ndarray) -> np.ndarray:
    """POINTS (P,2) x, y px inside a mask, each as far from its outline and those before it as can
    be.
    """
    free = np.pad(mask.astype(np.uint8), 1)
    points = []
    for _ in range(POINTS):
        distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(distance.argmax()), distance.shape)
        points.append((x - 1, y - 1))
        cv2.circle(free, (int(x), int(y)), max(1, int(distance[y, x] / 2)), 0, -1)
        if not free.any():
            break
    return np.array(points, np.float32)


def _large(mask: np.ndarray) -> np.ndarray:
    """The mask, or none where it is too small to be one."""
    return mask if np.count_nonzero(mask) >= SMALLEST_PX else np.zeros_like(mask)
