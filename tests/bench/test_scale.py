"""What a million clips a day need, and the page that says so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.paths import ROOT
from samotion_bench import scale


def test_the_page_shows_what_the_program_prints() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    for table in scale.tables(20_000).split("\n\n"):
        assert table in page


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def worker(losses: float = 1e-9) -> scale.Worker:
    return scale.Worker("w", 1.0, 3.6, "", clip_s=0, start_s=0, losses=losses)


def test_without_losses_work_is_shared_out_evenly() -> None:
    day = scale.simulate(worker(), np.full(100, 36.0), 10, rng())
    assert day.hours == pytest.approx(0.1) and day.busy == pytest.approx(1)
    assert day.lost == day.retried == 0
    assert day.cost_per_1000 == pytest.approx(3.6 * 0.1 * 10 / 100 * 1000)


@pytest.mark.parametrize("shards", [False, True])
def test_every_clip_is_done_whatever_is_lost(shards: bool) -> None:
    frames = np.full(200, 36.0)
    calm, lossy = (scale.simulate(worker(rate), frames, 10, rng(), shards) for rate in (1e-9, 20.0))
    assert lossy.retried > 0 and lossy.lost > 0
    assert lossy.hours > calm.hours


def test_a_long_clip_at_the_end_of_a_shard_is_the_tail() -> None:
    frames = np.ones(100)
    frames[[0, 10, 20]] = 50  # all three fall into the first of ten shards
    queue, shards = (scale.simulate(worker(), frames, 10, rng(), kind) for kind in (False, True))
    assert shards.hours > 2 * queue.hours


def test_a_day_has_as_many_workers_as_its_work_fills() -> None:
    assert scale.workers_for(100.0, 10, 86_400 * scale.FILL) == 10
