"""The published prompts: each rule by an example, and all of them against a literal reading on
random scenes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.standing_tracks import HW, grid, tracks_at
from samotion import prompts
from samotion.errors import UsageError
from samotion.presets import NANO, REFERENCE
from samotion.sam2 import Click
from samotion.tracks.records import Tracks
from samotion_bench import published, stand_in

PUBLISHED = REFERENCE.prompting
SCENES = 24


def boxes(*known: tuple[int, int, int]):
    """A perfect segmenter: the box (left, top, size) that holds the first click, else nothing."""

    def segment(click: Click) -> np.ndarray:
        mask = np.zeros(HW, bool)
        x, y = click.points_xy[0]
        for left, top, size in known:
            if left <= x < left + size and top <= y < top + size:
                mask[top : top + size, left : left + size] = True
        return mask

    return segment


def find(tracks: Tracks, segment, **options) -> list[prompts.ObjectPrompt]:
    """All tracks move."""
    return prompts.published(tracks, np.ones(len(tracks.xy)), segment, HW, PUBLISHED, **options)


@pytest.mark.parametrize(("high", "expected"), [(10, 10), (12, 12)])
def test_select_moving_takes_the_first_threshold_that_leaves_ten(high, expected):
    scores = np.full(100, 0.1, np.float32)
    scores[:high] = 0.96
    scores[high : high + 5] = 0.92
    assert len(prompts.select_moving(scores, 24, PUBLISHED)) == expected


def test_select_moving_lowers_the_threshold_step_by_step():
    scores = np.full(100, 0.1, np.float32)
    scores[:9] = 0.96
    scores[9:12] = 0.86
    assert len(prompts.select_moving(scores, 24, PUBLISHED)) == 12
    assert prompts.motion_threshold(scores, 24, PUBLISHED) == 0.85
    assert prompts.motion_threshold(scores[:8], 24, PUBLISHED) is None


def test_long_clips_use_their_own_thresholds():
    scores = np.concatenate([np.full(10, 0.995), np.full(10, 0.96)]).astype(np.float32)
    assert len(prompts.select_moving(scores, 300, PUBLISHED)) == 20
    assert len(prompts.select_moving(scores, 301, PUBLISHED)) == 10


def test_without_movers_the_reference_takes_three_tracks_and_nano_none():
    scores = np.linspace(0, 0.4, 50, dtype=np.float32)
    assert list(prompts.select_moving(scores, 24, PUBLISHED)) == [47, 48, 49]
    assert len(prompts.select_moving(scores, 24, NANO.prompting)) == 0


def frames_with(counts: list[int]) -> np.ndarray:
    """visible (N,T) with as many points in each frame."""
    return np.arange(max(counts))[:, None] < np.array(counts)


@pytest.mark.parametrize(
    ("counts", "frame"),
    [
        # int(0.2 * 10) = 2 of the three nines: the later ones, 3 and 7
        ([5, 9, 1, 9, 1, 1, 1, 9, 1, 1], 7),
        ([1, 1, 1, 1, 7, 1, 1, 8, 1], 7),  # int(0.2 * 9) is 1, not 2
        ([2, 2, 2, 2, 2], 4),  # all equal: the last of an ascending sort
        ([0, 3, 3, 3], 2),  # int(0.2 * 4) is 0: all frames
        ([9, 0, 0], 0),  # ... of which the middle one shows nothing
        ([0] * 9 + [1] + [0] * 20, 9),  # the fifth is six frames, its middle shows nothing
    ],
)
def test_the_key_frame_is_the_middle_of_the_busiest_fifth(counts, frame):
    assert prompts.busiest_frame(frames_with(counts)) == frame


def test_densest_and_spread():
    points = np.array([[0, 0], [10, 0], [11, 0], [12, 0], [40, 0]], np.float32)
    assert prompts.densest(points) == 2
    assert list(prompts.spread(points)) == [3, 0, 4]
    assert len(prompts.spread(points[:2])) == 3


def test_points_outside_lie_on_the_border():
    mask = np.zeros(HW, bool)
    mask[:, 0] = mask[-1] = True
    points = np.array(
        [[0, 0], [-40, 5], [0.9, 5], [-0.9, 5], [1, 5], [80, 400], [160, 5]], np.float32
    )
    assert list(prompts.inside(mask, points)) == [True, True, True, True, False, True, False]


def test_tracks_that_leave_the_picture_join_the_object_at_its_border():
    tracks = tracks_at(np.concatenate([grid(0, 40, 12), np.full((4, 2), [-20, 45], np.float32)]))
    (found,) = find(tracks, boxes((0, 40, 12)))
    assert list(found.members) == list(range(13))


def test_dilate_grows_by_the_kernel_of_the_original():
    mask = np.zeros((60, 60), bool)
    mask[30, 30] = True
    expected = np.zeros_like(mask)
    expected[24:40, 24:40] = True
    np.testing.assert_array_equal(prompts.dilate(mask), expected)


def test_two_objects_leave_no_track_twice():
    tracks = tracks_at(np.concatenate([grid(20, 20, 24), grid(100, 70, 24)]))
    found = find(tracks, boxes((20, 20, 24), (100, 70, 24)))
    assert [f.object_id for f in found] == [1, 2]
    assert sorted(np.concatenate([f.members for f in found])) == list(range(72))


def test_an_object_has_six_tracks():
    tracks = tracks_at(np.concatenate([grid(20, 20, 24), grid(100, 70, 8)]))  # 36 and 4
    (found,) = find(tracks, boxes((20, 20, 24), (100, 70, 8)))
    assert len(found.members) == 36


def test_there_is_no_further_round_while_fewer_than_six_tracks_are_free():
    clicked = []

    def segment(click: Click) -> np.ndarray:
        clicked.append(click)
        return boxes((20, 20, 24))(click)

    tracks = tracks_at(
        np.concatenate([grid(20, 20, 24), grid(100, 70, 8)[:3], grid(140, 20, 8)[:2]])
    )
    prompts.group(tracks, np.arange(41), segment, HW, PUBLISHED, 10)
    assert len(clicked) == 1, "5 of 41 are free after the first round"


def test_the_three_best_tracks_make_one_object():
    tracks = tracks_at(np.array([[30, 30], [32, 30], [90, 90]], np.float32))
    scores = np.array([0.3, 0.2, 0.1])
    found = prompts.published(tracks, scores, boxes((25, 25, 12), (85, 85, 12)), HW, PUBLISHED)
    assert len(found) == 1 and list(found[0].members) == [0, 1]
    assert found[0].confidence == pytest.approx(0.25)


def test_objects_that_move_too_improbably_are_left_out_and_the_surest_counts_for_the_clip():
    objects = [prompts.ObjectPrompt(k, 0, np.arange(1), (), c) for k, c in enumerate((0.4, 0.6))]
    kept, confidence = prompts.select_sure(objects, 0.5)
    assert ([one.object_id for one in kept], confidence) == ([1], 0.6)
    assert prompts.select_sure(objects, 0.7) == ([], 0.6)
    assert prompts.select_sure([], 0.0) == ([], 0.0)


def test_a_click_that_misses_costs_its_track_alone():
    tracks = tracks_at(np.concatenate([grid(20, 20, 12, 1)[:7], grid(100, 70, 24)]))
    assert [len(f.members) for f in find(tracks, boxes((100, 70, 24)))] == [36]
    assert find(tracks, boxes()) == []


def test_the_number_of_objects_has_a_limit():
    tracks = tracks_at(np.concatenate([grid(20, 20, 24), grid(100, 70, 24)]))
    assert len(find(tracks, boxes((20, 20, 24), (100, 70, 24)), max_objects=1)) == 1


def test_objects_may_be_changed_before_they_are_prompted():
    """As where those of an earlier window are known."""
    tracks = tracks_at(np.concatenate([grid(20, 20, 24), grid(100, 70, 24)]))
    given = find(tracks, boxes((20, 20, 24), (100, 70, 24)))
    again = [replace(given[1], object_id=7)]
    (found,) = find(tracks, boxes((100, 70, 24)), regroup=lambda objects: again)
    assert found.object_id == 7 and {click.object_id for click in found.clicks} == {7}


def test_unsure_tracks_do_not_prompt():
    tracks = tracks_at(grid(20, 20, 24))
    tracks = replace(tracks, confidence=np.full_like(tracks.confidence, 0.9))
    assert find(tracks, boxes((20, 20, 24))) == []


def test_the_key_frame_and_every_sixteenth_are_clicked():
    (found,) = find(tracks_at(grid(20, 20, 24)), boxes((20, 20, 24)))
    assert found.key_frame == 18 and [click.frame for click in found.clicks] == [0, 16, 18]
    assert all(len(click.points_xy) == 1 and click.mask is None for click in found.clicks)


def test_three_points_follow_the_one_click_on_the_same_frame():
    tracks = tracks_at(grid(20, 20, 24))
    found = prompts.prompt(
        prompts.ObjectPrompt(3, 5, np.arange(36)), tracks, boxes((20, 20, 20)), PUBLISHED
    )
    assert [(c.object_id, c.frame, len(c.points_xy)) for c in found.clicks] == [
        (3, frame, points) for frame in (0, 5, 16) for points in (1, 3)
    ]
    assert all(click.labels.all() for click in found.clicks)


@pytest.mark.parametrize(("covered", "calls"), [(7, 1), (6, 2)])
def test_seventy_percent_of_the_points_are_enough(covered, calls):
    xy = np.stack([np.arange(10), np.zeros(10)], axis=1).astype(np.float32)
    mask = np.zeros(HW, bool)
    mask[0, :covered] = True
    assert len(prompts.clicks_on(1, 0, xy, lambda click: mask)) == calls


def test_a_lone_point_is_given_twice():
    lone = np.array([[30, 40]], np.float32)
    one, two = prompts.clicks_on(1, 0, lone, boxes())
    assert one.points_xy.tolist() == [[30, 40]] and two.points_xy.tolist() == [[30, 40], [30, 40]]
    assert list(two.labels) == [1, 1]


def test_frames_where_the_object_is_hidden_are_not_clicked():
    tracks = tracks_at(grid(20, 20, 24))
    tracks.visible[:, 16] = False
    visible = prompts.visible_members(prompts.ObjectPrompt(1, 5, np.arange(36)), tracks, PUBLISHED)
    assert list(visible) == [0, 5] and all(len(here) == 36 for here in visible.values())


def test_the_last_frame_alone_can_be_clicked():
    tracks = tracks_at(grid(20, 20, 24))
    one, last = prompts.ObjectPrompt(1, 5, np.arange(36)), tracks.xy.shape[1] - 1
    assert list(prompts.visible_members(one, tracks, PUBLISHED, only_last=True)) == [last]
    tracks.visible[:, last] = False
    assert not prompts.visible_members(one, tracks, PUBLISHED, only_last=True)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(UsageError, match=r"mask of \(3, 4\); expected \(120, 160\)"):
        find(tracks_at(grid(20, 20, 24)), lambda click: np.ones((3, 4), bool))


@pytest.mark.parametrize("seed", range(SCENES))
def test_scenes_are_prompted_and_labelled_as_by_a_literal_reading(seed):
    scene = stand_in.random_scene(seed)
    ours, theirs = published.find(scene), published.find_literally(scene)
    assert [(f.key_frame, list(f.members)) for f in ours] == [(f.frame, f.tracks) for f in theirs]
    for mine, other in zip(ours, theirs):
        got = {
            frame: [points.tolist() for points in calls]
            for frame, calls in published.calls(mine).items()
        }
        want = {
            frame: [[list(p) for p in points] for points in calls]
            for frame, calls in other.calls.items()
        }
        assert got == want
    wanted = published.label_literally(scene, theirs)
    np.testing.assert_array_equal(published.label(scene, ours), wanted)


def test_the_scenes_show_what_is_compared():
    """Second calls, several objects, joined ones, and scenes in which only the three best tracks
    move.
    """
    scenes = [stand_in.random_scene(seed) for seed in range(SCENES)]
    found = [published.find(scene) for scene in scenes]
    assert any(
        len(calls) == 2 for some in found for one in some for calls in published.calls(one).values()
    )
    assert max(len(some) for some in found) > 3
    assert any(published.label(scene, some).max() < len(some) for scene, some in zip(scenes, found))
    assert any(
        len(prompts.select_moving(scene.scores, len(scene.parts), PUBLISHED)) == 3
        for scene in scenes
    )
