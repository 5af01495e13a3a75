from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from samotion import prompts
from samotion.cues import outlines
from samotion.cues.edge_features import Guides
from samotion.presets import NANO, REFERENCE, Prompting
from samotion.sam2.propagation import Click
from samotion.tracks.tracking import Tracks

HW = (120, 160)
SIDE = 96
FRAMES = 20
CLICKS = Prompting(style="clicks")
CLICKS_AND_MASK = replace(CLICKS, style="clicks+mask")


def _tracks(xy: np.ndarray) -> Tracks:
    """Tracks that stand at xy (N,2) or go along xy (N,T,2), seen in every frame."""
    xy = np.repeat(xy[:, None], FRAMES, axis=1) if xy.ndim == 2 else xy
    seen = np.ones(xy.shape[:2], np.float32)
    zeros = np.zeros(len(xy), int)
    return Tracks(xy.astype(np.float32), seen > 0, seen, seen, zeros, xy[:, 0].astype(np.float32))


def _grid(left: int, top: int, size: int, step: int = 4) -> np.ndarray:
    x, y = np.meshgrid(np.arange(left, left + size, step), np.arange(top, top + size, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _boxes(*boxes: tuple[int, int, int]):
    """A perfect segmenter: the box (left, top, size) that holds the first click, else nothing."""

    def segment(click: Click) -> np.ndarray:
        mask = np.zeros(HW, bool)
        x, y = click.points_xy[0]
        for left, top, size in boxes:
            if left <= x < left + size and top <= y < top + size:
                mask[top : top + size, left : left + size] = True
        return mask

    return segment


@pytest.mark.parametrize(("high", "expected"), [(10, 10), (12, 12)])
def test_select_moving_takes_the_first_threshold_that_leaves_ten(high, expected):
    scores = np.full(100, 0.1, np.float32)
    scores[:high] = 0.96
    scores[high : high + 5] = 0.92
    assert len(prompts.select_moving(scores, 24, CLICKS)) == expected


def test_select_moving_lowers_the_threshold_step_by_step():
    scores = np.full(100, 0.1, np.float32)
    scores[:9] = 0.96
    scores[9:12] = 0.86
    assert len(prompts.select_moving(scores, 24, CLICKS)) == 12


def test_long_clips_use_their_own_thresholds():
    scores = np.concatenate([np.full(10, 0.995), np.full(10, 0.96)]).astype(np.float32)
    assert len(prompts.select_moving(scores, 300, CLICKS)) == 20
    assert len(prompts.select_moving(scores, 301, CLICKS)) == 10


def test_without_movers_the_reference_takes_three_tracks_and_nano_none():
    scores = np.linspace(0, 0.4, 50, dtype=np.float32)
    assert list(prompts.select_moving(scores, 24, REFERENCE.prompting)) == [47, 48, 49]
    assert len(prompts.select_moving(scores, 24, NANO.prompting)) == 0


def test_busiest_frame_is_the_middle_of_the_busiest_fifth():
    visible = np.zeros((8, 10), bool)
    visible[:4] = True
    visible[4:, [2, 7]] = True
    assert prompts.busiest_frame(visible) == 7
    visible[4:6, 5] = True
    assert prompts.busiest_frame(visible) == 7
    visible[:, 9] = True
    visible[:, 2] = False
    assert prompts.busiest_frame(visible) == 9


def test_busiest_frame_has_a_visible_point_even_where_few_frames_do():
    visible = np.zeros((3, 30), bool)
    visible[0, 29] = True
    assert prompts.busiest_frame(visible) == 29


def test_densest_and_spread():
    points = np.array([[0, 0], [10, 0], [11, 0], [12, 0], [40, 0]], np.float32)
    assert prompts.densest(points) == 2
    assert set(prompts.spread(points)) == {0, 3, 4}
    assert list(prompts.spread(points[:1])) == [0]


def test_inside_is_false_outside_the_frame():
    mask = np.ones(HW, bool)
    points = np.array([[0, 0], [159.9, 119.9], [-1, 5], [160, 5], [5, 120]], np.float32)
    assert list(prompts.inside(mask, points)) == [True, True, False, False, False]


def test_dilate_grows_by_the_reference_kernel():
    mask = np.zeros((60, 60), bool)
    mask[30, 30] = True
    assert prompts.dilate(mask).sum() == 16 * 16


def test_group_finds_two_objects_and_leaves_no_track_twice():
    tracks = _tracks(np.concatenate([_grid(20, 20, 24), _grid(100, 70, 24), _grid(60, 2, 40, 8)]))
    found = prompts.group(tracks, np.arange(72), _boxes((20, 20, 24), (100, 70, 24)), HW, CLICKS, 10)
    assert [f.object_id for f in found] == [1, 2]
    assert sorted(np.concatenate([f.members for f in found])) == list(range(72))


def test_candidates_are_moving_or_likely():
    scores = np.array([0.95, 0.7, 0.2], np.float32)
    grow = replace(CLICKS, grow_threshold=0.6)
    assert list(prompts.candidates(scores, np.array([0]), grow)) == [True, True, False]
    assert list(prompts.candidates(scores, np.array([0, 2]), CLICKS)) == [True, False, True]


def test_group_asks_for_six_tracks():
    tracks = _tracks(np.concatenate([_grid(20, 20, 24), _grid(100, 70, 8)]))  # 36 and 4
    found = prompts.group(tracks, np.arange(40), _boxes((20, 20, 24), (100, 70, 8)), HW, CLICKS, 10)
    assert len(found) == 1 and len(found[0].members) == 36


def test_group_accepts_the_few_tracks_of_a_clip_that_has_no_more():
    tracks = _tracks(_grid(20, 20, 8))
    assert len(prompts.group(tracks, np.arange(4), _boxes((20, 20, 8)), HW, CLICKS, 10)) == 1


def test_group_ends_when_the_segmenter_finds_nothing():
    tracks = _tracks(_grid(20, 20, 24))
    assert prompts.group(tracks, np.arange(36), _boxes(), HW, CLICKS, 10) == []


def test_group_stops_at_max_objects():
    tracks = _tracks(np.concatenate([_grid(20, 20, 24), _grid(100, 70, 24)]))
    assert len(prompts.group(tracks, np.arange(72), _boxes((20, 20, 24), (100, 70, 24)), HW, CLICKS, 1)) == 1


def test_unsure_tracks_do_not_prompt():
    tracks = _tracks(_grid(20, 20, 24))
    tracks = replace(tracks, confidence=np.full_like(tracks.confidence, 0.8))
    assert prompts.group(tracks, np.arange(36), _boxes((20, 20, 24)), HW, CLICKS, 10) == []


def _one_object(prompting: Prompting, segment) -> prompts.ObjectPrompt:
    tracks = _tracks(np.concatenate([_grid(20, 20, 24), _grid(80, 20, 60, 8)]))
    found = prompts.ObjectPrompt(1, 5, np.arange(36))
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, *HW, 3)).astype(np.uint8)
    unsure = np.zeros(len(tracks), bool)
    shown = prompts.seen_on(found, tracks, prompting, 16)
    masks = outlines.coarse_masks(tracks, [found.members], [shown], unsure, Guides(noise), None, SIDE)[0]
    draws = prompting.style == "clicks+mask"
    return prompts.prompt(found, tracks, unsure, segment, prompting, shown, masks if draws else {})


