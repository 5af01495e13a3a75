"""The conditions of a benchmark session: machine, clip, settings and engines."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samotion.backends.engines import EngineFolder
from samotion.settings import resolve

from samotion_bench.compare import KIND
from samotion_bench.machine import describe_machine
from samotion_bench.workload import Workload

SCHEMA = 1


def describe(engines: EngineFolder, load: Workload, threads: int | None) -> dict[str, Any]:
    """The conditions of a session: everything in the report that is not a figure of its own."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "preset": engines.preset.name,
        "device": engines.device,
        "threads": threads,
        "machine": describe_machine(engines.device),
        "clip": {"frames": len(load.frames), "size_hw": list(load.hw)},
        "settings": asdict(resolve(load.settings, engines.preset)),
        "engines": {name: _facts(entry) for name, entry in engines.manifest.engines.items()},
    }


def _facts(entry: Any) -> dict[str, Any]:
    keys = ("file", "sha256", "weights_sha256", "precision", "parity", "gpu", "tensorrt")
    return {key: getattr(entry, key) for key in keys}
