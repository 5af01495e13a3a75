"""Motion residuals show what moves by itself, whatever the camera does; scores follow the maps."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import graphs
from helpers.standing_tracks import tracks_at
from samotion.contract import MAP_CHANNELS
from samotion.cues import motion_map
from samotion.cues.motion_map import MotionMaps
from samotion.cues.motion_residuals import MotionResiduals
from samotion.presets import FAST, NANO
from samotion.tracks.records import Tracks
from samotion_export.motion import motion_map as net
from samotion_export.motion.net import build_module

HW, FRAMES, STEP_PX = (144, 256), 16, 3
# channels: of the two along flow, the one of the smaller offset
ALONG_GROUND, ALONG_FLOW, FLOW, MEDIAN = slice(2, 5), 5, slice(7, 9), 9
RATIO, MUCH, RATIO_BY_STILL = 13, 14, 15  # of parallax residuals


def _texture(seed: int, hw: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (*hw, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip((smooth - smooth.mean()) * 8 + 128, 0, 255).astype(np.uint8)


def _clip(pan_px: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A box of 40 px moves by STEP_PX a frame over a ground that the camera pans over: frames,
    and the box's masks.
    """
    ground, box = _texture(0, (HW[0], HW[1] + FRAMES * pan_px)), _texture(1, (40, 40))
    frames = np.stack([ground[:, pan_px * t : pan_px * t + HW[1]] for t in range(FRAMES)])
    masks = np.zeros(frames.shape[:3], bool)
    for t in range(FRAMES):
        area = slice(50, 90), slice(100 + STEP_PX * t, 140 + STEP_PX * t)
        frames[t][area], masks[t][area] = box, True
    return frames, masks


def _tracks(pan_px: int = 0) -> tuple[Tracks, np.ndarray]:
    """20 points on the box and 200 on the ground, and their scores."""
    rng = np.random.default_rng(2)
    on_box = rng.uniform([104, 54], [136, 86], (20, 2))
    above = rng.uniform([0, 0], [HW[1], 45], (100, 2))
    below = rng.uniform([0, 95], HW[::-1], (100, 2))
    start = np.concatenate([on_box, above, below])
    step = np.repeat([[STEP_PX, 0], [-pan_px, 0]], [20, 200], axis=0)
    xy = (start[:, None] + step[:, None] * np.arange(FRAMES)[None, :, None]).astype(np.float32)
    visible = np.all((xy >= 0) & (xy < HW[::-1]), axis=2)
    ones = np.ones(xy.shape[:2], np.float32)
    scores = np.repeat(np.array([0.9, 0.1], np.float32), [20, 200])
    return Tracks(xy, visible, ones, ones, np.zeros(len(xy), int), xy[:, 0]), scores