def test_prompt_clicks_on_the_key_frame_and_every_sixteenth():
    found = _one_object(CLICKS, _boxes((20, 20, 24)))
    assert [click.frame for click in found.clicks] == [0, 5, 16]
    assert all(len(click.points_xy) == 1 and click.mask is None for click in found.clicks)


def test_prompt_clicks_three_points_when_one_covers_too_little():
    found = _one_object(CLICKS, _boxes((20, 20, 8)))
    assert all(len(click.points_xy) == 3 and click.labels.all() for click in found.clicks)


def test_prompt_with_mask_draws_the_tracks():
    found = _one_object(CLICKS_AND_MASK, _boxes((20, 20, 24)))
    click = found.clicks[0]
    assert click.mask is not None and click.mask.shape == (SIDE, SIDE)
    large = cv2.resize(click.mask, HW[::-1])
    assert large[32, 32] > 0 > large[50, 110]
    assert list(click.labels) == [1, 1, 1, 0, 0, 0]


def test_prompt_skips_frames_where_the_object_is_hidden():
    tracks = _tracks(_grid(20, 20, 24))
    tracks.visible[:, 16] = False
    shown = prompts.seen_on(prompts.ObjectPrompt(1, 5, np.arange(36)), tracks, CLICKS, 16)
    assert list(shown) == [0, 5] and all(len(here) == 36 for here in shown.values())
