"""One object of a live source, followed frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import long_scene
from helpers.overlap import iou
from samotion.cues.guided_filter import refine_mask
from samotion.sam2.features import Features
from samotion.sam2.flow import Flow, Leap, joined, own_motion, warped
from samotion.sam2.forward import FlowFollower, follower


def test_leaps_are_joined_in_their_order() -> None:
    x = np.arange(20, dtype=np.float32)[None].repeat(20, 0)
    first = Leap(np.zeros((1, 1, 3), np.uint8), np.dstack([x / 10, np.zeros_like(x)]))
    second = Leap(np.ones((1, 1, 3), np.uint8), np.full((20, 20, 2), 1, np.float32))
    both = joined([first, second], asks=False)
    assert both.frame is second.frame and not both.asks
    assert np.allclose(both.back[3, 5], [1 + 6 / 10, 1])  # by 1 px, and from there on
    assert np.allclose(both.back[3, 19], [1 + 19 / 10, 1])  # past the edge, as at the edge
    assert joined([first]).back is first.back


def test_flow_of_a_small_picture_takes_masks_at_their_own_size() -> None:
    mask = np.zeros((40, 80), bool)
    mask[10:20, 20:40] = True
    back = np.full((20, 20, 2), (-2, -1), np.float32)
    np.testing.assert_array_equal(warped(mask, back), np.roll(mask, (2, 8), (0, 1)))


def test_what_flow_drags_along_or_leaves_behind_does_not_change_a_shape() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:50] = True
    for right_px in (6, 16):
        there = np.roll(mask, (2, right_px), (0, 1))
        back = np.where(there[..., None], (-right_px, -2), (0, 0)).astype(np.float32)
        assert iou(warped(mask, back), there) < 0.85  # what it uncovers is taken for it
        assert np.array_equal(warped(mask, own_motion(mask, back)), there)
    x = np.arange(80, dtype=np.float32)
    growing = np.dstack([np.tile((35 - x) / 10, (60, 1)), np.zeros((60, 80), np.float32)])
    np.testing.assert_allclose(own_motion(mask, growing), growing, atol=1e-4)
    assert own_motion(np.zeros_like(mask), back) is back


@pytest.mark.parametrize(
    ("hw", "flow_hw"), [((300, 512), (150, 256)), ((128, 64), (128, 64)), ((8, 512), (16, 256))]
)
def test_flow_is_that_of_the_newest_frame_at_few_pixels(
    hw: tuple[int, int], flow_hw: tuple[int, int], rng: np.random.Generator
) -> None:
    flow, still = Flow(), rng.integers(0, 256, (*hw, 3), np.uint8)
    for frame in (still, 255 - still):
        flow.push(frame)
    moved = flow.back
    assert moved.shape == (*flow_hw, 2) and moved is flow.back
    flow.push(255 - still)
    assert flow.back is not moved and np.abs(flow.back).max() < 0.1


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


def test_memory_attends_to_its_last_prompts_and_frames_and_to_none_twice() -> None:
    """Memories are numbered by their frames, those of prompts from 100 on."""
    now, given = 0, []

    def memory(masks: np.ndarray, **_: np.ndarray) -> dict[str, np.ndarray]:
        return {"memory": np.full((1, 4, 1), 100 + now, np.float32)}

    def track(level0: np.ndarray, bank: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        given.append([bank[0, :, 0, 0].tolist(), *(inputs[k][0].tolist() for k in ("slot", "age"))])
        out = {"masks": level0[:, 0], "pointer": np.zeros((1, 4), np.float32)}
        return {**out, "memory": np.full((1, 4, 1), now, np.float32)}

    engines = long_scene.engines(sam2_memory=memory, sam2_track=track)
    clip, truth = long_scene.frames(7), long_scene.masks(7)
    images = [Features(engines, frame[None]) for frame in clip]
    one, flow = follower(engines), Flow()
    one.prompt(images[0], truth[0])
    for now in range(1, 7):
        assert iou(one.follow(images[now], flow), truth[now]) > 0.7
        if now in (3, 5):  # found again: frame 0 is no prompt any more
            one.prompt(images[now], truth[now])
    assert given[:2] == [[[100], [6], [1]], [[100, 1], [6, 0], [1, 0.5]]]
    assert given[-1][:2] == [[103, 105, 1, 2, 4], [6, 6, 4, 3, 1]]
    assert np.allclose(given[-1][2], np.array([3, 1, 2, 4, 5]) / 6)


@pytest.mark.parametrize(("side_px", "is_object"), [(1, False), (8, True)])
def test_what_memory_finds_has_no_holes_and_is_no_speck(side_px: int, is_object: bool) -> None:
    def track(bank: np.ndarray, **_: np.ndarray) -> dict[str, np.ndarray]:
        masks = np.full((1, 64, 64), -1, np.float32)
        masks[:, 20 : 20 + 3 * side_px, 20 : 20 + 3 * side_px] = 1
        masks[:, 20 + side_px, 20 + side_px] = -1
        return {"masks": masks, "pointer": np.zeros((1, 4)), "memory": bank[:, 0]}

    engines = long_scene.engines(sam2_track=track)
    images = Features(engines, long_scene.frames(1))
    one = follower(engines)
    one.prompt(images, long_scene.masks(1)[0])
    mask = one.follow(images, Flow())
    y, x = np.nonzero(mask)
    assert mask.sum() == (np.ptp(y) + 1) * (np.ptp(x) + 1) if is_object else not mask.any()


@pytest.mark.parametrize(("right_px", "counts"), [(4, True), (30, False)])
def test_an_answer_far_from_where_the_flow_leads_does_not_count(
    right_px: int, counts: bool
) -> None:
    """SAM 2 is asked for the mask with points and a mask that fades at its outline."""
    mask = long_scene.masks(1)[0]
    answer = np.roll(mask, right_px, axis=1)
    asked: dict[str, np.ndarray] = {}

    def prompt(**arrays: np.ndarray) -> dict[str, np.ndarray]:
        asked.update(arrays)
        logits = cv2.resize(np.where(answer, 1, -1).astype(np.float32), (64, 64))[None]
        return {"masks": logits, "pointer": np.zeros((1, 4)), "object_score": np.ones(1)}

    engines = long_scene.engines(sam2_prompt=prompt)
    images, one = Features(engines, long_scene.frames(1)), FlowFollower(engines, None)
    one.prompt(images, mask)
    still = Leap(long_scene.frames(1)[0], np.zeros((48, 80, 2), np.float32))
    assert iou(one.follow(images, still), answer if counts else mask) > 0.95
    xy = np.rint(asked["points"][0] * (80 / 256, 48 / 256)).astype(int)
    assert len(xy) == 3 and mask[xy[:, 1], xy[:, 0]].all()
    soft = cv2.resize(asked["mask_prompt"][0], (80, 48))
    assert iou(soft > 0, mask) > 0.85 and soft.min() == -6 and soft.max() > 5


def test_a_mask_is_refined_on_its_own_frame_and_a_speck_is_none() -> None:
    seen: list[np.ndarray] = []

    def refine(frame: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return np.roll(logits, 3, axis=1)

    mask, engines = long_scene.masks(1)[0], long_scene.engines()
    images = Features(engines, long_scene.frames(1))
    still = Leap(images.frames[0], np.zeros((48, 80, 2), np.float32), asks=False)
    one = FlowFollower(engines, refine)
    one.prompt(images, mask)
    assert iou(one.follow(images, still), np.roll(mask, 3, axis=1)) > 0.85
    np.testing.assert_array_equal(seen, images.frames)
    for width, stays in ((4, True), (3, False)):
        speck = np.zeros_like(mask)
        speck[20:23, 20 : 20 + width] = True
        one.prompt(images, speck)
        assert one.follow(images, still).any() == stays
