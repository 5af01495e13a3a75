"""The motion map: residuals see what moves by itself, whatever the camera does, and scores
follow the maps.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import graphs
from samotion.cues import motion_map
from samotion.cues.motion_map import CHANNELS, MotionMaps, Residuals
from samotion.presets import FAST, NANO
from samotion.tracks.tracking import Tracks
from samotion_export.motion import motion_map as net
from samotion_export.motion.net import build_module

HW, FRAMES, STEP_PX = (144, 256), 16, 3
ALONG_GROUND, ALONG_FLOW, FLOW, USUAL = slice(2, 5), 5, slice(7, 9), 9  # the nearer flow


def _texture(seed: int, hw: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (*hw, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip((smooth - smooth.mean()) * 8 + 128, 0, 255).astype(np.uint8)


def _clip(pan_px: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A box of 40 px glides by STEP_PX a frame over a ground that the camera pans over; frames,
    and the box's masks.
    """
    ground, box = _texture(0, (HW[0], HW[1] + FRAMES * pan_px)), _texture(1, (40, 40))
    frames = np.stack([ground[:, pan_px * t : pan_px * t + HW[1]] for t in range(FRAMES)])
    masks = np.zeros(frames.shape[:3], bool)
    for t in range(FRAMES):
        place = slice(50, 90), slice(100 + STEP_PX * t, 140 + STEP_PX * t)
        frames[t][place], masks[t][place] = box, True
    return frames, masks


def _tracks(pan_px: int = 0) -> tuple[Tracks, np.ndarray]:
    """20 points on the box and 200 on the ground, and their scores: those beside the box are as
    high as its own.
    """
    rng = np.random.default_rng(2)
    on, rest = (
        rng.uniform([104, 54], [136, 86], (20, 2)),
        rng.uniform([0, 0], [HW[1], 45], (100, 2)),
    )
    start = np.concatenate([on, rest, rng.uniform([0, 95], HW[::-1], (100, 2))])
    step = np.repeat([[STEP_PX, 0], [-pan_px, 0]], [20, 200], axis=0)
    xy = (start[:, None] + step[:, None] * np.arange(FRAMES)[None, :, None]).astype(np.float32)
    visible = np.all((xy >= 0) & (xy < HW[::-1]), axis=2)
    ones = np.ones(xy.shape[:2], np.float32)
    scores = np.repeat(np.array([0.9, 0.1], np.float32), [20, 200])
    return Tracks(xy, visible, ones, ones, np.zeros(len(xy), int), xy[:, 0]), scores


class _Engines(dict[str, Any]):
    """An engine whose map is the log difference along the ground, over the usual one, minus
    `bias`.
    """

    def __init__(self, bias: float = 1.0) -> None:
        super().__init__(motion_map=self.map)
        self.bias, self.calls = bias, 0

    def map(self, residual: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"logits": residual[..., 2] - residual[..., USUAL] - self.bias}


@pytest.mark.parametrize("pan_px", [0, 2])
def test_residuals_show_the_mover_and_not_the_panned_ground(pan_px: int) -> None:
    frames, masks = _clip(pan_px)
    residual = Residuals(frames, *_tracks(pan_px))[8]
    assert (
        residual.shape == (72, 128, CHANNELS)
        and residual.dtype == np.float32
        and np.isfinite(residual).all()
    )
    inner = cv2.erode(masks[8].astype(np.uint8), np.ones((9, 9)))[::2, ::2] > 0
    outer = cv2.dilate(masks[8].astype(np.uint8), np.ones((21, 21)))[::2, ::2] == 0
    along_ground, along_flow = residual[..., ALONG_GROUND], residual[..., ALONG_FLOW]
    assert np.median(along_ground[inner]) > 2 > 1.5 > np.percentile(along_ground[outer], 90)
    # the flow finds the box again
    assert np.median(along_flow[inner]) < np.median(along_ground[inner]) - 1
    assert (
        np.median(residual[inner, FLOW.start]) > 1
        and np.abs(np.median(residual[outer, FLOW.start])) < 0.3
    )
    assert residual[inner, 0].mean() > 0.3 > -0.5 > residual[outer, 0].mean()  # the tracks' votes


def test_ends_of_a_clip_and_clips_without_ground_are_quiet() -> None:
    frames, _ = _clip()
    tracks, scores = _tracks()
    for t in (0, FRAMES - 1):
        assert np.isfinite(Residuals(frames, tracks, scores)[t]).all()
    nothing_stands = Residuals(frames, tracks, np.ones_like(scores))[3]
    assert not nothing_stands[..., ALONG_GROUND].any() and not nothing_stands[..., FLOW].any()
    assert not Residuals(frames[:1], tracks.take(np.arange(0)), scores[:0])[0][..., 2:10].any()


def test_maps_are_made_once_per_frame() -> None:
    frames, _ = _clip()
    engines: Any = _Engines()
    maps = MotionMaps(engines, frames, *_tracks())
    np.testing.assert_array_equal(maps[4], maps[4])
    assert engines.calls == 1


def test_scores_follow_the_maps() -> None:
    frames, _ = _clip()
    tracks, scores = _tracks()
    halo = np.flatnonzero((np.arange(220) >= 20) & (np.abs(tracks.xy[:, 0, 1] - 40) < 5))
    scores[halo] = 0.9
    engines: Any = _Engines()
    weighed = motion_map.weigh(scores, tracks, MotionMaps(engines, frames, tracks, scores), HW)
    assert len(halo) > 3 and np.median(weighed[:20]) > 0.85 > 0.7 > np.median(weighed[halo])
    hidden = replace(tracks, visible=tracks.visible & False)
    np.testing.assert_array_equal(
        motion_map.weigh(scores, hidden, MotionMaps(engines, frames, hidden, scores), HW), scores
    )


def test_the_graph_answers_as_pytorch_at_every_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (graph,) = net.graphs(net.MotionMap().eval())
    rng = np.random.default_rng(1)
    shapes = (1, 72, 128), (3, 9, 8), (1, 2, 2)
    graphs.check(
        graph,
        tmp_path,
        [(rng.normal(size=(*shape, CHANNELS)).astype(np.float32),) for shape in shapes],
    )


def test_the_net_takes_grids_of_any_size_and_belongs_to_nano_alone() -> None:
    module = net.MotionMap().eval()
    for shape in ((1, 72, 128), (2, 27, 33), (1, 2, 2)):
        assert module(torch.zeros(*shape, CHANNELS)).shape == shape
    names = build_module(NANO.motion).state_dict()
    assert any(name.startswith("map.") for name in names)
    assert not any(name.startswith("map.") for name in build_module(FAST.motion).state_dict())
