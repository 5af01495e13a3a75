"""Sizes, batches and the cell under a point around the DINO net."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion import dino
from samotion.presets import FAST, NANO


@pytest.mark.parametrize(
    ("hw", "short_side_px", "expected"),
    [
        ((480, 854), None, (490, 854)),  # 854 = 61 * 14 already
        ((140, 196), None, (140, 196)),
        ((480, 854), 196, (196, 350)),  # 348.7 rounded up
        ((854, 480), 196, (350, 196)),
        ((100, 100), 196, (196, 196)),
        ((3, 5), None, (14, 14)),
        ((100, 800), 140, (140, 1120)),
        ((100, 801), 140, (140, 1120)),  # from here on the longer side is held
        ((16, 2000), 140, (14, 1120)),
        ((1000, 4), 140, (1120, 14)),
    ],
)
def test_sides_are_rounded_up_to_multiples_of_14(
    hw: tuple[int, int], short_side_px: int | None, expected: tuple[int, int]
) -> None:
    assert dino.net_size(hw, short_side_px) == expected


def test_describe_gives_one_grid_per_frame_whatever_the_batches() -> None:
    calls = []

    def engine(frames: np.ndarray) -> dict[str, Any]:
        calls.append(frames.shape)
        return {"features": frames[:, ::7, ::7].astype(np.float32)}

    preset = replace(NANO, dino=replace(NANO.dino, short_side_px=196))
    frames = np.zeros((7, 100, 150, 3), np.uint8)
    frames[:] = np.arange(7)[:, None, None, None] * 30
    grids = dino.describe(FakeEngines(preset, dino=engine), frames)
    assert grids.shape == (7, 28, 42, 3)
    assert grids[:, 5, 5, 0].tolist() == [0, 30, 60, 90, 120, 150, 180]
    assert len(calls) > 1 and max(n * h * w for n, h, w, _ in calls) <= dino.PX_PER_CALL
    # its own size, 112 x 154
    assert dino.describe(FakeEngines(FAST, dino=engine), frames[:1]).shape == (1, 16, 22, 3)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1, 280, 280, 3), np.uint8)
    stripes[:, :, ::2] = 200  # one px wide: gone at half the size
    engines = FakeEngines(
        replace(NANO, dino=replace(NANO.dino, short_side_px=98)),
        dino=lambda frames: {"features": frames.astype(np.float32)},
    )
    assert np.ptp(dino.describe(engines, stripes)) < 70


def test_sample_takes_the_cell_by_the_published_rule() -> None:
    rows, columns, hw = 19, 27, (140, 196)
    features = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns, 1)
    xy = np.array(
        [[0, 0], [195.9, 139.9], [7.25, 7.36], [7.26, 7.37], [-3, 1000], [98, 70]], np.float32
    )
    expected = [
        (
            int(np.clip(np.floor(y * rows / hw[0]), 0, rows - 1)),
            int(np.clip(np.floor(x * columns / hw[1]), 0, columns - 1)),
        )
        for x, y in xy.astype(np.float64)
    ]
    assert expected[2:5] == [(0, 0), (1, 1), (18, 0)]
    assert dino.sample(features, xy, hw)[:, 0].tolist() == [
        row * columns + column for row, column in expected
    ]


def test_sample_of_no_points_is_empty() -> None:
    assert dino.sample(
        np.zeros((3, 4, 5), np.float32), np.zeros((0, 2), np.float32), (30, 40)
    ).shape == (0, 5)


def test_preset_decides_the_size() -> None:
    engines = FakeEngines(
        replace(NANO, dino=replace(NANO.dino, short_side_px=28)),
        dino=lambda frames: {"features": frames.astype(np.float32)},
    )
    assert dino.describe(engines, np.zeros((1, 60, 90, 3), np.uint8)).shape == (1, 28, 42, 3)
