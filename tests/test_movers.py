"""Sets of tracks are judged together: still things that stand out by parallax are no movers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from samotion import movers
from test_rigid import FRAMES, _scene, _tracks

HW = (256, 256)
GROUND, NEAR, GOING = np.arange(100), np.arange(100, 120), np.arange(120, 130)
SCORES = np.where(np.arange(130) < 100, 0.1, 0.9)
SURER = np.where(np.arange(130) < 100, 0.1, 0.999)
Maps: Any = list[np.ndarray]


def _maps(logit: float) -> Maps:
    return [np.full((64, 64), logit, np.float32)] * FRAMES


def test_what_sets_show() -> None:
    xy = _scene(own_px=2)
    shown = movers.traits([GROUND, NEAR, GOING], _tracks(xy), SCORES, HW, _maps(3))
    odds, parallax, speed, count, between = shown.T
    np.testing.assert_allclose(odds, np.log(9) * np.array([-1, 1, 1]), rtol=1e-3)
    assert parallax[1] > 1 > parallax[2]
    step = np.linalg.norm(np.diff(xy[GOING], axis=1), axis=-1).mean()
    assert speed[2] == pytest.approx(np.log(step + movers.SLOWEST_PX), rel=1e-3)
    np.testing.assert_allclose(np.exp(count), [100, 20, 10])
    np.testing.assert_allclose(between, [-movers.MAP_MOST, 3, 3])  # nothing is larger than the first


def test_the_way_to_a_larger_set_is_asked_where_the_two_are_nearest() -> None:
    xy = np.repeat(np.array([[20, 100], [60, 100], [64, 104], [120, 100]], np.float32)[:, None], FRAMES, axis=1)
    maps = _maps(5)
    maps = [np.where(np.arange(64) < 20, m, -2).astype(np.float32) for m in maps]  # no motion from 80 px on
    tracks, scores = _tracks(xy), np.full(4, 0.9)
    shown = movers.traits([np.arange(3), np.array([3])], tracks, scores, HW, maps)
    assert shown[1, 4] == -2
    shown = movers.traits([np.arange(1, 4), np.array([0])], tracks, scores, HW, maps)
    assert shown[1, 4] == 5


def test_parallax_speaks_against_a_set_and_scores_for_it() -> None:
    tracks = _tracks(_scene(own_px=2))

    def odds(one: np.ndarray, scores: np.ndarray) -> float:
        return float((movers.traits([one], tracks, scores, HW, None) @ movers.WEIGHTS)[0])

    assert odds(NEAR[:10], SCORES) < odds(GOING, SCORES) < odds(GOING, SURER)


def test_unsure_sets_are_movers_beside_a_sure_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = _tracks(_scene(own_px=2))
    monkeypatch.setattr(movers, "WEIGHTS", np.array([1.0, 0, 0, 0, 0]))
    monkeypatch.setattr(movers, "ON_ONE", np.array([1.0, 0]))
    for name, number in {"BIAS": -np.log(9), "ON_ONE_BIAS": -np.log(9), "LEAST": -1.0, "SURE": 1.0}.items():
        monkeypatch.setattr(movers, name, number)
    both = np.where(np.arange(130) < 120, SCORES, 0.99)
    for scores, kept in ((SCORES, []), (both, [NEAR, GOING])):
        found = movers.choose([GROUND, NEAR, GOING], tracks, scores, HW, None)
        assert [one.tolist() for one in found] == [one.tolist() for one in kept]


def test_sets_that_nothing_compares_with_a_still_scene_are_judged_by_the_rest() -> None:
    xy = _scene(own_px=2)[90:]  # ten still tracks are too few
    shown = movers.traits([np.arange(30, 40)], _tracks(xy), np.full(40, 0.9), HW, None)
    assert shown[0, 1] == 0 and np.isfinite(shown).all()
    assert np.isfinite(movers.traits([np.arange(3)], _tracks(xy[:, :1]), np.full(40, 0.9), HW, None)).all()


def test_no_sets_are_no_movers() -> None:
    assert movers.choose([], _tracks(_scene(own_px=2)), np.full(130, 0.5), HW, None) == []
