"""A look tells an object from the rest by colours and places that sparse tracks have shown."""

from __future__ import annotations

import numpy as np
from samotion import looks
from samotion.guide import Guides
from samotion.prompts import LOOK_LOGITS, with_look
from samotion.tracks import Tracks

HW = (90, 160)
BOX = (slice(30, 60), slice(50, 90))


def _frames(tint: int = 60) -> np.ndarray:
    """Three frames of noise with a redder box."""
    frames = np.random.default_rng(0).integers(90, 120, (3, *HW, 3)).astype(np.uint8)
    frames[:, BOX[0], BOX[1], 0] += tint
    return frames


def _tracks(count: int = 200) -> tuple[Tracks, np.ndarray]:
    """Points that stand still, and which are on the box."""
    xy = np.random.default_rng(1).uniform(0, 1, (count, 2)).astype(np.float32) * np.float32(HW[::-1])
    ones = np.ones((count, 3), np.float32)
    tracks = Tracks(np.repeat(xy[:, None], 3, 1), ones > 0, ones, ones, np.zeros(count, int), xy)
    on = (xy[:, 1] >= 30) & (xy[:, 1] < 60) & (xy[:, 0] >= 50) & (xy[:, 0] < 90)
    return tracks, on


def _iou(alike: np.ndarray) -> float:
    truth = np.zeros(HW, bool)
    truth[BOX] = True
    found = with_look(np.zeros(HW, np.float32), alike) > 0
    return float((found & truth).sum() / (found | truth).sum())


def test_few_tracks_show_the_whole_object_where_its_colour_differs() -> None:
    guides, (tracks, on) = Guides(_frames()), _tracks()
    members = np.flatnonzero(on)[:5]
    look = looks.learn(guides, tracks, members, np.isin(np.arange(len(on)), np.flatnonzero(on)[5:]), [0, 1, 2])
    assert look is not None
    assert _iou(look(looks.points_of(guides.colours(1)))) > 0.8


def test_place_counts_where_colours_are_alike() -> None:
    guides, (tracks, on) = Guides(_frames(tint=0)), _tracks()
    look = looks.learn(guides, tracks, np.flatnonzero(on), np.zeros(len(on), bool), [0, 2])
    assert look is not None
    assert _iou(look(looks.points_of(guides.colours(1)))) > 0.4


def test_unsure_tracks_teach_nothing() -> None:
    guides, (tracks, on) = Guides(_frames()), _tracks()
    unsure = np.zeros(len(on), bool)
    unsure[:40] = True
    members = np.flatnonzero(on & ~unsure)
    with_them = looks.learn(guides, tracks, members, unsure, [0])
    without = looks.learn(guides, tracks.take(~unsure), np.flatnonzero(on[~unsure]), np.zeros(160, bool), [0])
    assert with_them is not None and without is not None
    np.testing.assert_array_equal(with_them.weights, without.weights)


def test_one_side_alone_gives_no_look() -> None:
    guides, (tracks, on) = Guides(_frames()), _tracks()
    nobody = np.zeros(len(on), bool)
    assert looks.learn(guides, tracks, np.arange(len(on)), nobody, [0]) is None
    assert looks.learn(guides, tracks, np.arange(0), nobody, [0]) is None


def test_both_sides_weigh_the_same_however_many_they_are() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0, 0.1, (5, 5)), rng.normal(1, 0.1, (500, 5))]).astype(np.float32)
    look = looks.fit(x, np.arange(505) < 5)
    assert look(np.zeros(5, np.float32)) > 0.5 and look(np.ones(5, np.float32)) < -0.5


def test_a_look_moves_the_coarse_mask_within_its_range() -> None:
    mask = np.array([[-6.0, -2.0], [0.0, 6.0]], np.float32)
    moved = with_look(mask, np.full((1, 1), 0.5, np.float32))
    np.testing.assert_allclose(moved, np.minimum(mask + LOOK_LOGITS / 2, 6.0))
