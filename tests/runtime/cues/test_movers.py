"""Sets of tracks are judged together: still things that stand out by parallax are no movers."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import GOING, HW, NEAR, PLANE, STILL, always_visible, plane_scene
from samotion.cues import bundle_adjustment as bundle
from samotion.cues import movers, parallax
from samotion.cues.contact import Ties

SCORES = np.where(STILL, 0.1, 0.9)
SURER = np.where(STILL, 0.1, 0.999)


def _ties(count: int, **known: dict[tuple[int, int], float]) -> Ties:
    """Nothing is known but what `alike` and `apart` have."""
    sides = np.full((2, count, count), np.nan)
    for side, name in zip(sides, Ties._fields):
        for (i, j), value in known.get(name, {}).items():
            side[i, j] = side[j, i] = value
    return Ties(*sides)


def test_what_sets_show() -> None:
    xy = plane_scene()
    ties = _ties(
        3, alike={(0, 1): 2.0, (0, 2): -4.0, (1, 2): 0.5}, apart={(0, 1): 1.5, (0, 2): 0.25}
    )
    shown = movers.traits([PLANE, NEAR, GOING], ties, always_visible(xy), SCORES, HW)
    odds, beside_plane, in_scene, speed, count, alike, near = shown.T
    np.testing.assert_allclose(odds, np.log(9) * np.array([-1, 1, 1]), rtol=1e-3)
    for own_motion in (beside_plane, in_scene):
        assert own_motion[1] < -1.5 and own_motion[2] > -0.5
    step = np.linalg.norm(np.diff(xy[GOING], axis=1), axis=-1).mean()
    assert speed[2] == pytest.approx(np.log(step + movers.SLOWEST_PX), rel=1e-3)
    np.testing.assert_allclose(np.exp(count), [200, 20, 20])
    # nothing is larger than the first
    np.testing.assert_allclose(alike, [movers.NO_LARGER, 2, 0.5])
    np.testing.assert_allclose(near, [movers.NO_LARGER, -1.5, -0.25])


def test_what_goes_with_a_larger_set_is_its_part() -> None:
    tracks = always_visible(plane_scene())

    def odds(ties: Ties) -> float:
        return float((movers.traits([NEAR, GOING], ties, tracks, SCORES, HW) @ movers.WEIGHTS)[1])

    assert odds(_ties(2, alike={(0, 1): 0}, apart={(0, 1): 0})) < odds(
        _ties(2, alike={(0, 1): -2}, apart={(0, 1): 2})
    )


def test_parallax_speaks_against_a_set_and_scores_for_it() -> None:
    tracks = always_visible(plane_scene())

    def odds(one: np.ndarray, scores: np.ndarray) -> float:
        return float(
            (
                movers.traits([one], _ties(1), tracks, scores, HW)[:, : len(movers.ON_ONE)]
                @ movers.ON_ONE
            )[0]
        )

    assert odds(NEAR[:10], SCORES) < odds(GOING, SCORES) < odds(GOING, SURER)


def test_unsure_sets_are_movers_beside_a_sure_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = always_visible(plane_scene())
    monkeypatch.setattr(movers, "WEIGHTS", np.array([1.0, 0, 0, 0, 0, 0, 0]))
    monkeypatch.setattr(movers, "ON_ONE", np.array([1.0, 0, 0]))
    for name, number in {
        "BIAS": -np.log(9),
        "ON_ONE_BIAS": -np.log(9),
        "LEAST": -1.0,
        "SURE": 1.0,
    }.items():
        monkeypatch.setattr(movers, name, number)
    both = np.where(np.arange(240) < 220, SCORES, 0.99)
    for scores, kept in ((SCORES, []), (both, [NEAR, GOING])):
        found = movers.choose([PLANE, NEAR, GOING], _ties(3), tracks, scores, HW)
        assert [one.tolist() for one in found] == [one.tolist() for one in kept]


def test_sets_that_nothing_compares_with_a_still_scene_are_judged_by_the_rest() -> None:
    xy = plane_scene()[190:]  # ten still tracks are too few
    shown = movers.traits([np.arange(30, 40)], _ties(1), always_visible(xy), np.full(50, 0.9), HW)
    assert shown[0, 1:3].tolist() == [parallax.UNKNOWN, bundle.UNKNOWN] and np.isfinite(shown).all()
    alone = movers.traits([np.arange(3)], _ties(1), always_visible(xy[:, :1]), np.full(50, 0.9), HW)
    assert np.isfinite(alone).all()


def test_no_sets_are_no_movers() -> None:
    assert movers.choose([], _ties(0), always_visible(plane_scene()), np.full(240, 0.5), HW) == []