class _Engines(dict[str, Any]):
    """An engine whose map is the log difference along the ground, minus the median one, minus
    `bias`.
    """

    def __init__(self, bias: float = 1.0) -> None:
        super().__init__(motion_map=self.map)
        self.bias, self.calls = bias, 0

    def map(self, residual: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        logits = residual[..., 2] - residual[..., MEDIAN] - self.bias
        return {"logits": logits, "boundaries": -logits}


@pytest.mark.parametrize("pan_px", [0, 2])
def test_residuals_are_high_on_the_moving_box_and_not_on_the_panned_ground(pan_px: int) -> None:
    frames, masks = _clip(pan_px)
    residual = MotionResiduals(frames, *_tracks(pan_px))[8]
    assert residual.shape == (108, 192, MAP_CHANNELS)
    assert residual.dtype == np.float32 and np.isfinite(residual).all()
    eroded = cv2.erode(masks[8].astype(np.uint8), np.ones((9, 9)))
    dilated = cv2.dilate(masks[8].astype(np.uint8), np.ones((21, 21)))
    inner, outer = (
        cv2.resize(one, (192, 108), interpolation=cv2.INTER_NEAREST) > 0
        for one in (eroded, 1 - dilated)
    )
    along_ground, along_flow = residual[..., ALONG_GROUND], residual[..., ALONG_FLOW]
    assert np.median(along_ground[inner]) > 2 > 1.5 > np.percentile(along_ground[outer], 90)
    # along the flow the box is matched
    assert np.median(along_flow[inner]) < np.median(along_ground[inner]) - 1
    flow_x, scores = residual[..., FLOW.start], residual[..., 0]
    assert np.median(flow_x[inner]) > 1 and np.abs(np.median(flow_x[outer])) < 0.3
    assert scores[inner].mean() > 0.3 > -0.5 > scores[outer].mean()


@pytest.mark.parametrize(("pan_px", "explained"), [(-2, True), (2, False)])
def test_residuals_tell_what_goes_where_the_ground_goes(pan_px: int, explained: bool) -> None:
    """A box that goes to the right, over a ground that goes there too, or against it."""
    frames, masks = _clip()
    tracks, scores = _tracks(pan_px)
    residual = MotionResiduals(frames, tracks, scores)[8]
    box = cv2.resize(masks[8].astype(np.uint8), (192, 108), interpolation=cv2.INTER_NEAREST) > 0
    ratio, much = residual[..., RATIO][box].mean(), residual[..., MUCH][box].mean()
    assert (ratio < 0) == (much < 0) == explained
    ground = residual[5:25, 20:70]  # what does not leave the plane is not explained, and not much
    ratios = ground[..., [RATIO, RATIO_BY_STILL]]
    assert ratios.min() > 0.9 and ground[..., MUCH].max() < -0.9


def test_residuals_are_the_numbers_that_the_net_was_trained_on() -> None:
    frames, _ = _clip(2)
    noise = np.random.default_rng(3).integers(0, 40, frames.shape, np.uint8)
    means = MotionResiduals(cv2.add(frames, noise), *_tracks(2))[8].mean((0, 1))
    wanted = [-0.67, -1, 1.94, 1.94, 1.94, 1.85, 1.91, 0.29, -0.01, 1.87]
    np.testing.assert_allclose(means[:10], wanted, atol=0.02)
    np.testing.assert_allclose(means[10:], [1.14, 0.67, 0.63, 0.99, -0.84, 0.99], atol=0.02)


def test_residuals_are_finite_at_the_ends_and_zero_without_ground() -> None:
    frames, _ = _clip()
    tracks, scores = _tracks()
    for t in (0, FRAMES - 1):
        assert np.isfinite(MotionResiduals(frames, tracks, scores)[t]).all()
    no_ground = MotionResiduals(frames, tracks, np.ones_like(scores))[3]
    assert not no_ground[..., ALONG_GROUND].any() and not no_ground[..., FLOW].any()
    assert not MotionResiduals(frames[:1], tracks.take(np.arange(0)), scores[:0])[0][
        ..., 2:10
    ].any()


def test_maps_are_made_once_per_frame() -> None:
    frames, _ = _clip()
    engines: Any = _Engines()
    maps = MotionMaps(engines, frames, *_tracks())
    np.testing.assert_allclose(maps.boundary(4), 1 / (1 + np.exp(maps[4])), atol=1e-6)
    assert engines.calls == 1


def test_what_lies_between_two_points_is_the_most_on_their_way() -> None:
    cells = np.zeros((9, 16))
    cells[:, 8] = 0.7  # a wall
    start, end = np.array([[20.0, 40.0], [20.0, 40.0]]), np.array([[140.0, 60.0], [60.0, 60.0]])
    np.testing.assert_allclose(motion_map.most_between(cells, start, end, (90, 160)), [0.7, 0])


def test_scores_follow_the_maps() -> None:
    frames, _ = _clip()
    tracks, scores = _tracks()
    beside = np.flatnonzero((np.arange(220) >= 20) & (np.abs(tracks.xy[:, 0, 1] - 40) < 5))
    scores[beside] = 0.9
    engines: Any = _Engines()
    weighed = motion_map.weigh(scores, tracks, MotionMaps(engines, frames, tracks, scores), HW)
    assert len(beside) > 3 and np.median(weighed[:20]) > 0.85 > 0.7 > np.median(weighed[beside])
    hidden = replace(tracks, visible=tracks.visible & False)
    np.testing.assert_array_equal(
        motion_map.weigh(scores, hidden, MotionMaps(engines, frames, hidden, scores), HW), scores
    )


def test_a_score_is_weighed_by_the_mean_of_the_maps_under_its_track() -> None:
    left = np.repeat(np.array([[1, -1]], np.float32), [8, 8], axis=1).repeat(9, axis=0)
    unread = np.full_like(left, np.nan)
    maps: Any = [0.5 * left, unread, 1.5 * left, unread, 2.5 * left]
    tracks = tracks_at(np.array([[40, 40], [40, 40], [120, 50]]), 5)
    tracks.xy[1, 3:] = (110, 40)
    tracks.visible[2, 2] = False
    weighed = motion_map.weigh(np.array([0, 0.5, 1], np.float32), tracks, maps, (90, 160))
    assert weighed.dtype == np.float32
    certain = np.log((1 - 1e-4) / 1e-4)
    wanted = [-0.7 * certain + 1.5, (0.5 + 1.5 - 2.5) / 3, 0.7 * certain - (0.5 + 2.5) / 2]
    np.testing.assert_allclose(np.log(weighed / (1 - weighed)), wanted, atol=1e-4)


def test_probabilities_of_extreme_logits_are_certain() -> None:
    extreme = np.array([-200, 200], np.float32)
    np.testing.assert_allclose(motion_map.probability(extreme), [0, 1], atol=1e-6)


def test_the_graph_answers_as_pytorch_at_every_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (graph,) = net.graphs(net.MotionMap().eval())
    rng = np.random.default_rng(1)
    shapes = (1, 72, 128), (3, 9, 8), (1, 2, 2)
    graphs.check(
        graph,
        tmp_path,
        [(rng.normal(size=(*shape, MAP_CHANNELS)).astype(np.float32),) for shape in shapes],
    )


def test_the_net_takes_grids_of_any_size_and_belongs_to_nano_alone() -> None:
    module = net.MotionMap().eval()
    for shape in ((1, 72, 128), (2, 27, 33), (1, 2, 2)):
        assert [one.shape for one in module(torch.zeros(*shape, MAP_CHANNELS))] == [shape, shape]
    names = build_module(NANO.motion).state_dict()
    assert any(name.startswith("map.") for name in names)
    assert not any(name.startswith("map.") for name in build_module(FAST.motion).state_dict())


def test_frames_are_held_no_longer_than_their_residuals() -> None:
    frames, _ = _clip()
    held = weakref.ref(frames)
    gc.disable()
    try:
        residuals = MotionResiduals(frames, *_tracks())
        assert residuals[3].ndim == 3
        del frames, residuals
        assert held() is None
    finally:
        gc.enable()
