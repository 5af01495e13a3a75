"""The Ray cluster of a batch: how to reach it, and how many workers it has room for."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from typing import Any

from samotion.errors import DeviceError

INSTALL = "pip install 'samotion[ray]'"
CONNECT_S = 5.0


def connected(address: str) -> Any:
    """Ray, with the cluster at `address`. Raises DeviceError where Ray is missing or does not
    answer.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise DeviceError(f"Ray is not installed ({error}); {INSTALL}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # samotion-batch tells of each clip
    context.max_errored_blocks = -1  # a clip that ends its workers is an outcome, too
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send them
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DeviceError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with: ray start --head,"
            " or give --ray local"
        ) from error
    finally:
        # Ray puts its own in its place
        if sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)
    return ray


def _knock(address: str) -> None:
    """Raises OSError or ValueError where nothing listens at an address; Ray would try for long."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        if int(port) > 65535:
            raise ValueError(f"{port} is no port")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def room(ray: Any, gpus_per_worker: float) -> int:
    """How many workers the cluster has room for. Raises DeviceError where it has no GPU for one."""
    there = ray.cluster_resources()
    if not gpus_per_worker:
        return max(1, int(there.get("CPU", 1)))
    if missing := lack(ray, gpus_per_worker):
        raise DeviceError(
            f"{missing}; leave it out, or with --workers wait for GPUs that come later"
        )
    return int(there["GPU"] / gpus_per_worker)


def lack(ray: Any, gpus_per_worker: float) -> str:
    """What keeps a worker from starting now; empty where nothing does."""
    gpus = ray.cluster_resources().get("GPU", 0)
    has = f"--gpus-per-worker {gpus_per_worker:g}, but the Ray cluster has {gpus:g} GPUs"
    return has if gpus < gpus_per_worker else ""


def threads(ray: Any, workers: int) -> int:
    """CPU threads of each of so many workers: their share of the cluster's cores."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
