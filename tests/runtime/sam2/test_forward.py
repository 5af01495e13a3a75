"""One object of a live source, followed frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import long_scene
from helpers.overlap import iou
from samotion.cues.guided_filter import refine_mask
from samotion.sam2.features import Features
from samotion.sam2.flow import Flow, Leap, joined, warped
from samotion.sam2.forward import FlowFollower


def test_leaps_are_joined_in_their_order() -> None:
    x = np.arange(20, dtype=np.float32)[None].repeat(20, 0)
    first = Leap(np.zeros((1, 1, 3), np.uint8), np.dstack([x / 10, np.zeros_like(x)]))
    second = Leap(np.ones((1, 1, 3), np.uint8), np.full((20, 20, 2), 1, np.float32))
    both = joined([first, second], asks=False)
    assert both.frame is second.frame and not both.asks
    assert np.allclose(both.back[3, 5], [1 + 6 / 10, 1])  # by 1 px, and from there on
    assert joined([first]).back is first.back


def test_flow_of_a_small_picture_takes_masks_at_their_own_size() -> None:
    mask = np.zeros((40, 80), bool)
    mask[10:20, 20:40] = True
    back = np.full((20, 20, 2), (-2, -1), np.float32)
    np.testing.assert_array_equal(warped(mask, back), np.roll(mask, (2, 8), (0, 1)))


@pytest.mark.parametrize("refine", [None, refine_mask])
def test_a_small_sam2_is_asked_on_every_second_frame(
    refine: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
) -> None:
    asked = []
    prompt = long_scene.engines()["sam2_prompt"]

    def note(**arrays: np.ndarray) -> Any:
        asked.append(number)
        return prompt(**arrays)

    engines = long_scene.engines(sam2_prompt=note)
    clip, truth = long_scene.frames(12), long_scene.masks(12)
    flow, follower = Flow(), FlowFollower(engines, refine)
    flow.push(clip[0])
    follower.prompt(Features(engines, clip[:1]), truth[0])
    for number in range(1, 12):
        flow.push(clip[number])
        mask = follower.follow(Features(engines, clip[number][None]), flow)
        assert iou(mask, truth[number]) > 0.7
    assert asked == [1, 3, 5, 7, 9, 11]
