"""Objects are groups of tracks by average linkage of pairwise log odds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from helpers.camera_tracks import always_visible
from samotion.cues import grouping, movers, prompting
from samotion.presets import Prompting
from samotion.tracks.records import Tracks

HW = (120, 160)
FRAMES = 20
PROMPTING = Prompting()
TIME = np.arange(FRAMES, dtype=np.float32)[:, None]


def _square(left: int, top: int, step_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
    """36 points 4 px apart that move by `step_xy` px a frame: (36,T,2)."""
    x, y = np.meshgrid(np.arange(left, left + 24, 4), np.arange(top, top + 24, 4))
    return np.stack([x.ravel(), y.ravel()], 1)[:, None] + TIME * np.array(step_xy)


def _ground() -> np.ndarray:
    """Still points all over the picture: (300,T,2)."""
    x, y = np.meshgrid(np.arange(4, HW[1], 8), np.arange(4, HW[0], 8))
    return np.stack([x.ravel(), y.ravel()], 1)[:, None] + 0 * TIME


def _tracks(*groups: np.ndarray) -> Tracks:
    return always_visible(np.concatenate(groups).astype(np.float32))


class _Maps:
    """Motion maps (30,40) on which objects end one cell beside their tracks."""

    def __init__(self, tracks: Tracks) -> None:
        self._xy = tracks.xy

    def boundary(self, frame: int) -> np.ndarray:
        inside = np.zeros((30, 40), np.uint8)
        for x, y in (self._xy[:, frame] // 4).astype(int):
            inside[max(0, y) : y + 1, max(0, x) : x + 1] = 1
        return np.asarray(cv2.dilate(inside, np.ones((3, 3))) - inside, np.float32)


def _maps(tracks: Tracks) -> Any:
    return _Maps(tracks)


def _grouped(
    tracks: Tracks,
    moving: np.ndarray,
    candidates: np.ndarray | None = None,
    numbers: Prompting = PROMPTING,
    maps: Any = None,
) -> list[list[int]]:
    candidates = moving if candidates is None else candidates
    maps = _maps(tracks) if maps is None else maps
    groups = grouping.partition(tracks, moving, candidates, HW, maps, numbers)
    return [members.tolist() for members in groups]


def _two_squares() -> Tracks:
    """Side by side, with one motion."""
    return _tracks(_square(30, 40, (2, 0)), _square(54, 40, (2, 0)))


def test_neighbours_with_one_motion_are_one_object():
    assert _grouped(_two_squares(), np.arange(72)) == [list(range(72))]


def test_pairwise_features_are_what_they_are_said_to_be():
    xy = np.stack([[20, 40] + TIME * [2, 0], [44, 40] + TIME * [2, 0], [20, 60] + TIME * [4, 0]])
    tracks = _tracks(xy)
    tracks.visible[2, 10:] = False
    pairs, features = grouping.pairwise_features(tracks, np.arange(3), HW, _maps(tracks))
    assert [side.tolist() for side in pairs] == [[0, 0, 1], [1, 2, 2]]
    together, spacings, deviation, boundary = features.T
    np.testing.assert_allclose(np.expm1(together), [12, 6, 6])
    spacing = np.sqrt(HW[0] * HW[1] / np.array([3, 2]))  # of three tracks, and later of two
    np.testing.assert_allclose(np.expm1(spacings[0]), np.mean(24 / spacing))
    assert np.exp(deviation[0]) == pytest.approx(0.1, abs=1e-6) and np.exp(deviation[1]) > 5
    np.testing.assert_allclose(boundary, 1)  # each is an object by itself


def test_no_boundary_is_between_tracks_inside_one_object():
    tracks = _square(40, 40, (2, 0))
    _, features = grouping.pairwise_features(
        _tracks(tracks), np.arange(36), HW, _maps(_tracks(tracks))
    )
    np.testing.assert_allclose(features[:, 3], 0)


def test_tracks_never_visible_together_are_no_pair():
    tracks = _two_squares()
    tracks.visible[0, 10:] = tracks.visible[1, :10] = False
    (first, second), _ = grouping.pairwise_features(tracks, np.arange(72), HW, _maps(tracks))
    assert len(first) == 72 * 71 / 2 - 1 and not ((first == 0) & (second == 1)).any()


def test_objects_that_pass_each_other_are_two():
    tracks = _tracks(_square(10, 50, (6, 0)), _square(120, 50, (-6, 0)), _ground())
    assert _grouped(tracks, np.arange(72)) == [list(range(36)), list(range(36, 72))]


def test_limbs_of_one_body_are_one_object():
    """An upper and a lower arm that swing about the joint that both share."""
    along = np.linspace(0, 26, 14)
    angles = 0.5 * np.sin(TIME[:, 0] / 3), -0.7 * np.sin(TIME[:, 0] / 3)
    directions = [np.stack([np.cos(a), np.sin(a)], axis=-1) for a in angles]
    joint = np.array([80.0, 60.0]) + TIME * [1.0, 0.3]
    upper, lower = (
        joint + side * along[:, None, None] * direction
        for side, direction in zip((-1, 1), directions)
    )
    assert _grouped(_tracks(upper, lower), np.arange(28)) == [list(range(28))]


def test_part_features_are_mean_log_odds_and_how_much_of_both_is_in_view():
    log_odds = np.array(
        [
            [np.nan, 5, 1, np.nan],
            [5, np.nan, -4, np.nan],
            [1, -4, np.nan, 2],
            [np.nan, np.nan, 2, np.nan],
        ]
    )
    visible = np.ones((4, FRAMES), bool)
    visible[1, 10:] = visible[2, 5:] = visible[3, 10:] = False
    groups = [np.array([0, 1]), np.array([2]), np.array([3])]
    features = grouping.part_features(groups, log_odds, visible)
    np.testing.assert_allclose(features[0, 1:, 0], [-1.5, np.nan])
    np.testing.assert_allclose(features[1, 2, 0], 2)
    shares = [[0.625, 0.25, 0.5], [0.25] * 3, [0.5, 0.25, 0.5]]
    np.testing.assert_allclose(features[..., 1], shares)


@pytest.mark.parametrize(
    ("frames", "objects"), [(1, [[*range(72)]]), (20, [[*range(36)], [*range(36, 72)]])]
)
def test_parts_that_are_seen_in_turn_are_joined_more_readily(
    frames: int, objects: list[list[int]]
) -> None:
    side = np.arange(72) // 36
    log_odds = np.where(side[:, None] == side, 3.0, -0.3)
    visible = np.ones((72, FRAMES), bool)
    visible[36:, frames:] = False
    parts = [part.tolist() for part in grouping.average_linkage(log_odds)]
    assert parts == [[*range(36)], [*range(36, 72)]]
    assert [group.tolist() for group in grouping.objects(log_odds, visible)] == objects


def test_an_object_is_one_although_no_frame_shows_all_of_its_tracks():
    tracks = _tracks(_square(10, 50, (6, 0)), _square(12, 52, (6, 0)), _square(11, 51, (6, 0)))
    tracks.visible[:36, 10:] = False
    tracks.visible[36:72, :7] = False
    tracks.visible[72:] = False
    tracks.visible[72:, 5:12] = True
    assert _grouped(tracks, np.arange(108)) == [list(range(108))]


def test_an_outlier_of_the_tracker_does_not_split_an_object():
    xy = _square(40, 40)
    xy[:5, 7] += 90
    assert _grouped(_tracks(xy), np.arange(36)) == [list(range(36))]


def test_an_object_has_candidates_that_belong_to_its_moving_tracks():
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0)))
    assert _grouped(tracks, np.arange(8), np.arange(72)) == [list(range(36))]


def test_a_group_has_six_moving_tracks():
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0))[:5])
    assert _grouped(tracks, np.arange(41)) == [list(range(36))]


def test_the_largest_objects_come_first():
    tracks = _tracks(_square(10, 10, (2, 0))[:12], _square(120, 90, (-2, 0)), _ground())
    assert _grouped(tracks, np.arange(48)) == [list(range(12, 48)), list(range(12))]


def test_the_key_frame_shows_the_object():
    tracks = _tracks(_square(10, 10, (2, 0)))
    tracks.visible[:, :15] = False
    scores = np.full(36, 0.97)
    (one,) = prompting.group_objects(tracks, scores, scores > 0.5, _maps(tracks), HW, PROMPTING)
    assert one.key_frame >= 15


def test_nothing_moving_is_no_object():
    assert _grouped(_tracks(_square(10, 10, (2, 0))), np.arange(0)) == []


def test_objects_have_the_confidences_of_their_groups(monkeypatch: pytest.MonkeyPatch):
    tracks = _tracks(_square(10, 10, (2, 0)), _square(120, 90, (-2, 0)))
    monkeypatch.setattr(
        movers, "confidences", lambda groups, *_: [0.01 * group.min() for group in groups]
    )
    scores = np.full(72, 0.97)
    objects = prompting.group_objects(tracks, scores, scores > 0.5, _maps(tracks), HW, PROMPTING)
    assert [(one.object_id, one.confidence) for one in objects] == [(1, 0), (2, 0.36)]


def _brute_force(log_odds: np.ndarray) -> list[list[int]]:
    """Average linkage, all means computed anew in every round."""
    groups = [[k] for k in range(len(log_odds))]
    while len(groups) > 1:
        between = [
            (log_odds[np.ix_(a, b)], i, j)
            for i, a in enumerate(groups)
            for j, b in enumerate(groups)
            if i < j
        ]
        means = [(np.nanmean(x), i, j) for x, i, j in between if np.isfinite(x).any()]
        highest, i, j = max(means, default=(0, 0, 0))
        if highest <= 0:
            break
        rest = [group for k, group in enumerate(groups) if k not in (i, j)]
        groups = [*rest, groups[i] + groups[j]]
    return sorted(sorted(group) for group in groups)


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("known", [1.0, 0.4])
def test_average_linkage_joins_the_two_groups_with_the_highest_mean(count: int, known: float):
    rng = np.random.default_rng(count)
    noise = rng.normal(0, 1, (count, count))
    noise[rng.random(noise.shape) > known] = np.nan
    log_odds = noise + noise.T
    groups = sorted(group.tolist() for group in grouping.average_linkage(log_odds))
    assert groups == _brute_force(log_odds)


def test_the_groups_of_nothing_are_none():
    assert grouping.average_linkage(np.zeros((0, 0))) == []
