"""Where another scene begins: a change of the whole picture, sudden and for good."""

import numpy as np
import pytest
from samotion.clips.cuts import LASTS_FRAMES, mark_cuts

HW = 90, 160


def scene(seed: int, length: int) -> list[np.ndarray]:
    """Frames of blocks of colour that shift by a pixel a frame."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 20, 3)).astype(np.uint8)
    wide = blocks.repeat(HW[0] // 5, 0).repeat(16, 1)
    return [wide[:, t : t + HW[1]] for t in range(length)]


def cuts_of(frames: list[np.ndarray]) -> list[int]:
    marked = list(mark_cuts(frames))
    assert all(given is frame for (given, _), frame in zip(marked, frames, strict=True))
    return [place for place, (_, is_cut) in enumerate(marked) if is_cut]


@pytest.mark.parametrize("size", [HW, (562, 1000), (31, 17)])
def test_another_scene_is_a_cut_at_any_size(size: tuple[int, int]) -> None:
    rows = np.arange(size[0]) * HW[0] // size[0]
    columns = np.arange(size[1]) * HW[1] // size[1]
    frames = [frame[rows][:, columns] for frame in scene(0, 10) + scene(1, 10)]
    assert cuts_of(frames) == [10]


def test_a_flash_and_a_dimmed_light_are_none() -> None:
    frames = scene(0, 24)
    frames[8] = np.full_like(frames[8], 255)
    frames[16:] = [frame // 3 for frame in frames[16:]]
    assert cuts_of(frames) == []


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_picture_is_a_scene(level: int) -> None:
    plain = [np.full((*HW, 3), level, np.uint8)] * 10
    assert cuts_of(scene(0, 10) + plain + scene(1, 10)) == [10, 20]


def test_a_scene_shorter_than_a_flash_is_none() -> None:
    short = LASTS_FRAMES - 1
    assert cuts_of(scene(0, 10) + scene(1, short) + scene(0, 10)) == []
    assert cuts_of(scene(0, 10) + scene(1, LASTS_FRAMES) + scene(0, 10)) == [10, 13]


def test_what_is_usual_must_be_known_first() -> None:
    """Neither with the clip's second frame, nor with the one right after a cut, a scene begins."""
    assert cuts_of(scene(0, 1) + scene(1, 10)) == []
    assert cuts_of(scene(0, 2) + scene(1, 10)) == [2]
    assert cuts_of(scene(0, 10) + scene(1, 1) + scene(2, 10)) == [10]


def test_change_that_is_usual_is_no_cut() -> None:
    assert cuts_of([frame for seed in range(8) for frame in scene(seed, 1)]) == []


def test_without_frames_there_is_nothing_to_mark() -> None:
    assert cuts_of([]) == []
