"""Times increase, and one wrong time costs no other."""

from __future__ import annotations

import numpy as np
import pytest
from samotion.clips import times


@pytest.mark.parametrize(
    ("given", "expected", "repaired"),
    [
        ([0, 1, 9e6, 3, 4], [0, 1, 2, 3, 4], 1),  # one leaps far ahead
        ([0, 1, -5, 3], [0, 1, 2, 3], 1),
        ([0, 1, 1, 1, 2], [0, 1, 4 / 3, 5 / 3, 2], 2),  # repeated: no room for a period each
        ([5, 6, 7, 8, 0, 1, 2], [5, 6, 7, 8, 9, 10, 11], 3),  # a clock that starts anew
        ([0, 1, 0, 1, 2, 3], [0, 1, 4 / 3, 5 / 3, 2, 3], 2),
        ([np.nan, 2, 2, np.nan, 1.6, 8], [1, 2, 3, 4, 5, 8], 4),
        ([np.nan] * 3, [0, 1, 2], 3),
        ([np.nan, 0.5, 1.5], [0, 1, 2], 1),  # none becomes negative
        ([np.nan, -1, 0], [-2, -1, 0], 1),  # but where some are
        ([0, 0.04, 40 * 86_400], [0, 0.04, 40 * 86_400], 0),  # days apart, but in order
    ],
)
def test_repair(given: list[float], expected: list[float], repaired: int) -> None:
    """Of a clip of four frames a second."""
    fixed, count = times.repair(np.array(given) / 4, 0.25)
    np.testing.assert_allclose(fixed * 4, expected)
    assert count == repaired and (np.diff(fixed) > 0).all()


def test_any_times_become_increasing(rng: np.random.Generator) -> None:
    for _ in range(50):
        given = rng.choice([0.0, 0.5, 1.0, 2.0, np.nan, np.inf, -1.0], 12)
        fixed, _ = times.repair(given, 0.04)
        assert np.isfinite(fixed).all() and (np.diff(fixed) > 0).all()


def test_leaps_stand_out_of_even_times_only() -> None:
    even = np.arange(20) / 10
    assert times.leaps(even) == []
    (warning,) = times.leaps(np.delete(even, [7, 8]))
    assert warning.startswith("times leap by 0.3 s after frame 6;")
    assert times.leaps(np.cumsum([0.1, 0.4, 0.2, 0.9, 0.1, 0.5, 0.3, 0.1])) == []  # a variable rate
    assert times.leaps(np.array([0, 0.1, 9.0])) == []  # too few to tell
