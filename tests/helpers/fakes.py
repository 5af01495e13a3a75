"""Engines that are plain functions, to test the runtime's own part without any net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samotion.presets import NANO, Preset


class FakeEngines(dict[str, Callable[..., Any]]):
    """`FakeEngines(depth=lambda frames: {"disparity": ...})` stands in for an opened folder."""

    def __init__(self, preset: Preset = NANO, **engines: Callable[..., Any]) -> None:
        super().__init__(engines)
        self.preset = preset
