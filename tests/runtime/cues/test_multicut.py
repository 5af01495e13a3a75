"""Objects are sets of tracks that show, pair by pair, that they belong together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from samotion.cues import movers, multicut
from samotion.presets import Prompting
from samotion.tracks.tracking import Tracks

HW = (120, 160)
FRAMES = 20
PROMPTING = Prompting()
TIME = np.arange(FRAMES, dtype=np.float32)[:, None]


def _square(left: int, top: int, step_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
    """36 points 4 px apart that go `step_xy` px a frame: (36,T,2)."""
    x, y = np.meshgrid(np.arange(left, left + 24, 4), np.arange(top, top + 24, 4))
    return np.stack([x.ravel(), y.ravel()], 1)[:, None] + TIME * np.array(step_xy)


def _tracks(*sets: np.ndarray) -> Tracks:
    xy = np.concatenate(sets).astype(np.float32)
    seen = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, seen > 0, seen, seen, np.zeros(len(xy), int), xy[:, 0])


def _maps(tracks: Tracks) -> Any:
    """Motion maps (T,30,40) that see motion on and right beside tracks."""
    maps = np.full((FRAMES, 30, 40), -6, np.float32)
    for t in range(FRAMES):
        for x, y in (tracks.xy[:, t] // 4).astype(int):
            maps[t, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 4
    return maps


def _find(
    tracks: Tracks,
    moving: np.ndarray,
    likely: np.ndarray | None = None,
    max_objects: int = 10,
    prompting: Prompting = PROMPTING,
    maps: Any = None,
) -> list[list[int]]:
    likely = np.isin(np.arange(len(tracks)), moving) if likely is None else likely
    scores = np.where(likely, 0.97, 0.1)
    maps = _maps(tracks) if maps is None else maps
    found = multicut.find(tracks, scores, moving, likely, HW, maps, prompting, max_objects)
    assert [one.object_id for one in found] == list(range(1, len(found) + 1))
    return [one.members.tolist() for one in found]


def _two_rows() -> Tracks:
    """Two squares side by side that move alike."""
    return _tracks(_square(30, 40, (2, 0)), _square(54, 40, (2, 0)))


def test_neighbours_that_move_alike_are_one_object():
    assert _find(_two_rows(), np.arange(72)) == [list(range(72))]


def test_what_pairs_of_tracks_show():
    xy = np.stack([[20, 40] + TIME * [2, 0], [44, 40] + TIME * [2, 0], [20, 60] + TIME * [4, 0]])
    tracks = _tracks(xy)
    tracks.visible[2, 10:] = False
    scores, spacing = np.array([0.5, 0.5, 0.9]), np.full(FRAMES, 12.0)
    pairs, shown = multicut.traits(tracks, scores, HW, spacing, _maps(tracks))
    assert [one.tolist() for one in pairs] == [[0, 0, 1], [1, 2, 2]]
    together, spaced, drift, between, score = shown.T
    np.testing.assert_allclose(np.expm1(together), [12, 6, 6])
    np.testing.assert_allclose(np.expm1(spaced[0]), 24 / 12)
    assert np.exp(drift[0]) == pytest.approx(0.1, abs=1e-6) and np.exp(drift[1]) > 5
    np.testing.assert_allclose(between, -6)  # the ground between them stands
    np.testing.assert_allclose(score, [0, np.log(9), np.log(9)], rtol=1e-3)
    np.testing.assert_allclose(multicut.traits(tracks, scores, HW, spacing, None)[1][:, 3], 0)


def test_tracks_never_seen_together_show_nothing():
    tracks = _two_rows()
    tracks.visible[0, 10:] = tracks.visible[1, :10] = False
    (first, second), _ = multicut.traits(tracks, np.full(72, 0.9), HW, np.ones(FRAMES), None)
    assert len(first) == 72 * 71 / 2 - 1 and not ((first == 0) & (second == 1)).any()


def test_objects_that_pass_each_other_stay_apart():
    tracks = _tracks(_square(10, 50, (6, 0)), _square(120, 50, (-6, 0)))
    assert _find(tracks, np.arange(72)) == [list(range(36)), list(range(36, 72))]


def test_limbs_of_one_body_are_one_object():
    """An upper and a lower arm that swing about the joint that both share."""
    along = np.linspace(0, 26, 14)
    angles = 0.5 * np.sin(TIME[:, 0] / 3), -0.7 * np.sin(TIME[:, 0] / 3)
    turn = [np.stack([np.cos(a), np.sin(a)], axis=-1) for a in angles]
    joint = np.array([80.0, 60.0]) + TIME * [1.0, 0.3]
    upper, lower = (joint + side * along[:, None, None] * way for side, way in zip((-1, 1), turn))
    assert _find(_tracks(upper, lower), np.arange(28)) == [list(range(28))]


def _pairs(log_odds: np.ndarray, xy: np.ndarray) -> multicut.Pairs:
    return multicut.Pairs(xy, np.ones(xy.shape[:2], bool), log_odds)


def test_the_ties_of_sets_are_means_of_what_is_known_of_their_tracks():
    log_odds = np.array(
        [
            [np.nan, 5, 1, np.nan],
            [5, np.nan, -4, np.nan],
            [1, -4, np.nan, 2],
            [np.nan, np.nan, 2, np.nan],
        ]
    )
    xy = (
        np.array([[10, 10], [20, 10], [20, 14], [90, 90]])[:, None]
        + TIME * np.array([[0, 0], [0, 0], [0, 1], [0, 1]])[:, None]
    )
    ties = _pairs(log_odds, xy).ties([np.array([0, 1]), np.array([2]), np.array([3])])
    np.testing.assert_allclose(ties.alike[0, 1:], [-1.5, np.nan])
    np.testing.assert_allclose(ties.alike[1, 2], 2)
    np.testing.assert_allclose(np.exp(ties.apart[0, 1:]), [4.1, 4.1])
    np.testing.assert_allclose(ties.apart, ties.apart.T)


@pytest.mark.parametrize(
    ("step_x", "objects"), [(1.0, [[*range(72)]]), (9.0, [[*range(36)], [*range(36, 72)]])]
)
def test_parts_are_one_object_unless_they_go_apart(step_x: float, objects: list[list[int]]):
    side = np.arange(72) // 36
    log_odds = np.where(side[:, None] == side, 3.0, 0.5)
    pairs = _pairs(log_odds, np.concatenate([_square(0, 0, (1, 0)), _square(30, 0, (step_x, 0))]))
    assert [one.tolist() for one in pairs.parts()] == [[*range(36)], [*range(36, 72)]]
    assert [one.tolist() for one in pairs.objects()] == objects


def test_an_object_is_one_although_no_frame_sees_all_of_its_tracks():
    tracks = _tracks(_square(10, 50, (6, 0)), _square(12, 52, (6, 0)), _square(11, 51, (6, 0)))
    tracks.visible[:36, 10:] = False
    tracks.visible[36:72, :7] = False
    tracks.visible[72:] = False
    tracks.visible[72:, 5:12] = True
    assert _find(tracks, np.arange(108)) == [list(range(108))]


def test_a_slip_of_the_tracker_parts_nothing():
    xy = _square(40, 40)
    xy[:5, 7] += 90
    assert _find(_tracks(xy), np.arange(36)) == [list(range(36))]


def test_an_object_grows_to_likely_tracks_that_hang_together_with_sure_ones():
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0)))
    assert _find(tracks, np.arange(8), np.ones(72, bool)) == [list(range(36))]


def test_a_set_has_six_sure_tracks_unless_there_are_no_six():
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0))[:5])
    for moving, kept in ((np.arange(41), np.arange(36)), (np.arange(36, 40), np.arange(36, 40))):
        likely = np.isin(np.arange(41), moving)
        (found,), _ = multicut.split(
            tracks, np.where(likely, 0.9, 0.1), moving, likely, HW, _maps(tracks), PROMPTING
        )
        np.testing.assert_array_equal(found, kept)


def test_the_largest_objects_come_first_and_stay_when_there_are_too_many():
    tracks = _tracks(_square(10, 10, (2, 0))[:12], _square(120, 90, (-2, 0)))
    assert _find(tracks, np.arange(48), max_objects=1) == [list(range(12, 48))]


def test_the_key_frame_shows_the_object():
    tracks = _tracks(_square(10, 10, (2, 0)))
    tracks.visible[:, :15] = False
    every = np.ones(36, bool)
    (found,) = multicut.find(tracks, 0.97 * every, np.arange(36), every, HW, None, PROMPTING, 10)
    assert found.key_frame >= 15


def test_nothing_moving_and_nothing_surely_seen_are_no_objects():
    tracks = _tracks(_square(10, 10, (2, 0)))
    assert _find(tracks, np.arange(0)) == []
    unsure = replace(tracks, confidence=np.zeros_like(tracks.confidence))
    assert _find(unsure, np.arange(36)) == []


def test_sets_that_do_not_look_like_movers_are_no_objects(monkeypatch: pytest.MonkeyPatch):
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0)))
    monkeypatch.setattr(movers, "choose", lambda sets, *_: [one for one in sets if one.min() >= 36])
    assert _find(tracks, np.arange(72)) == [list(range(36, 72))]


def _by_trial(log_odds: np.ndarray) -> list[list[int]]:
    """The same greedy contraction, the slow and obvious way."""
    sets = [[k] for k in range(len(log_odds))]
    while len(sets) > 1:
        sums = [
            (log_odds[np.ix_(a, b)].sum(), i, j)
            for i, a in enumerate(sets)
            for j, b in enumerate(sets)
            if i < j
        ]
        most, i, j = max(sums)
        if most <= 0:
            break
        sets = [one for k, one in enumerate(sets) if k not in (i, j)] + [sets[i] + sets[j]]
    return sorted(sorted(one) for one in sets)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_multicut_is_the_greedy_one(count: int):
    noise = np.random.default_rng(count).normal(-0.1, 1, (count, count))
    log_odds = noise + noise.T
    assert sorted(one.tolist() for one in multicut.multicut(log_odds)) == _by_trial(log_odds)


def test_nothing_is_cut_into_nothing():
    assert multicut.multicut(np.zeros((0, 0))) == []
