"""Lookups of disparity, quirks included, and the inputs of the motion net."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import disparity as reference
from helpers.fakes import FakeEngines
from samotion import depth, motion
from samotion.presets import FAST, NANO, Preset

HW = (6, 10)


def ramp() -> np.ndarray:
    """Disparity that names its own place: frame + row / 10 + column / 100."""
    t, y, x = np.mgrid[:2, : HW[0], : HW[1]]
    return (t + y / 10 + x / 100).astype(np.float32)


def test_saturate_is_the_16_bit_image_read_back_clipped() -> None:
    d = np.array([[[0, 1.1 / 65535, 100.4 / 65535, 100.9 / 65535, 254.99 / 65535, 0.5, 1]]])
    expected = np.array([[[0, 1 / 255, 100 / 255, 100 / 255, 254 / 255, 1, 1]]])
    assert reference.saturate(d) == pytest.approx(expected, abs=1e-6)


def test_saturate_equals_an_image_written_and_read_on_random_maps(rng: np.random.Generator) -> None:
    for spread in np.geomspace(1, 300, 200):
        d = (rng.random((1, 12, 16)) ** spread).astype(np.float32)
        d = (d - d.min()) / (d.max() - d.min())
        image = (65535 * d).astype(np.uint16)  # as a program writes it that does not round
        back = image.clip(0, 255).astype(np.float32) / np.float32(255)
        expected = (back - back.min()) / (back.max() - back.min())
        np.testing.assert_array_equal(reference.saturate(d), expected)


def test_saturate_normalises_each_frame_again() -> None:
    d = np.array([[[0.0, 0.001, 1]], [[0.5, 0.7, 1]]])
    got = reference.saturate(d)
    assert got[0].ravel() == pytest.approx([0, 65 / 255, 1], abs=1e-6)
    assert not got[1].any()  # all saturated: constant, so zeros


def test_misplaced_lookup_follows_its_definition(rng: np.random.Generator) -> None:
    disparity, xy = rng.random((3, *HW)), rng.uniform(-2, 12, (40, 3, 2)).astype(np.float32)
    got = reference.lookup_misplaced(disparity, xy, HW)
    for n in range(40):
        for t in range(3):
            px, py = np.clip(2 * xy[n, t] / np.array([10, 6], np.float32) - np.float32(1), -1, 1)
            # int() truncates toward zero
            index = int(py * np.float32(6)) * 10 + int(px * np.float32(10))
            assert got[n, t] == disparity[t].ravel()[min(max(index, 0), 59)]


def test_plain_lookup_is_bilinear_at_the_right_place() -> None:
    xy = np.array([[[3, 2], [3.5, 2]], [[3, 2.25], [9.4, 0]], [[-5, 99], [0, 5]]], np.float32)
    expected = [[0.23, 1.235], [0.255, 1.09], [0.5, 1.5]]
    assert motion.lookup(ramp(), xy, HW) == pytest.approx(np.array(expected), abs=1e-6)


def test_plain_lookup_takes_maps_of_another_size() -> None:
    corners = np.array([[[0, 0]], [[9, 5]], [[9, 0]]], np.float32)
    small = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    assert motion.lookup(small, corners, HW)[:, 0].tolist() == [1, 4, 2]


def test_score_hands_over_unit_positions() -> None:
    seen: dict[str, np.ndarray] = {}

    def engine(**inputs: np.ndarray) -> dict[str, Any]:
        seen.update(inputs)
        return {"score": np.full(len(inputs["xy"]), 0.5, np.float32)}

    xy = np.array([[[0, 0], [10, 6]], [[5, 3], [-4, 99]]], np.float32)
    ones = np.ones((2, 2), np.float32)
    rest = {
        "visibility": ones,
        "confidence": ones,
        "disparity": ones,
        "dino": np.zeros((2, 3), np.float32),
    }
    got = motion.score(FakeEngines(motion=engine), xy_px=xy, hw=HW, visible=ones > 0, **rest)
    assert got.tolist() == [0.5, 0.5]
    assert seen["xy"].tolist() == [[[-1, -1], [1, 1]], [[0, 0], [-1, 1]]]
    assert seen["xy"].dtype == np.float32 and seen["visible"].dtype == np.uint8


@pytest.mark.parametrize("preset, parts", [(FAST, [800]), (NANO, [267, 267, 266])])
def test_nano_scores_some_tracks_at_a_time(preset: Preset, parts: list[int]) -> None:
    """Every track gets its own score; the published method scores all at once."""
    seen: list[int] = []

    def engine(**inputs: np.ndarray) -> dict[str, Any]:
        seen.append(len(inputs["xy"]))
        return {"score": inputs["disparity"][:, 0]}

    numbers = np.arange(800, dtype=np.float32)[:, None]
    alike = {name: numbers for name in ("visibility", "confidence", "disparity", "dino")}
    positions = {"xy_px": np.zeros((800, 1, 2), np.float32), "visible": numbers >= 0}
    got = motion.score(FakeEngines(preset, motion=engine), hw=HW, **positions, **alike)
    assert seen == parts and got.tolist() == numbers[:, 0].tolist()


def test_no_tracks_no_scores() -> None:
    none = np.zeros((0, 4), np.float32)
    alike = dict.fromkeys(("visible", "visibility", "confidence", "disparity", "dino"), none)
    got = motion.score(FakeEngines(), xy_px=np.zeros((0, 4, 2)), hw=HW, **alike)
    assert got.shape == (0,)


@pytest.mark.parametrize("mode", ["reference", "plain"])
def test_disparity_under_tracks_is_that_of_whole_maps(mode: str, rng: np.random.Generator) -> None:
    """Only points are rescaled and saturated, to the same bits; one map is flat."""
    raw = rng.normal(5, 2, (3, 30, 40)).astype(np.float32)
    raw[1] = 7.5
    preset = replace(FAST, motion=replace(FAST.motion, disparity=mode))
    calls = iter(raw)
    engine: Any = FakeEngines(preset, depth=lambda frames: {"disparity": next(calls)[None]})
    xy = rng.uniform(-3, 45, (50, 3, 2)).astype(np.float32)
    tracks: Any = SimpleNamespace(xy=xy)
    frames = np.zeros((3, 30, 40, 3), np.uint8)
    maps = np.stack([depth.to_unit_range(one) for one in raw])
    kept: dict[int, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "PX_PER_CALL", 1)
        patch.setattr(depth, "resize", lambda image, hw, out=None: image)
        got = motion.disparity_under(engine, frames, tracks, None, kept.__setitem__, (0, 2))
    np.testing.assert_array_equal(got, reference.gather(maps, xy, (30, 40), mode))
    assert got.dtype == np.float32 and [*kept] == [0, 2]
    np.testing.assert_array_equal(kept[2], maps[2])
