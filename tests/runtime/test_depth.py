"""Sizes, batches and normalisation around the depth net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion import depth
from samotion.presets import FAST


def red(frames: np.ndarray) -> dict[str, Any]:
    return {"disparity": frames[..., 0].astype(np.float32)}


@pytest.mark.parametrize(
    ("hw", "expected"),
    [
        ((480, 854), (518, 924)),  # the size of the published figures
        ((518, 518), (518, 518)),
        ((1080, 1920), (518, 924)),
        ((1920, 1080), (924, 518)),
        # smaller than the net's size: the long side needs the smaller change
        ((240, 320), (392, 518)),
        ((10, 1000), (14, 518)),  # 5 rows would be no patch at all
        ((400, 4000), (420, 4144)),  # a strip: the longer side is held to 8 times 518
    ],
)
def test_side_with_the_smaller_change_becomes_518(
    hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert depth.net_size(hw, 518) == expected


def test_every_frame_spans_0_to_1_at_its_own_size() -> None:
    frames = np.zeros((9, 120, 200, 3), np.uint8)
    frames[..., 0] = np.linspace(20, 220, 200).astype(np.uint8)
    frames[1::2] //= 2
    calls = []

    def engine(frames: np.ndarray) -> dict[str, Any]:
        calls.append(frames.shape)
        return red(frames)

    found = depth.estimate(FakeEngines(FAST, depth=engine), frames)
    assert found.shape == (9, 120, 200) and found.dtype == np.float32
    assert found.min((1, 2)).tolist() == [0] * 9 and found.max((1, 2)).tolist() == [1] * 9
    # in place, left to right, after two resizes
    assert np.abs(found - np.linspace(0, 1, 200)).max() < 0.03
    assert sum(shape[0] for shape in calls) == 9 and {shape[1:] for shape in calls} == {
        (308, 518, 3)
    }
    assert max(shape[0] * shape[1] * shape[2] for shape in calls) <= depth.PX_PER_CALL


def test_a_gpu_gets_whole_batches() -> None:
    assert depth.frames_per_call((518, 924), on_gpu=False) == 1
    assert depth.frames_per_call((518, 924), on_gpu=True) == depth.GPU_FRAMES
    assert depth.frames_per_call((140, 252), on_gpu=True) == depth.GPU_FRAMES
    assert depth.frames_per_call((518, 8 * 518), on_gpu=True) == 2  # strips
    calls = []

    def engine(frames: np.ndarray) -> dict[str, Any]:
        calls.append(len(frames))
        return red(frames)

    engines = FakeEngines(FAST, depth=engine)
    engines.device = "tensorrt"
    depth.estimate(engines, np.zeros((19, 480, 854, 3), np.uint8))
    assert calls == [8, 8, 3]


def test_constant_frames_give_zeros_without_warnings() -> None:
    assert not depth.estimate(FakeEngines(depth=red), np.full((2, 60, 80, 3), 7, np.uint8)).any()


def test_shrinking_far_does_not_alias() -> None:
    stripes = np.zeros((560, 560, 3), np.uint8)
    stripes[:, ::2] = 200  # one px wide: gone at a quarter of the size
    assert np.ptp(depth.resize(stripes, (140, 140))) <= 1


def test_one_frame_larger_than_a_call_still_runs() -> None:
    big = np.zeros((2, 30, 3000, 3), np.uint8)
    found = depth.estimate(FakeEngines(FAST, depth=red), big)
    assert found.shape == big.shape[:3]
