"""A stand-in for cuda-python's runtime module: device memory is memory shared with nobody, work is
done when it is queued, and everything is counted.
"""

from __future__ import annotations

import ctypes
import enum
import mmap
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from samotion_bench.host.meter import Meter, apart

NAME = "stand-in GPU"
GIB = 1 << 30


class Status(enum.Enum):
    """cudaError_t."""

    cudaSuccess = 0
    cudaErrorNotReady = 600
    cudaErrorStreamCaptureInvalidated = 901


class CopyKind(enum.Enum):
    """cudaMemcpyKind."""

    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class CaptureMode(enum.Enum):
    """cudaStreamCaptureMode."""

    cudaStreamCaptureModeThreadLocal = 1


COUNTED = {
    CopyKind.cudaMemcpyHostToDevice: ("uploads", "upload_bytes"),
    CopyKind.cudaMemcpyDeviceToHost: ("downloads", "download_bytes"),
    CopyKind.cudaMemcpyDeviceToDevice: ("device_copies", "device_copy_bytes"),
}
Answer = tuple[Any, ...]  # an error, then results, as cuda-python gives them


class Cudart(types.ModuleType):
    """The functions that samotion calls. Anything else is an AttributeError."""

    cudaError_t = Status
    cudaMemcpyKind = CopyKind
    cudaStreamCaptureMode = CaptureMode
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2

    def __init__(self, name: str, meter: Meter) -> None:
        super().__init__(name)
        self.meter = meter
        self._blocks: dict[int, Any] = {}
        self._handles = 0
        self._events: dict[int, int] = {}  # how many marks the stream had when they were made
        self._marks = self._reached = 0
        self._recording: list[Callable[[], None]] | None = None

    def enqueue(self, work: Callable[[], None]) -> None:
        """Do it now, or record it."""
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def cudaGetDeviceCount(self) -> Answer:
        """One."""
        return Status.cudaSuccess, 1

    def cudaGetDevice(self) -> Answer:
        """The only one."""
        return Status.cudaSuccess, 0

    def cudaGetDeviceProperties(self, device: int) -> Answer:
        """Its name and compute capability."""
        return Status.cudaSuccess, types.SimpleNamespace(name=NAME.encode(), major=9, minor=0)

    def cudaDriverGetVersion(self) -> Answer:
        """The CUDA that the driver knows."""
        return Status.cudaSuccess, 13000

    cudaRuntimeGetVersion = cudaDriverGetVersion

    def cudaMemGetInfo(self) -> Answer:
        """As much as a large GPU has."""
        return Status.cudaSuccess, 80 * GIB, 80 * GIB

    def _handle(self, *_: Any) -> Answer:
        self._handles += 1
        return Status.cudaSuccess, self._handles

    cudaStreamCreate = cudaStreamCreateWithFlags = _handle
    cudaEventCreate = cudaEventCreateWithFlags = _handle

    def _nothing(self, *_: Any) -> Answer:
        return (Status.cudaSuccess,)

    cudaStreamDestroy = cudaEventDestroy = cudaStreamWaitEvent = _nothing
    cudaGraphDestroy = cudaGraphExecDestroy = cudaGetLastError = _nothing

    def cudaStreamSynchronize(self, stream: int) -> Answer:
        """A wait for all."""
        self.meter.count("waits")
        self._reached = self._marks
        return (Status.cudaSuccess,)

    def cudaEventRecord(self, event: int, stream: int) -> Answer:
        """A mark in the stream."""
        self._marks += 1
        self._events[event] = self._marks
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event: int) -> Answer:
        """A wait for what was queued before the event."""
        self.meter.count("waits")
        self._reached = max(self._reached, self._events[event])
        return (Status.cudaSuccess,)

    def cudaEventQuery(self, event: int) -> Answer:
        """The GPU is as far behind as it can be: it has done what was waited for, and no more."""
        reached = self._events[event] <= self._reached
        return (Status.cudaSuccess if reached else Status.cudaErrorNotReady,)

    @apart
    def cudaMemsetAsync(self, address: int, value: int, nbytes: int, stream: int) -> Answer:
        """Fill."""
        self.enqueue(partial(_fill, address, value, nbytes))
        return (Status.cudaSuccess,)

    def cudaEventElapsedTime(self, start: int, end: int) -> Answer:
        """No time that means anything."""
        return Status.cudaSuccess, 0.0

    @apart
    def cudaMalloc(self, nbytes: int) -> Answer:
        """Shared memory, so that it is told from the host's own."""
        block = mmap.mmap(-1, nbytes)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        self._blocks[address] = block
        return Status.cudaSuccess, address

    @apart
    def cudaMallocHost(self, nbytes: int) -> Answer:
        """Page-locked memory counts as the host's; the driver has all its pages there already."""
        block = np.empty(nbytes, np.uint8)
        block.fill(0)
        self._blocks[block.ctypes.data] = block
        return Status.cudaSuccess, block.ctypes.data

    @apart
    def cudaFree(self, address: int) -> Answer:
        """Give a block back."""
        del self._blocks[address]
        return (Status.cudaSuccess,)

    cudaFreeHost = cudaFree

    @apart
    def cudaMemcpyAsync(
        self, target: int, source: int, nbytes: int, kind: CopyKind, stream: int
    ) -> Answer:
        """Copy and count."""
        number, size = COUNTED[kind]

        def copy() -> None:
            self.meter.count(number)
            self.meter.count(size, nbytes)
            ctypes.memmove(target, source, nbytes)

        self.enqueue(copy)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> Answer:
        """Record from now on."""
        self._recording = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> Answer:
        """What was recorded."""
        recorded, self._recording = self._recording, None
        self.meter.count("recordings")
        return Status.cudaSuccess, recorded

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> Answer:
        """A recording as it is."""
        return Status.cudaSuccess, graph

    @apart
    def cudaGraphLaunch(self, graph: list[Callable[[], None]], stream: int) -> Answer:
        """Do all of it."""
        self.meter.count("launches")
        for work in graph:
            work()
        return (Status.cudaSuccess,)


def array_at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The memory at an address, as an array."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    block: Any = (ctypes.c_uint8 * size).from_address(address)
    array: np.ndarray = np.frombuffer(block, kind).reshape(shape)
    return array


def _fill(address: int, value: int, nbytes: int) -> None:
    ctypes.memset(address, value, nbytes)
