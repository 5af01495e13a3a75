"""The long clip: an object that is in view throughout, whatever part of the clip is rendered."""

from __future__ import annotations

import numpy as np
import pytest
from samotion_bench.scenes.render import render
from samotion_training import long_clip

HW = (45, 80)


@pytest.mark.parametrize("first", [0, 77, 600, 2999])
def test_the_fish_is_in_view_and_moves(first: int) -> None:
    labels = render(long_clip.scene(first, 2), HW).labels
    fish = labels == long_clip.FISH
    assert fish.sum(axis=(1, 2)).min() > 40
    assert (fish[0] != fish[1]).any()


def test_a_frame_is_the_same_in_whatever_part_it_is_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = [frame for frame, _ in long_clip.frames(5, HW)]
    monkeypatch.setattr(long_clip, "AT_ONCE", 2)
    parts = [frame for frame, _ in long_clip.frames(5, HW)]
    assert np.array_equal(whole, parts)
