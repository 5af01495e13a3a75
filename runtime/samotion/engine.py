"""Engines: named arrays in, named arrays out, whatever the backend.

engines = open_engines("engines/")
disparity = engines["depth"](frames=frames)["disparity"]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from samotion import manifest as manifests
from samotion.contract import SIGNATURES
from samotion.errors import DeviceError, EngineError
from samotion.presets import Preset

DEVICES = ("auto", "cpu", "cuda", "tensorrt")
Array = np.ndarray[Any, Any]


class Engine(Protocol):
    """One opened graph."""

    def __call__(self, **inputs: Array) -> dict[str, Array]: ...

    def close(self) -> None: ...


Opener = Callable[[str, Path, "manifests.Entry"], Engine]


class Engines:
    """The engines of one folder, each opened (and its hash checked) at first use. Close it, or use `with`."""

    def __init__(self, folder: str | os.PathLike[str], device: str, opener: Opener) -> None:
        self.folder = Path(folder)
        self.device = device
        self.manifest = manifests.read(folder)
        self.preset: Preset = self.manifest.get_preset()
        self._opener = opener
        self._open: dict[str, Engine] = {}

    def __getitem__(self, name: str) -> Engine:
        if name not in self._open:
            entry = self.entry(name)
            path = manifests.checked_file(self.folder, name, self.manifest)
            self._open[name] = self._opener(name, path, entry)
        return self._open[name]

    def entry(self, name: str) -> manifests.Entry:
        """What the manifest says of an engine: shapes, precision, meta."""
        if name not in self.manifest.engines:
            net = SIGNATURES[name].net if name in SIGNATURES else "all"
            command = self.manifest.command(net, self.folder)
            raise EngineError(f"no engine {name!r} in {str(self.folder)!r}; build it with: {command}")
        return self.manifest.engines[name]

    def open_all(self) -> None:
        """Open every engine of the contract now, so that what is missing shows before any work is done."""
        for name in SIGNATURES:
            self[name]

    def close(self) -> None:
        for engine in self._open.values():
            engine.close()
        self._open.clear()

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_engines(folder: str | os.PathLike[str], device: str = "auto", threads: int | None = None) -> Engines:
    """Open an engine folder on `auto`, `cpu`, `cuda` or `tensorrt`.

    `threads` bounds the CPU threads of each engine (None: all cores).
    Raises EngineError for a missing or damaged folder, DeviceError for a device that is not active.
    """
    if device not in DEVICES:
        raise DeviceError(f"device {device!r} is unknown; choose one of {', '.join(DEVICES)}")
    if device == "tensorrt":
        raise DeviceError("the TensorRT backend is not built yet; use --device cpu or cuda")
    from samotion import ort_engine

    provider = ort_engine.provider_for(device)
    return Engines(folder, device, lambda name, path, entry: ort_engine.OrtEngine(name, path, entry, provider, threads))
