"""What a figure was measured on: processor, GPU, clocks, driver, versions, load and peak of
matrix products.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from samotion.backends.ort import PROVIDERS, load_libraries, session_provider
from samotion.backends.threads import core_count
from samotion.contract import ON_GPU
from samotion.results.write import versions

PACKAGES = ("torch", "onnx", "tensorrt", "sam2")
GPU_FACTS = (
    "name",
    "driver_version",
    "memory.total",
    "clocks.sm",
    "clocks.max.sm",
    "temperature.gpu",
    "power.limit",
)
PEAK_SIDE = {"cpu": 1536, "cuda": 8192}
PEAK_RUNS = 5

# An ONNX graph, y = x @ x of float32 [n,n] (opset 17).
MATMUL = bytes.fromhex(
    "08083a440a110a01780a017812017922064d61744d756c1201675a150a017812100a0e0801120a0a0312016e0a03"
    "12016e62150a017912100a0e0801120a0a0312016e0a0312016e42040a001011"
)
FLOAT, HALF = b"\x0a\x0e\x08\x01", b"\x0a\x0e\x08\x0a"  # the element type of its input and output


def describe_machine(device: str) -> dict[str, Any]:
    """Everything that a sceptic would ask for."""
    return {
        "cpu": _cpu_name(),
        "cores": core_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "gpus": gpus(),
        "versions": {**versions(), **_more_versions()},
        "device": device,
        "peak_gflops": peak_gflops(device),
        "peak_half_gflops": peak_gflops(device, half=True) if device in ON_GPU else None,
    }


def gpus() -> list[dict[str, str]]:
    """NVIDIA GPUs as the driver describes them, clocks included; none where there is no driver."""
    rows = _asked(f"--query-gpu={','.join(GPU_FACTS)}") or []
    return [dict(zip(GPU_FACTS, row)) for row in rows]


def device_memory_mib() -> float | None:
    """Device memory this process holds; None without a GPU."""
    rows = _asked("--query-compute-apps=pid,used_memory")
    if rows is None:
        return None
    mine = (row[1] for row in rows if row[0] == str(os.getpid()))
    return sum((float(used) for used in mine if used.isdigit()), 0.0)


def _asked(query: str) -> list[list[str]] | None:
    """The cells of nvidia-smi's answer, line by line; None where there is no driver."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.split(", ") for line in answer.stdout.splitlines() if line.strip()]


def host_memory_mib() -> tuple[float, float]:
    """Resident memory now and at its peak."""
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, peak
    return peak, peak


def peak_gflops(device: str, half: bool = False) -> float | None:
    """GFLOP/s of the largest matrix product worth the time, by onnxruntime on `device`, data in
    place.

    In float32 or half precision, with the options that engines have; None where onnxruntime does
    not reach the device.
    """
    import onnxruntime

    kind = "cuda" if device in ON_GPU else "cpu"
    provider = PROVIDERS[kind]
    if provider not in onnxruntime.get_available_providers():
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = MATMUL.replace(FLOAT, HALF) if half else MATMUL
    load_libraries(provider)
    chosen = session_provider(provider, None)
    session: Any = onnxruntime.InferenceSession(graph, options, providers=[chosen])
    if provider not in session.get_providers():
        return None
    side = PEAK_SIDE[kind]
    binding = session.io_binding()
    binding.bind_ortvalue_input(
        "x",
        onnxruntime.OrtValue.ortvalue_from_numpy(
            np.ones((side, side), "float16" if half else "float32"), kind, 0
        ),
    )
    binding.bind_output("y", kind)
    best = float("inf")
    for _ in range(PEAK_RUNS):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _more_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
