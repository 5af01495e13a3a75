"""The stages of a run: each is timed, and its progress told under its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]  # stage, done, total
StageProgress = Callable[[int, int], None]  # done, total of one stage


def silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


class Stages:
    """`with stages("depth") as step:` times what is done inside; `timings` holds ms by stage."""

    def __init__(self, report: Progress = silent) -> None:
        self.timings: dict[str, float] = {}
        self._report = report

    @contextmanager
    def __call__(self, name: str) -> Iterator[StageProgress]:
        """Time one stage and report its progress.

        The first report is 0 of 1 or more, the last is all of it, and no other is: that tells the
        end of a stage.
        """
        start = time.perf_counter()
        whole = 1

        def step(done: int, total: int) -> None:
            nonlocal whole
            whole = max(1, total)
            if done < total:
                self._report(name, done, total)

        self._report(name, 0, whole)
        yield step
        self._report(name, whole, whole)
        self.timings[name] = (time.perf_counter() - start) * 1000
