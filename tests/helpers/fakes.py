"""Engines that are plain functions, to test the runtime's own part without any net."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from samotion.backends.engines import FunctionEngine
from samotion.presets import NANO, Preset


class FakeEngines(dict[str, FunctionEngine]):
    """`FakeEngines(depth=lambda frames: {"disparity": ...})` stands in for an opened folder."""

    def __init__(self, preset: Preset = NANO, **engines: Callable[..., Any]) -> None:
        super().__init__({name: FunctionEngine(each) for name, each in engines.items()})
        self.preset, self.device = preset, "cpu"

    def entry(self, name: str) -> Any:
        """What a manifest says of an engine: SAM 2's memory, as published."""
        return SimpleNamespace(meta={"memory_frames": 7, "max_pointers": 16})
