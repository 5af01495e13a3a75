"""Engines that note every call made to them: how often, how long, and on what."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from samotion.backends.engines import Engines, FunctionEngine
from samotion.contract import SIGNATURES

Arrays = dict[str, np.ndarray]


@dataclass
class Note:
    """All calls of one engine. `inputs`: those of its largest call."""

    calls: int = 0
    total_ms: float = 0.0
    inputs: Arrays = field(default_factory=dict)

    def add(self, inputs: Arrays, ms: float) -> None:
        """Count a call; the largest inputs are kept."""
        self.calls += 1
        self.total_ms += ms
        if sum(a.nbytes for a in inputs.values()) > sum(a.nbytes for a in self.inputs.values()):
            self.inputs = inputs


class Recorder:
    """Stands in for engines: the same answers, and `notes` of every call."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self.notes: dict[str, Note] = {}

    def __getitem__(self, name: str) -> FunctionEngine:
        engine, note = self._engines[name], self.notes.setdefault(name, Note())

        def call(**inputs: np.ndarray) -> Arrays:
            start = time.perf_counter()
            outputs: Arrays = engine(**inputs)
            note.add(inputs, (time.perf_counter() - start) * 1000)
            return outputs

        return FunctionEngine(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engines, name)

    def times(self) -> dict[str, dict[str, float]]:
        """How often each engine was called, and ms in all, in the contract's order."""
        return {
            name: {"calls": note.calls, "total_ms": note.total_ms}
            for name, note in self.in_order().items()
        }

    def in_order(self) -> dict[str, Note]:
        """The notes of engines that were called, in the contract's order."""
        return {
            name: self.notes[name]
            for name in SIGNATURES
            if name in self.notes and self.notes[name].calls
        }


def sizes(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The letters of the contract and what they are in these inputs."""
    return {
        dim: size
        for tensor in SIGNATURES[name].inputs
        for dim, size in zip(tensor.dims, inputs[tensor.name].shape)
        if isinstance(dim, str)
    }


def items(name: str, inputs: Mapping[str, np.ndarray]) -> tuple[str, int]:
    """What an engine works off and how many in one call: frames, tracks, track-frames or
    objects.
    """
    found = sizes(name, inputs)
    if name == "tracks_refine":
        return "track-frames", found["N"] * found["T"]
    units = {"sam2_prompt": "objects", "sam2_memory": "objects", "sam2_track": "objects"}
    letter = next(d for d in SIGNATURES[name].outputs[0].dims if d in ("T", "N", "B"))
    return units.get(name, {"T": "frames", "N": "tracks", "B": "frames"}[str(letter)]), found[
        str(letter)
    ]
