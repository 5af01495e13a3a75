"""Times of calls: warmed up, interleaved, in blocks spread over the session so that its drift
shows as noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]

ROUNDS = 10
MIN_ROUNDS_FOR_NOISE = 3


@dataclass(frozen=True)
class Samples:
    """Times of one call in ms. `first_ms`: the first call ever; blocks: the measured ones, one
    per round.
    """

    first_ms: float
    blocks: tuple[tuple[float, ...], ...]

    @property
    def values(self) -> np.ndarray:
        """The runs of all blocks, ms."""
        return np.array([ms for block in self.blocks for ms in block])

    @property
    def median(self) -> float:
        """Of all runs, ms."""
        return float(np.median(self.values))


def one_a_round(first_ms: float, times_ms: Iterable[float]) -> Samples:
    """Samples of runs that are rounds of their own."""
    return Samples(first_ms, tuple((ms,) for ms in times_ms))


def noise(blocks: Sequence[Sequence[float]]) -> float | None:
    """The relative spread (one standard deviation) between the medians of blocks; None for fewer
    than 3.
    """
    if len(blocks) < MIN_ROUNDS_FOR_NOISE:
        return None
    return float(np.std(np.log([np.median(block) for block in blocks]), ddof=1))


def describe(samples: Samples) -> dict[str, Any]:
    """What a report holds of samples, the samples included so that others can check."""
    values = samples.values
    p90, p99 = np.percentile(values, [90, 99])
    return {
        "runs": len(values),
        "median_ms": samples.median,
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "first_ms": samples.first_ms,
        "noise": noise(samples.blocks),
        "blocks_ms": [[round(ms, 4) for ms in block] for block in samples.blocks],
    }


def timed(call: Call) -> float:
    """One call, in ms."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def measure(
    calls: Mapping[str, Call],
    runs: int,
    budget_s: float,
    rounds: int = ROUNDS,
    timed: Callable[[Call], float] = timed,
) -> dict[str, Samples]:
    """Time every call up to `runs` times in about `budget_s`, all of them in turn in each round.

    Two calls warm each up, one where the time is short already; the last tells how many runs fit.
    Cheap calls get all their runs, expensive ones share what is left, and get one at least. `timed`
    gives the ms of one call.
    """
    first = {name: timed(call) for name, call in calls.items()}
    budget_ms = max(0.0, budget_s * 1000 - sum(first.values()))
    cost_ms = {
        name: timed(call) if budget_ms > sum(first.values()) else first[name]
        for name, call in calls.items()
    }
    budget_ms = max(0.0, budget_ms - sum(cost_ms.values()))
    share = _fair_share([cost * runs for cost in cost_ms.values()], budget_ms)
    wanted = {
        name: max(1, int(min(runs, share / max(cost, 1e-6)))) for name, cost in cost_ms.items()
    }
    blocks: dict[str, list[tuple[float, ...]]] = {name: [] for name in calls}
    for done in range(rounds):
        for name, call in calls.items():
            count = _of_round(wanted[name], done, rounds)
            if count:
                blocks[name].append(tuple(timed(call) for _ in range(count)))
    return {name: Samples(first[name], tuple(blocks[name])) for name in calls}


def _of_round(total: int, index: int, rounds: int) -> int:
    """How many of `total` runs belong to round `index`, spread evenly."""
    return total * (index + 1) // rounds - total * index // rounds


def _fair_share(demands: Sequence[float], budget: float) -> float:
    """The largest share that all can have without the sum of min(demand, share) exceeding
    `budget`.
    """
    left = budget
    for count, demand in zip(range(len(demands), 0, -1), sorted(demands)):
        if demand * count > left:
            return left / count
        left -= demand
    return math.inf


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    slope, intercept = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    return float(slope), float(intercept)
