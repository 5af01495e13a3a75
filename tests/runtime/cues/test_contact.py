"""What moves alike where it meets is near; what does not is apart, however alike it moves
elsewhere.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from samotion.cues import contact as joints

FRAMES = 21
TIME = np.arange(FRAMES, dtype=np.float64)[:, None]
GRID = np.stack(np.meshgrid(np.arange(0, 20, 5.0), np.arange(0, 20, 5.0)), -1).reshape(-1, 2)


def _apart(*sets: np.ndarray, hidden: slice | None = None) -> np.ndarray:
    xy = np.concatenate(sets)
    ends = np.cumsum([0, *map(len, sets)])
    visible = np.ones(xy.shape[:2], bool)
    if hidden is not None:
        visible[: ends[1], hidden] = False
    return joints.apart(xy, visible, [np.arange(a, b) for a, b in itertools.pairwise(ends)])


def _going(corner: tuple[float, float], step_xy: tuple[float, float]) -> np.ndarray:
    return (np.array(corner) + GRID)[:, None] + TIME * np.array(step_xy)


def test_what_goes_alike_is_not_apart_and_what_passes_is() -> None:
    found = _apart(_going((50, 50), (2, 1)), _going((80, 50), (2, 1)), _going((50, 80), (-1, 1)))
    np.testing.assert_allclose(found[np.triu_indices(3, 1)], [0, 12, 12], atol=1e-9)
    np.testing.assert_array_equal(found, found.T)


def test_a_joint_holds_two_that_turn_against_each_other() -> None:
    joint = np.array([100.0, 100.0]) + TIME * [1.0, 0.5]

    def swung(side: float) -> np.ndarray:
        """A limb on one side of the joint, that swings up as the other does."""
        turn = side * 0.6 * np.sin(TIME / 4)
        x, y = side * (GRID[:, :1] + 1), GRID[:, 1:] / 20 - 0.4
        around = np.stack(
            [x * np.cos(turn).T - y * np.sin(turn).T, x * np.sin(turn).T + y * np.cos(turn).T], -1
        )
        return joint + around

    left, right = swung(-1), swung(1)
    between_middles = np.diff((left - right).mean(axis=0)[:: joints.STEP], axis=0)
    assert _apart(left, right)[0, 1] < 0.3 * np.median(np.linalg.norm(between_middles, axis=1))


def test_few_tracks_tell_a_shift_alone() -> None:
    one = np.array([[30.0, 30.0]])[:, None] + TIME * [3.0, 0]
    assert _apart(one, _going((40, 30), (1, 0)))[0, 1] == pytest.approx(8)


def test_never_together_is_unknown_and_steps_of_short_clips_count_as_long_ones() -> None:
    a, b = _going((50, 50), (2, 1)), _going((80, 50), (0, 1))
    assert np.isnan(_apart(a, b, hidden=slice(None))).sum() >= 3
    assert _apart(a, b, hidden=slice(8, None))[0, 1] == pytest.approx(8)
    assert _apart(a[:, :3], b[:, :3])[0, 1] == pytest.approx(8)
    assert np.isnan(_apart(a[:, :1], b[:, :1])).all()
    assert joints.apart(a, np.ones(a.shape[:2], bool), []).shape == (0, 0)
