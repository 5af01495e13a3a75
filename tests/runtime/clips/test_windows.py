"""Windows of a long clip: every frame in its place, answered by one of them."""

from __future__ import annotations

import numpy as np
import pytest
from samotion.clips.windows import Window, overlap_of, windows

FRAMES = 100


def windows_of(cuts: set[int], size: int, start: int = 0, shared: int = 0) -> list[Window]:
    """Those of frames that show their own number; each window's frames are kept."""
    marked = ((np.full((1, 2, 3), k, np.uint8), k in cuts) for k in range(FRAMES))
    found = windows(marked, size, start, shared)
    return [one._replace(frames=one.frames[:, 0, 0, 0].copy()) for one in found]


def told(some: list[Window]) -> list[tuple[int, list[int], int, bool]]:
    return [(one.start, one.frames.tolist(), one.shared, one.last) for one in some]


@pytest.mark.parametrize("cuts", [set(), {1}, {30}, {8, 14, 40, 99}, {0, 50}])
@pytest.mark.parametrize("size", [8, 11, 50, 99, 100, 140])
def test_windows_share_frames_within_a_scene_and_part_them(cuts: set[int], size: int) -> None:
    found, scene_ends = windows_of(cuts, size), {FRAMES, *cuts} - {0}
    answered: list[int] = []
    for number, one in enumerate(found):
        end = one.start + len(one.frames)
        assert one.frames.tolist() == list(range(one.start, end))
        assert one.last == (end in scene_ends) and (one.last or len(one.frames) == size)
        goes_on = number > 0 and not found[number - 1].last
        assert one.shared == (overlap_of(size) if goes_on else 0)
        assert one.answered.start == (one.shared + 1) // 2
        answered += one.frames[one.answered].tolist()
        assert told(windows_of(cuts, size, one.start, one.shared)) == told(found[number:])
    assert answered == list(range(FRAMES))


def test_neighbours_share_a_quarter_and_no_more_than_is_needed() -> None:
    assert [overlap_of(size) for size in (1, 8, 11, 128, 500)] == [1, 2, 2, 32, 32]
