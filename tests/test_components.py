"""Objects are sets of tracks that stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from samotion import components
from samotion.presets import Prompting
from samotion.tracks import Tracks

HW = (120, 160)
FRAMES = 20
PROMPTING = Prompting(style="clicks+mask")
TIME = np.arange(FRAMES, dtype=np.float32)[:, None]


def _square(left: int, top: int, step_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
    """36 points 4 px apart that go `step_xy` px a frame: (36,T,2)."""
    x, y = np.meshgrid(np.arange(left, left + 24, 4), np.arange(top, top + 24, 4))
    return np.stack([x.ravel(), y.ravel()], 1)[:, None] + TIME * np.array(step_xy)


def _tracks(*sets: np.ndarray) -> Tracks:
    xy = np.concatenate(sets).astype(np.float32)
    seen = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, seen > 0, seen, seen, np.zeros(len(xy), int), xy[:, 0])


def _find(
    tracks: Tracks, moving: np.ndarray, likely: np.ndarray | None = None, max_objects: int = 10
) -> list[list[int]]:
    likely = np.isin(np.arange(len(tracks)), moving) if likely is None else likely
    found = components.find(tracks, moving, likely, HW, PROMPTING, max_objects)
    assert [one.object_id for one in found] == list(range(1, len(found) + 1))
    return [one.members.tolist() for one in found]


def test_objects_that_pass_each_other_stay_apart():
    tracks = _tracks(_square(10, 50, (6, 0)), _square(120, 50, (-6, 0)))
    assert _find(tracks, np.arange(72)) == [list(range(36)), list(range(36, 72))]


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
    tracks = _tracks(_square(10, 10), _square(120, 90))
    assert _find(tracks, np.arange(8), np.ones(72, bool)) == [list(range(36))]


def test_an_object_has_six_sure_tracks_unless_there_are_no_six():
    tracks = _tracks(_square(10, 10), _square(120, 90)[:5])
    assert _find(tracks, np.arange(41)) == [list(range(36))]
    assert _find(tracks, np.arange(36, 40)) == [list(range(36, 40))]


def test_the_largest_objects_come_first_and_stay_when_there_are_too_many():
    tracks = _tracks(_square(10, 10)[:12], _square(120, 90))
    assert _find(tracks, np.arange(48), max_objects=1) == [list(range(12, 48))]


def test_the_key_frame_shows_the_object():
    tracks = _tracks(_square(10, 10))
    tracks.visible[:, :15] = False
    (found,) = components.find(tracks, np.arange(36), np.ones(36, bool), HW, PROMPTING, 10)
    assert found.key_frame >= 15


def test_nothing_moving_and_nothing_surely_seen_are_no_objects():
    tracks = _tracks(_square(10, 10))
    assert _find(tracks, np.arange(0)) == []
    unsure = replace(tracks, confidence=np.zeros_like(tracks.confidence))
    assert _find(unsure, np.arange(36)) == []


def test_sets_far_smaller_than_the_largest_are_dropped_where_the_preset_says_so():
    tracks = _tracks(_square(10, 10), _square(120, 90)[:7])
    for share, kept in ((0.1, [36, 7]), (0.3, [36])):
        found = components.find(tracks, np.arange(43), np.ones(43, bool), HW, replace(PROMPTING, least_share=share), 10)
        assert [len(one.members) for one in found] == kept
