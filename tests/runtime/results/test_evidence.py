"""What a report shows of the way to a result is small, and spread over the clip."""

from __future__ import annotations

import numpy as np
import pytest
from samotion.prompts import ObjectPrompt
from samotion.results.evidence import LONG_SIDE_PX, Thumbnails, spread_frames, without_masks
from samotion.sam2 import Click


@pytest.mark.parametrize("count", [1, 2, 7, 60, 301])
def test_frames_with_pictures_are_few_even_and_spread(count: int) -> None:
    frames = spread_frames(count)
    assert frames == sorted(set(frames)) and 0 < len(frames) <= 8
    assert all(frame % 2 == 0 and frame < count for frame in frames)
    assert frames[0] <= count / 8 and frames[-1] >= count * 7 / 8 - 2


def test_thumbnails_are_of_the_frames_that_are_wanted() -> None:
    maps = np.zeros((60, 300, 500), np.float32) + np.linspace(0, 1, 60)[:, None, None]
    thumbnails = Thumbnails(60)
    for frame in thumbnails.frames:
        thumbnails.add(frame, maps[frame])
    assert sorted(thumbnails.by_frame) == spread_frames(60)
    for frame, picture in thumbnails.by_frame.items():
        assert picture.shape == (LONG_SIDE_PX * 3 // 5, LONG_SIDE_PX)
        assert np.abs(picture.astype(int) - round(frame / 59 * 255)).max() <= 1


def test_prompts_are_kept_without_their_masks() -> None:
    click = Click(1, 0, np.zeros((1, 2)), np.ones(1, np.int32), np.zeros((112, 112), np.float32))
    (kept,) = without_masks([ObjectPrompt(1, 0, np.arange(3), (click,))])
    assert kept.clicks[0].mask is None and kept.clicks[0].points_xy is click.points_xy
