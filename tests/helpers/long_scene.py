"""A square that moves, stands and moves again over a still ground, as long as one likes, and engines
of preset `fast` that see it in whatever frames they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from samotion.presets import FAST

from helpers import media
from helpers.fakes import FakeEngines

HW, SIDE, TOP, SPEED_PX, TURN_PX = (48, 80), 20, 14, 2, 56
MASK_PX, TOKENS = 64, 256  # of SAM 2 at 256 px
PRESET = replace(
    FAST,
    sam2=replace(FAST.sam2, image_size_px=256),
    depth=replace(FAST.depth, short_side_px=28),
)
GROUND, SQUARE = 40, 200


def lefts(count: int, still: range = range(0)) -> list[int]:
    """Where the square's left side is in each frame: to and fro, but for frames in which it stands."""
    places, left, way = [], 2, SPEED_PX
    for t in range(count):
        places.append(left)
        if t not in still:
            way = -way if not 0 <= left + way <= TURN_PX else way
            left += way
    return places


def masks(count: int, still: range = range(0)) -> np.ndarray:
    """(T,H,W) bool: where the square is."""
    truth = np.zeros((count, *HW), bool)
    for t, left in enumerate(lefts(count, still)):
        truth[t, TOP : TOP + SIDE, left : left + SIDE] = True
    return truth


def frames(count: int, still: range = range(0)) -> np.ndarray:
    """(T,H,W,3) uint8: the square is bright, the ground dark."""
    grey = np.where(masks(count, still), SQUARE, GROUND).astype(np.uint8)
    return grey[..., None].repeat(3, axis=-1)


def write_clip(folder: Path, count: int, start: int = 0) -> Path:
    """A folder of frames of the scene, from one of them on, called 000.png and so on."""
    names = [f"{number:03d}.png" for number in range(count)]
    return media.write_images(folder, frames(start + count)[start:], names)


def engines(**others: Callable[..., Any]) -> Any:
    """Engines that follow what is bright; each checks what the one before it handed on. `others`
    stand in for some of them.
    """
    own: dict[str, Callable[..., Any]] = {
        "tracks_features": _features,
        "tracks_query": _query,
        "tracks_refine": _refine,
        "depth": _depth,
        "dino": _dino,
        "motion": _motion,
        "sam2_image": _image,
        "sam2_prompt": _prompt,
        "sam2_memory": _memory,
        "sam2_track": _track,
    }
    return FakeEngines(PRESET, **own | others)


def _features(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The square's left and right side in each frame, px of 256; -1 where there is none."""
    assert frames.shape[1:] == (256, 256, 3) and frames.dtype == np.uint8
    sides = np.full((len(frames), 1, 1, 2), -1, np.float32)
    for row, bright in zip(sides, frames[..., 0] > (GROUND + SQUARE) / 2):
        columns = np.flatnonzero(bright.any(axis=0))
        if len(columns):
            row[...] = columns[0], columns[-1] + 1
    return {"lowres": sides, "hires": sides}


def _query(lowres: np.ndarray, hires: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    assert len(lowres) == len(hires)
    empty = np.zeros((len(queries), 2), np.float32)
    return {"query_lowres": empty, "query_hires": empty}


def _refine(lowres: np.ndarray, queries: np.ndarray, **_: np.ndarray) -> dict[str, np.ndarray]:
    """What starts on the square goes with it."""
    left, right = lowres[:, 0, 0].T
    t, y, x = queries.T
    start = np.rint(t).astype(int)
    rows = y * HW[0] / 256
    on_square = (x > left[start] + 1) & (x < right[start] - 1)
    on_square &= (rows > TOP + 1) & (rows < TOP + SIDE - 1)
    shift = np.where(on_square[:, None], left[None] - left[start][:, None], 0)
    xy = np.stack([x[:, None] + shift, y[:, None].repeat(len(left), 1)], axis=-1)
    sure = np.full(xy.shape[:2], -9, np.float32)
    return {"tracks": xy.astype(np.float32), "occlusion": sure, "expected_dist": sure}


def _depth(frames: np.ndarray) -> dict[str, np.ndarray]:
    plane = np.linspace(0, 1, frames[0, ..., 0].size, dtype=np.float32)
    return {"disparity": np.tile(plane.reshape(frames.shape[1:3]), (len(frames), 1, 1))}


def _dino(frames: np.ndarray) -> dict[str, np.ndarray]:
    rows, columns = (side // 7 - 1 for side in frames.shape[1:3])
    channels = FAST.motion.dino_channels
    return {"features": np.ones((len(frames), rows, columns, channels), np.float32)}


def _motion(
    xy: np.ndarray, visible: np.ndarray, disparity: np.ndarray, dino: np.ndarray, **sure: np.ndarray
) -> dict[str, np.ndarray]:
    assert (np.abs(xy) <= 1).all() and dino.all()
    assert disparity.min() >= 0 and disparity.max() <= 1
    assert all((sure[name][visible > 0] > 0.9).all() for name in ("visibility", "confidence"))
    moves = np.ptp(xy[..., 0], axis=1) > 0.01
    return {"score": np.where(moves, 0.99, 0.01).astype(np.float32)}


def _image(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The first level carries the logits of what is bright."""
    small = [cv2.resize(f, (MASK_PX, MASK_PX), interpolation=cv2.INTER_AREA) for f in frames]
    logits = (np.stack(small)[..., 0].astype(np.float32) - (GROUND + SQUARE) / 2) / 8
    count = len(frames)
    return {
        "level0": logits[:, None],
        "level1": np.zeros((count, 1, 32, 32), np.float32),
        "level2": np.zeros((count, 1, 16, 16), np.float32),
        "query": np.zeros((count, TOKENS, 1), np.float32),
    }


def _decoded(level0: np.ndarray, count: int) -> dict[str, np.ndarray]:
    return {
        "masks": level0[:, 0].repeat(count, 0),
        "iou": np.ones(count, np.float32),
        "pointer": np.zeros((count, 4), np.float32),
        "object_score": np.ones(count, np.float32),
    }


def _prompt(
    level0: np.ndarray, points: np.ndarray, labels: np.ndarray, **_: np.ndarray
) -> dict[str, np.ndarray]:
    assert (labels != 0).all()  # all clicks are on the object; -1 is padding
    assert points.min() >= 0 and points.max() <= PRESET.sam2.image_size_px
    return _decoded(level0, len(points))


def _memory(
    level2: np.ndarray, masks: np.ndarray, object_score: np.ndarray
) -> dict[str, np.ndarray]:
    return {"memory": np.zeros((len(masks), TOKENS, 1), np.float32)}


def _track(
    level0: np.ndarray, bank: np.ndarray, slot: np.ndarray, pointers: np.ndarray, **_: np.ndarray
) -> dict[str, np.ndarray]:
    assert bank.shape[:2] == slot.shape and len(pointers) == len(bank)
    return {**_decoded(level0, len(bank)), "memory": np.zeros((len(bank), TOKENS, 1), np.float32)}
