"""What the frames show tells a mover from the ground beside it that only seems to go along."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from samotion import evidence
from samotion.tracks import Tracks

HW, FRAMES, STEP_PX = (144, 256), 12, 3
Array = np.ndarray[object, np.dtype[np.float32]]


def _texture(seed: int, hw: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (*hw, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip((smooth - smooth.mean()) * 4 + 128, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A box of 40 px glides by STEP_PX a frame over a ground that stands."""
    clip, box = np.repeat(_texture(0, HW)[None], FRAMES, 0), _texture(1, (40, 40))
    for t in range(FRAMES):
        clip[t, 50:90, 60 + STEP_PX * t : 100 + STEP_PX * t] = box
    return clip


def _tracks(start: np.ndarray, moves: np.ndarray) -> Tracks:
    time = np.arange(FRAMES, dtype=np.float32)[None, :, None]
    xy = (start[:, None] + moves[:, None, None] * time * np.array([STEP_PX, 0])).astype(np.float32)
    ones = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, ones > 0, ones, ones, np.zeros(len(xy), int), xy[:, 0])


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    """20 points on the box, 20 above it that go along although nothing there moves, 60 that stand."""
    rng = np.random.default_rng(2)
    on, beside = rng.uniform([66, 56], [94, 84], (20, 2)), rng.uniform([60, 20], [100, 40], (20, 2))
    stand = rng.uniform([0, 100], [255, 143], (60, 2))
    return _tracks(np.concatenate([on, beside, stand]), np.repeat([1, 1, 0], [20, 20, 60]))


def test_halos_lose_and_movers_win(frames: np.ndarray, tracks: Tracks) -> None:
    scores = np.repeat(np.float32([0.8, 0.8, 0.1]), [20, 20, 60])
    weighed = evidence.weigh(scores, tracks, frames, 4.0)
    assert weighed[:20].min() > 0.9 and weighed[20:40].max() < 0.4
    np.testing.assert_array_equal(weighed[40:], scores[40:])


def test_flat_ground_beside_a_mover_does_not_win(frames: np.ndarray, tracks: Tracks) -> None:
    flat = frames.copy()
    flat[:, :48] = 100
    scores = np.repeat(np.float32([0.8, 0.8, 0.1]), [20, 20, 60])
    assert evidence.weigh(scores, tracks, flat, 4.0)[20:40].max() < 0.8


def test_ground_that_moves_is_no_evidence(frames: np.ndarray, tracks: Tracks) -> None:
    """The same clip seen by a camera that pans: what is told stays the same."""
    pan = [np.float32([[1, 0, -2 * t], [0, 1, 0]]) for t in range(FRAMES)]
    panned = np.stack([cv2.warpAffine(f, m, HW[::-1], borderMode=cv2.BORDER_REFLECT) for f, m in zip(frames, pan)])
    xy = tracks.xy - np.float32([2, 0]) * np.arange(FRAMES, dtype=np.float32)[None, :, None]
    moved = Tracks(xy, tracks.visible, tracks.visibility, tracks.confidence, tracks.query_frame, tracks.query_xy)
    every, still = np.arange(40), np.arange(100) >= 40
    before = evidence.log_ratios(tracks, frames, every, still)
    after = evidence.log_ratios(moved, panned, every, still)
    assert np.median(after[:20]) > 1 > 0.3 > np.median(after[20:])
    assert np.median(before[:20]) > 1 > 0.3 > np.median(before[20:])


def test_nothing_is_told_without_ground_or_motion(frames: np.ndarray, tracks: Tracks) -> None:
    scores = np.full(100, 0.8, np.float32)
    np.testing.assert_array_equal(evidence.weigh(scores, tracks, frames, 4.0), scores)  # no still track
    standing = _tracks(tracks.xy[:, 0], np.zeros(100))
    scores[40:] = 0.1
    np.testing.assert_array_equal(evidence.weigh(scores, standing, frames, 4.0), scores)
    np.testing.assert_array_equal(evidence.weigh(scores, tracks, frames, 0.0), scores)
    assert len(evidence.weigh(scores[:0], tracks.take(np.arange(0)), frames, 4.0)) == 0
