"""A square that moves over a still ground, and engines of preset `fast` that answer for it with
the truth.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from samotion.presets import FAST

from helpers.fakes import FakeEngines

FRAMES, HW, SIDE, SPEED_PX = 12, (96, 160), 32, 6
MASK_PX, TOKENS = 256, 4096  # of SAM 2 at 1024 px
GROUND, SQUARE = 40, 200


def left_px(frame: Any) -> Any:
    """Where the square's left side is."""
    return 8 + SPEED_PX * frame


def masks() -> np.ndarray:
    """(T,H,W) bool: where the square is."""
    truth = np.zeros((FRAMES, *HW), bool)
    for t in range(FRAMES):
        truth[t, 32 : 32 + SIDE, left_px(t) : left_px(t) + SIDE] = True
    return truth


def frames() -> np.ndarray:
    """(T,H,W,3) uint8: the square is bright, the ground dark."""
    return np.where(masks()[..., None], SQUARE, GROUND).astype(np.uint8).repeat(3, axis=-1)


def engines() -> Any:
    """Engines of the scene; each checks what the one before it handed on."""
    return FakeEngines(
        FAST,
        tracks_features=_features,
        tracks_query=_query,
        tracks_refine=_refine,
        depth=_depth,
        dino=_dino,
        motion=_motion,
        sam2_image=_image,
        sam2_prompt=_prompt,
        sam2_memory=_memory,
        sam2_track=_track,
    )


def _features(frames: np.ndarray) -> dict[str, np.ndarray]:
    assert frames.shape[1:] == (256, 256, 3) and frames.dtype == np.uint8
    count = len(frames)
    return {
        "lowres": np.zeros((count, 32, 32, 2), np.float32),
        "hires": np.zeros((count, 64, 64, 2), np.float32),
    }


def _query(lowres: np.ndarray, hires: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    assert len(lowres) == len(hires) == FRAMES
    empty = np.zeros((len(queries), 2), np.float32)
    return {"query_lowres": empty, "query_hires": empty}


def _refine(
    lowres: np.ndarray,
    hires: np.ndarray,
    query_lowres: np.ndarray,
    query_hires: np.ndarray,
    queries: np.ndarray,
) -> dict[str, np.ndarray]:
    """What starts on the square goes with it."""
    t, y, x = queries.T
    x_px, y_px = x * (HW[1] - 1) / 255, y * (HW[0] - 1) / 255
    left = left_px(t)
    on_square = (x_px > left) & (x_px < left + SIDE) & (y_px > 32) & (y_px < 32 + SIDE)
    shift_px = np.where(on_square[:, None], SPEED_PX * (np.arange(FRAMES) - t[:, None]), 0)
    xy = np.stack(
        [x[:, None] + shift_px * 255 / (HW[1] - 1), y[:, None].repeat(FRAMES, 1)], axis=-1
    )
    sure = np.full(xy.shape[:2], -9, np.float32)
    return {"tracks": xy.astype(np.float32), "occlusion": sure, "expected_dist": sure}


def _depth(frames: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "disparity": np.linspace(0, 1, frames[..., 0].size, dtype=np.float32).reshape(
            frames.shape[:3]
        )
    }


def _dino(frames: np.ndarray) -> dict[str, np.ndarray]:
    rows, columns = (side // 7 - 1 for side in frames.shape[1:3])
    return {
        "features": np.ones((len(frames), rows, columns, FAST.motion.dino_channels), np.float32)
    }


def _motion(
    xy: np.ndarray,
    visible: np.ndarray,
    visibility: np.ndarray,
    confidence: np.ndarray,
    disparity: np.ndarray,
    dino: np.ndarray,
) -> dict[str, np.ndarray]:
    assert visible.all() and (np.abs(xy) <= 1).all() and dino.all()
    assert (
        disparity.min() >= 0
        and disparity.max() <= 1
        and (visibility > 0.9).all()
        and (confidence > 0.9).all()
    )
    moves = np.ptp(xy[..., 0], axis=1) > 0
    return {"score": np.where(moves, 0.99, 0.01).astype(np.float32)}


def _image(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The first level carries the logits of what is bright."""
    small = np.stack(
        [cv2.resize(frame, (MASK_PX, MASK_PX), interpolation=cv2.INTER_AREA) for frame in frames]
    )
    logits = (small[..., 0].astype(np.float32) - (GROUND + SQUARE) / 2) / 8
    count = len(frames)
    return {
        "level0": logits[:, None],
        "level1": np.zeros((count, 1, 128, 128), np.float32),
        "level2": np.zeros((count, 1, 64, 64), np.float32),
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
    assert (labels == 1).all() and points.min() >= 0 and points.max() <= 1024
    return _decoded(level0, len(points))


def _memory(
    level2: np.ndarray, masks: np.ndarray, object_score: np.ndarray
) -> dict[str, np.ndarray]:
    return {"memory": np.zeros((len(masks), TOKENS, 4), np.float32)}


def _track(
    level0: np.ndarray, bank: np.ndarray, slot: np.ndarray, pointers: np.ndarray, **_: np.ndarray
) -> dict[str, np.ndarray]:
    assert bank.shape[:2] == slot.shape and len(pointers) == len(bank)
    return {**_decoded(level0, len(bank)), "memory": np.zeros((len(bank), TOKENS, 4), np.float32)}
