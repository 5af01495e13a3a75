"""Contact discontinuity: small at the joint of one body, large between objects that pass."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from samotion.cues import contact

FRAMES = 21
TIME = np.arange(FRAMES, dtype=np.float64)[:, None]
GRID = np.stack(np.meshgrid(np.arange(0, 20, 5.0), np.arange(0, 20, 5.0)), -1).reshape(-1, 2)


def _discontinuity(*groups: np.ndarray, hidden: slice | None = None) -> np.ndarray:
    """Between groups of tracks (M,T,2); the first is invisible in the frames `hidden`."""
    xy = np.concatenate(groups)
    ends = np.cumsum([0, *map(len, groups)])
    visible = np.ones(xy.shape[:2], bool)
    if hidden is not None:
        visible[: ends[1], hidden] = False
    indices = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    return contact.contact_discontinuity(xy, visible, indices)


def _translating(corner: tuple[float, float], step_xy: tuple[float, float]) -> np.ndarray:
    return (np.array(corner) + GRID)[:, None] + TIME * np.array(step_xy)


def test_it_is_zero_for_equal_motions_and_symmetric() -> None:
    first, alike = _translating((50, 50), (2, 1)), _translating((80, 50), (2, 1))
    other = _translating((50, 80), (-1, 1))
    discontinuity = _discontinuity(first, alike, other)
    np.testing.assert_allclose(discontinuity[np.triu_indices(3, 1)], [0, 12, 12], atol=1e-9)
    np.testing.assert_array_equal(discontinuity, discontinuity.T)


def test_it_is_small_at_a_joint_about_which_two_limbs_turn() -> None:
    joint = np.array([100.0, 100.0]) + TIME * [1.0, 0.5]

    def limb(side: float) -> np.ndarray:
        """Tracks on one side of the joint, which swings up as the other does."""
        angle = side * 0.6 * np.sin(TIME / 4)
        cos, sin = np.cos(angle).T, np.sin(angle).T
        x, y = side * (GRID[:, :1] + 1), GRID[:, 1:] / 20 - 0.4
        return joint + np.stack([x * cos - y * sin, x * sin + y * cos], -1)

    left, right = limb(-1), limb(1)
    between_centres = (left - right).mean(axis=0)[:: contact.INTERVAL_FRAMES]
    of_centres = np.median(np.linalg.norm(np.diff(between_centres, axis=0), axis=1))
    assert _discontinuity(left, right)[0, 1] < 0.3 * of_centres


def test_a_single_track_has_a_translation_alone() -> None:
    single = np.array([[30.0, 30.0]])[:, None] + TIME * [3.0, 0]
    assert _discontinuity(single, _translating((40, 30), (1, 0)))[0, 1] == pytest.approx(8)


def test_groups_never_visible_together_have_none() -> None:
    a, b = _translating((50, 50), (2, 1)), _translating((80, 50), (0, 1))
    assert np.isnan(_discontinuity(a, b, hidden=slice(None))).sum() >= 3
    assert _discontinuity(a, b, hidden=slice(8, None))[0, 1] == pytest.approx(8)


def test_short_clips_are_measured_in_px_of_the_same_interval() -> None:
    a, b = _translating((50, 50), (2, 1)), _translating((80, 50), (0, 1))
    assert _discontinuity(a[:, :3], b[:, :3])[0, 1] == pytest.approx(8)
    assert np.isnan(_discontinuity(a[:, :1], b[:, :1])).all()
    nothing = contact.contact_discontinuity(a, np.ones(a.shape[:2], bool), [])
    assert nothing.shape == (0, 0)
