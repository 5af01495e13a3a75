"""One object of a live source, followed frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import long_scene
from helpers.fakes import FakeEngines
from samotion.cues.guided_filter import refine_mask
from samotion.sam2.features import Features
from samotion.sam2.flow import Flow
from samotion.sam2.forward import FlowFollower

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("refine", [None, refine_mask])
def test_a_small_sam2_is_asked_on_every_second_frame(
    refine: Callable[[Array, Array], Array] | None,
) -> None:
    asked = []
    functions: dict[str, Any] = dict(long_scene.engines())
    prompt = functions["sam2_prompt"]

    def note(**arrays: Array) -> Any:
        asked.append(number)
        return prompt(**arrays)

    engines = FakeEngines(long_scene.PRESET, **functions | {"sam2_prompt": note})
    clip, truth = long_scene.frames(12), long_scene.masks(12)
    flow, follower = Flow(), FlowFollower(engines, refine)
    flow.push(clip[0])
    follower.prompt(Features(engines, clip[:1]), truth[0])
    for number in range(1, 12):
        flow.push(clip[number])
        mask = follower.follow(Features(engines, clip[number][None]), flow)
        assert (mask & truth[number]).sum() / (mask | truth[number]).sum() > 0.7
    assert asked == [1, 3, 5, 7, 9, 11]
