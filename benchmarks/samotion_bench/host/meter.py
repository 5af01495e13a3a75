"""What the host does: CPU time, wall time, memory, and what it asks of the GPU, stage by stage.

The stand-in's own time is taken aside: on a GPU other silicon spends it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

COUNTED = ("uploads", "downloads", "device_copies", "waits", "launches", "recordings", "steps")
SAMPLE_S = 0.01
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Reading:
    """All clocks and counters at one moment."""

    wall_s: float
    host_cpu_s: float
    feeding_thread_s: float
    counts: Counter[str]

    def since(self, before: Reading) -> dict[str, float]:
        """What was spent and counted between two readings, as a report holds it."""
        counts = self.counts.copy()
        counts.subtract(before.counts)
        return {
            "host_cpu_s": self.host_cpu_s - before.host_cpu_s,
            "feeding_thread_s": self.feeding_thread_s - before.feeding_thread_s,
            "wall_s": self.wall_s - before.wall_s,
            "upload_gb": counts["upload_bytes"] / 1e9,
            "download_gb": counts["download_bytes"] / 1e9,
            **{name: counts[name] for name in COUNTED},
        }


class Meter:
    """Counts, and the clocks of the thread that made it: the one that feeds the engines."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._feeding = threading.get_ident()
        self._aside_cpu_s: defaultdict[int, float] = defaultdict(float)  # by thread
        self._aside_wall_s = 0.0  # of the feeding thread
        self._peak_mb = 0.0

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counts[name] += amount

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is not the runtime's."""
        if getattr(self._inside, "now", False):
            yield
            return
        self._inside.now = True
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            self._inside.now = False
            thread = threading.get_ident()
            with self._lock:
                self._aside_cpu_s[thread] += cpu
                self._aside_wall_s += wall if thread == self._feeding else 0.0

    def read(self) -> Reading:
        """All clocks and counters now; called by the feeding thread."""
        with self._lock:
            aside_s = self._aside_cpu_s
            return Reading(
                time.perf_counter() - self._aside_wall_s,
                time.process_time() - sum(aside_s.values()),
                time.thread_time() - aside_s[self._feeding],
                self.counts.copy(),
            )

    def take_peak_mb(self) -> float:
        """The most host memory held since the last call. The stand-in's device memory is shared
        memory, and no part of it.
        """
        self._peak_mb, peak = 0.0, max(self._peak_mb, _private_mb())
        return peak

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample the host's memory while this lasts."""
        done = threading.Event()

        def sample() -> None:
            while not done.is_set():
                with self.aside():
                    done.wait(SAMPLE_S)
                    self._peak_mb = max(self._peak_mb, _private_mb())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@dataclass
class StageMeter:
    """The progress of a run that reads the meter where stages begin and end."""

    meter: Meter
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    _start: Reading | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Progress as `segment_clip` reports it: 0 of all when a stage begins, all when it ends."""
        if done == 0 and self._start is None:
            self.meter.take_peak_mb()
            self._start = self.meter.read()
        elif done >= total and self._start is not None:
            self.stages[stage] = self.meter.read().since(self._start)
            self.stages[stage]["peak_host_mb"] = self.meter.take_peak_mb()
            self._start = None


def apart(method: Function) -> Function:
    """A method of something with a `meter`, whose time is not the runtime's."""

    @wraps(method)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.meter.aside():
            return method(self, *args, **kwargs)

    return timed  # type: ignore[return-value]


def _private_mb() -> float:
    """Resident memory of this process that is shared with nobody."""
    with open("/proc/self/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 1e6
