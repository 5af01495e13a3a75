"""When frames show: times made to increase, and leaps in them named."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

LEAP = 1.75  # of the usual distance between frames; with one frame missing it is 2
EVEN = 0.1  # a distance differs from the usual one by at most this part of it
MOST = 0.8  # of all distances must be even before a leap stands out
MIN_DISTANCES = 6
MAX_PAUSE_S = 60.0  # between two frames that are played; the source's own is kept up to here


def repair(times_s: np.ndarray, period_s: float, first_s: float = 0.0) -> tuple[np.ndarray, int]:
    """Make times (T,) increase, and tell how many were repaired.

    The longest increasing row of times is kept, so that one wrong time costs no other. Each of the
    rest, missing (NaN), repeated or out of order, follows its predecessor after `period_s`, or
    sooner where the next kept time leaves less room; times that would become negative start at 0.
    Where none is known they begin with `first_s`.
    """
    times = np.array(times_s, np.float64)
    kept = _longest_increasing(times)
    if not kept:
        return first_s + np.arange(len(times)) * period_s, len(times)
    least_s = np.nanmin(times)
    for before, after in zip([-1, *kept], [*kept, len(times)]):
        _fill(times, before, after, period_s)
    if times[0] < 0 <= least_s:
        times -= times[0]
    return times, len(times) - len(kept)


def _fill(times: np.ndarray, before: int, after: int, period_s: float) -> None:
    """Set the times between two kept ones; -1 and len(times) stand for the ends."""
    count = after - before - 1
    steps = np.arange(1, count + 1)
    if not count:
        return
    if before < 0:
        times[:after] = times[after] - period_s * steps[::-1]
        return
    room = (times[after] - times[before]) / (count + 1) if after < len(times) else period_s
    times[before + 1 : after] = times[before] + min(period_s, room) * steps


def _longest_increasing(times: np.ndarray) -> list[int]:
    """Places of the longest strictly increasing row of the finite times; of equal rows the first.

    Patience sorting from the end: `lasts[n]` is the least negated time that ends a row of n + 1.
    """
    lasts: list[float] = []
    places: list[int] = []
    following = [-1] * len(times)
    for i in range(len(times) - 1, -1, -1):
        time = -float(times[i])
        if not np.isfinite(time):
            continue
        length = bisect_left(lasts, time)
        following[i] = places[length - 1] if length else -1
        lasts[length : length + 1] = [time]
        places[length : length + 1] = [i]
    row = [places[-1]] if places else []
    while row and following[row[-1]] >= 0:
        row.append(following[row[-1]])
    return row


def leaps(times_s: np.ndarray) -> list[str]:
    """The warning that evenly spaced times (T,) leap, as they do where frames are missing."""
    distances = np.diff(times_s)
    usual = float(np.median(distances)) if len(distances) >= MIN_DISTANCES else 0.0
    even = np.abs(distances - usual) <= EVEN * usual
    (places,) = np.nonzero(distances > LEAP * usual)
    if usual <= 0 or not len(places) or even.mean() < MOST:
        return []
    first = int(places[0])
    often = f" ({len(places)} leaps in all)" if len(places) > 1 else ""
    return [
        f"times leap by {distances[first]:.3g} s after frame {first}{often}; frames may be"
        f" missing there"
    ]
