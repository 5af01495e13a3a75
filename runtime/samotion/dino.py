"""DINO: what each part of a frame looks like, as a grid of features."""

from __future__ import annotations

import cv2
import numpy as np

from samotion import geometry
from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.resident import Answer
from samotion.backends.threads import ahead, aside
from samotion.checks.arguments import AsArray, frames_of
from samotion.checks.stages import StageProgress
from samotion.contract import PATCH_PX
from samotion.errors import EngineError
from samotion.tracks.records import Tracks

# 1 frame of 854x480, 2 of 350x196: attention grows with the square of the tokens of a frame
PX_PER_CALL = 150_000
ANSWERS_WAITING = 2  # of a GPU, a frame each, to be looked up in
MAX_ASPECT = 8  # 140x1120 px; wider than any film or panorama of common cameras


def describe(engines: Engines, frames: AsArray) -> np.ndarray:
    """Features (B,GH,GW,C) float32 of uint8 RGB frames (B,H,W,3).

    Resized to `net_size`: bilinearly where that enlarges, as published, by the mean of each area
    where it shrinks. Raises UsageError for other frames.
    """
    given = frames_of(frames)
    rows, columns = net_size((given.shape[1], given.shape[2]), engines.preset.dino.short_side_px)
    resized = np.stack([_resized(engines, frame) for frame in given])
    per_call = max(1, PX_PER_CALL // (rows * columns))
    calls = [resized[start : start + per_call] for start in range(0, len(resized), per_call)]
    return np.concatenate([engines["dino"](frames=call)["features"] for call in calls])


def _resized(engines: Engines, frame: np.ndarray) -> np.ndarray:
    """A frame (H,W,3) as the net sees it."""
    rows, columns = net_size((frame.shape[0], frame.shape[1]), engines.preset.dino.short_side_px)
    kind = cv2.INTER_AREA if rows < frame.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(frame, (columns, rows), interpolation=kind)


def net_size(hw: tuple[int, int], short_side_px: int | None) -> tuple[int, int]:
    """The size the net sees, each side rounded up to multiples of 14.

    `short_side_px` None keeps the frame's own scale. Of a long strip the longer side is held to
    `MAX_ASPECT` times `short_side_px`, so that memory does not grow with its shape.
    """
    short, longest = min(hw), max(hw)
    wanted, given = short_side_px or short, short
    if short_side_px and longest > MAX_ASPECT * short:
        wanted, given = MAX_ASPECT * short_side_px, longest
    rows, columns = (-(-side * wanted // (given * PATCH_PX)) * PATCH_PX for side in hw)
    return rows, columns


def under_tracks(
    engines: Engines, frames: np.ndarray, tracks: Tracks, progress: StageProgress | None = None
) -> np.ndarray:
    """The feature (N,C) under each track's own query point, in frames (T,H,W,3) uint8.

    Raises EngineError for features of another length than the motion net takes.
    """
    hw, on_gpu = (frames.shape[1], frames.shape[2]), resident.is_on_gpu(engines)
    wanted = engines.preset.motion.dino_channels
    features = np.zeros((len(tracks), wanted), np.float32)

    def look(frame: int, answer: Answer) -> None:
        grid = answer.get()["features"][0]
        if grid.shape[-1] != wanted:
            raise EngineError(
                f"dino gives {grid.shape[-1]} channels, motion takes {wanted}; export both again"
            )
        mine = tracks.query_frame == frame
        features[mine] = sample(grid, tracks.query_xy[mine], hw)

    query_frames = np.unique(tracks.query_frame)
    pictures = (_resized(engines, frames[frame])[None] for frame in query_frames)
    with aside(on_gpu, ANSWERS_WAITING) as do:
        for done, one in enumerate(ahead(pictures, on_gpu)):
            if progress:
                progress(done, len(query_frames))
            do(look, query_frames[done], resident.call(engines, "dino", frames=one).fetch())
    return features


def sample(features: np.ndarray, xy_px: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The features (N,C) under points xy_px (N,2) of one frame of size `hw`; features (GH,GW,C), or
    without C.

    Cells as the motion nets were trained: `geometry.dino_cells`.
    """
    column, row = geometry.dino_cells(xy_px, hw, features.shape[:2]).T
    values: np.ndarray = features[row, column]
    return values
