"""Mask prompts add up tracks, motion map and appearance; each object keeps to its own tracks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from helpers.overlap import iou
from helpers.standing_tracks import tracks_at
from samotion.cues import mask_prompts
from samotion.tracks.records import Tracks

HW, FRAMES, SIDE = (90, 160), 3, 96
LEFT, RIGHT = (slice(30, 60), slice(20, 60)), (slice(30, 60), slice(100, 140))


def _scene() -> tuple[np.ndarray, Any, Tracks, np.ndarray]:
    """Two boxes of one colour on noise, a map that shows both, and tracks: which box each is on,
    0 for none.
    """
    frames = np.random.default_rng(0).integers(90, 120, (FRAMES, *HW, 3)).astype(np.uint8)
    logits = np.full(HW, -5.0, np.float32)
    for box in (LEFT, RIGHT):
        frames[:, box[0], box[1], 0] += 60
        logits[box] = 5.0
    xy = np.random.default_rng(1).uniform(0, 1, (300, 2)).astype(np.float32) * np.array(
        HW[::-1], np.float32
    )
    down = (xy[:, 1] >= 30) & (xy[:, 1] < 60)
    on = np.where(down & (xy[:, 0] >= 20) & (xy[:, 0] < 60), 1, 0)
    on = np.where(down & (xy[:, 0] >= 100) & (xy[:, 0] < 140), 2, on)
    maps = dict.fromkeys(range(FRAMES), logits[::2, ::2])
    return frames, maps, tracks_at(xy, FRAMES), on


def _iou(logits: np.ndarray, *boxes: tuple[slice, slice]) -> float:
    logits = cv2.resize(logits, HW[::-1])
    truth = np.zeros(HW, bool)
    for box in boxes:
        truth[box] = True
    return iou(logits > 0, truth)


def test_the_map_gives_the_outline_and_tracks_the_object() -> None:
    frames, maps, tracks, on = _scene()
    left, right = np.flatnonzero(on == 1), np.flatnonzero(on == 2)
    unsure = np.isin(np.arange(300), left[4:])
    reports: list[tuple[int, int]] = []
    masks, others = mask_prompts.draw(
        tracks,
        [left[:4], right],
        [[0, 2], [1, 2]],
        unsure,
        frames,
        maps,
        SIDE,
        lambda *now: reports.append(now),
    )
    assert list(masks) == [0, 2] and masks[0].shape == (SIDE, SIDE) and np.abs(masks[0]).max() <= 6
    assert _iou(masks[0], LEFT) > 0.8
    assert list(others) == [1, 2] and _iou(others[2], RIGHT) > 0.8
    assert reports == [(done, 6) for done in range(6)]


def test_tracks_tell_of_the_cells_they_are_in() -> None:
    y, x = np.mgrid[4:90:8, 4:160:8]
    places = np.column_stack([x.ravel(), y.ravel()]).astype(np.float32)
    owned = ((places[:, 0] > 80) & (places[:, 1] < 30))[None]
    empty = np.zeros((45, 80), np.float32)
    logits = mask_prompts._evidence(places, np.ones(len(places), bool), owned, empty, HW)[0]
    assert min(logits[12, 50:70]) > 0 > max(*logits[22:38, 60], *logits[12, :30])


def test_a_map_without_motion_leaves_little() -> None:
    frames, maps, tracks, on = _scene()
    empty: Any = {t: np.full_like(logits, -6.0) for t, logits in maps.items()}
    members = [np.flatnonzero(on == k) for k in (1, 2)]
    masks = mask_prompts.draw(tracks, members, [[0], [0]], on < 0, frames, empty, SIDE)
    assert not any((own[0] > 0).any() for own in masks)


def test_no_objects_have_no_masks() -> None:
    frames, maps, tracks, on = _scene()
    assert mask_prompts.draw(tracks, [], [], on < 0, frames, maps, SIDE) == []
