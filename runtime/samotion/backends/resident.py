"""Stages that leave arrays where engines computed them, written once for CPU and GPU.

On a CPU all of this is NumPy. On a GPU arrays stay there until somebody asks for numbers, and what
is asked for is queued at once and waited for when it is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from samotion.backends.device_array import DeviceArray
from samotion.backends.engines import Engines
from samotion.backends.finite import require_finite
from samotion.contract import ON_GPU

Item = TypeVar("Item")


def one_ahead(started: Iterable[Item]) -> Iterator[Item]:
    """The items, each given once the next one is there: a GPU that works on one is not kept
    waiting while another's answer is used.
    """
    items = iter(started)
    for now in items:
        for following in items:
            yield now
            now = following
        yield now


def is_on_gpu(engines: Engines) -> bool:
    """Whether these engines leave their answers on a GPU."""
    return getattr(engines, "device", "cpu") in ON_GPU


def has_gpu_memory(engines: Engines) -> bool:
    """Whether `empty` makes arrays on a GPU."""
    return getattr(engines, "has_gpu_memory", False) is True


def empty(
    engines: Engines, shape: tuple[int, ...], dtype: Any = np.float32, is_fixed: bool = False
) -> Any:
    """A new array where the engines compute, to be written by rows. A fixed one is full of zeros,
    and recorded steps read it where it lies.
    """
    if make := getattr(engines, "empty", None):
        return make(shape, np.dtype(dtype).name, is_fixed)
    return np.zeros(shape, dtype) if is_fixed else np.empty(shape, dtype)


class Answer:
    """What an engine answers. `arrays`: where they were computed; `get` brings numbers."""

    def __init__(self, engine: str, inputs: Mapping[str, Any], arrays: dict[str, Any]) -> None:
        self.arrays = arrays
        self._engine, self._inputs = engine, inputs
        self._download: Any = None
        self._wanted: tuple[str, ...] = ()
        self._found: dict[str, np.ndarray] | None = None

    def fetch(self, wanted: Collection[str] | None = None) -> Answer:
        """Queue the copies of these outputs, or of all, for `get`."""
        self._wanted = tuple(self.arrays if wanted is None else wanted)
        there = {name: self.arrays[name] for name in self._wanted}
        there = {name: a for name, a in there.items() if isinstance(a, DeviceArray)}
        if there:
            self._download = next(iter(there.values())).device.fetch(there)
        return self

    def get(self) -> dict[str, np.ndarray]:
        """What was fetched, as NumPy arrays. Raises EngineError for NaN and infinity."""
        if self._found is None:
            self._found = self._numbers()
        return self._found

    def _numbers(self) -> dict[str, np.ndarray]:
        came = self._download.get() if self._download else {}
        found = {n: came[n] if n in came else np.asarray(self.arrays[n]) for n in self._wanted}
        # NumPy's own were looked at when the engine answered
        kept = {n: a for n, a in found.items() if not isinstance(self.arrays[n], np.ndarray)}
        require_finite(self._engine, self._inputs, kept)
        return found


def call(engines: Engines, engine: str, **inputs: Any) -> Answer:
    """Run an engine; its outputs stay where they are."""
    opened = engines[engine]
    run = opened.keep if is_on_gpu(engines) else opened
    return Answer(engine, inputs, run(**inputs))
