"""The little of CUDA that the TensorRT backend needs, through cuda-python: memory, copies and one
stream.

All work of an engine chain goes through one stream, so whatever is queued later may reuse memory
that was given back earlier. Nothing of CUDA is imported before a `Device` is made.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from samotion.backends.device_array import DeviceArray, Memory
from samotion.backends.staging import ALIGNMENT, Block, Download, Uploads, aligned
from samotion.errors import DeviceError

DRIVER_ERRORS = (
    "cudaErrorInsufficientDriver",
    "cudaErrorSystemDriverMismatch",
    "cudaErrorCompatNotSupportedOnDevice",
)
MOST_IDLE = 1 << 30  # bytes kept for reuse, where something of another size is asked for
INSTALL = "pip install 'samotion[trt]'"
WITHOUT = "use --device cpu, with engines of --target onnx"
# Linux drivers that a CUDA asks for, by its major version: all its minor versions run with them.
DRIVERS = {11: "450.80", 12: "525.60", 13: "580.65"}


def load(install: str = INSTALL) -> Any:
    """cuda-python's runtime module: `cuda.bindings.runtime` since 12.6, `cuda.cudart` before."""
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            problem = error
    raise DeviceError(f"cuda-python is not installed ({problem}); {install}") from problem


def make_current(ordinal: int) -> None:
    """Let a GPU be this thread's, for a `Device` made next. Raises DeviceError where there is no
    such GPU; nothing happens without cuda-python.
    """
    try:
        cuda = load()
    except DeviceError:
        return
    error, *_ = cuda.cudaSetDevice(ordinal)
    if error != cuda.cudaError_t.cudaSuccess:
        raise DeviceError(f"GPU {ordinal} does not answer ({getattr(error, 'name', error)})")


class Device:
    """The current GPU: one stream, device memory that is kept for reuse, and page-locked memory to
    copy through. `install`: what to type where cuda-python is missing or does not fit. `blocking`:
    whether the stream and CUDA's legacy default stream wait for each other, as copies of
    onnxruntime's need; else other threads may use that one while this is recorded.

    Raises DeviceError where there is no usable GPU.
    """

    def __init__(self, install: str = INSTALL, blocking: bool = True) -> None:
        self._cuda, self._install = load(install), install
        self.driver = self._find_driver()
        if self._call("cudaGetDeviceCount") == 0:
            raise DeviceError(f"no NVIDIA GPU is visible; {WITHOUT}")
        self.ordinal = int(self._call("cudaGetDevice"))
        facts = self._call("cudaGetDeviceProperties", self.ordinal)
        self.name = _text(facts.name)
        self.major = int(facts.major)
        self.capability = f"{facts.major}.{facts.minor}"  # of compute, as NVIDIA counts its GPUs
        flags = 0 if blocking else self._cuda.cudaStreamNonBlocking
        self.stream = self._call("cudaStreamCreateWithFlags", flags)
        self.stream_handle = native_handle(self.stream)
        self._free: dict[int, list[int]] = {}
        self._uploads = Uploads(self)
        self._down: list[Block] = []  # page-locked memory for the next downloads
        self._closed = False
        self._lock = threading.RLock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For who queues work: the stream and the page-locked memory are shared. The thread works
        on this GPU meanwhile, for CUDA has a current one for each thread.
        """
        with self._lock:
            _, current = self._cuda.cudaGetDevice()  # None after a fault of the GPU
            is_elsewhere = current not in (None, self.ordinal)
            if is_elsewhere:
                self._cuda.cudaSetDevice(self.ordinal)
            try:
                yield
            finally:
                if is_elsewhere:
                    self._cuda.cudaSetDevice(current)

    def require_open(self) -> None:
        """Raise DeviceError once the device is closed: its stream is no more."""
        if self._closed:
            raise DeviceError("the engines are closed, and what they kept; open them again")

    def take(self, nbytes: int) -> Memory:
        """Device memory for at least `nbytes`. Raises DeviceError when the GPU has none left."""
        size = aligned(max(nbytes, 1))
        spare = self._free.get(size)
        return Memory(self, spare.pop() if spare else self._allocate(size), size)

    def give_back(self, address: int, size: int) -> None:
        """Keep a block for the next that asks for its size; free it once the device is closed."""
        if self._closed:
            self._call("cudaFree", address)
        else:
            self._free.setdefault(size, []).append(address)

    def empty(self, shape: tuple[int, ...], dtype: str, is_fixed: bool = False) -> DeviceArray:
        """A new array; a fixed one is full of zeros."""
        with self.turn():
            self.require_open()
            nbytes = math.prod(shape) * np.dtype(dtype).itemsize
            memory = self.take(nbytes)
            if is_fixed:
                self._call("cudaMemsetAsync", memory.address, 0, memory.size, self.stream)
            return DeviceArray(self, memory, tuple(shape), dtype, is_fixed=is_fixed)

    def write(self, address: int, array: Any) -> None:
        """Queue a copy of an array, from here or from the GPU, to an address there."""
        self.require_open()
        if isinstance(array, np.ndarray):
            self.upload(array, address)
        else:
            self.copy(address, array.address, array.nbytes)

    def upload(self, array: np.ndarray, address: int) -> None:
        """Queue a copy of an array to the device; the array may change right after."""
        self._uploads.send(array, address)

    def fetch(self, arrays: Mapping[str, DeviceArray]) -> Download:
        """Queue the copies of some arrays to the host; one wait is for all of them."""
        nbytes = sum(aligned(array.nbytes) for array in arrays.values())
        with self.turn():
            self.require_open()
            fitting = [block for block in self._down if block.size >= nbytes]
            block = min(fitting, key=lambda block: block.size) if fitting else None
            if block is None:
                self._free_too_small()
                block = self.allocate_host(max(nbytes, ALIGNMENT))
            else:
                self._down.remove(block)
            block.used = 0
            return Download(self, arrays, block)

    def _free_too_small(self) -> None:
        """Free page-locked memory whose place a larger block takes, or each longer clip would leave
        some.
        """
        if self._down:
            largest = max(self._down, key=lambda block: block.size)
            if not self.reached(largest.event):  # of a download that nobody asked for
                self.wait_for(largest.event)
            self._down.remove(largest)
            self.free_host(largest)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy from one place on the device to another."""
        self._copy(target, source, nbytes, "cudaMemcpyDeviceToDevice")

    def copy_up(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy from page-locked memory to the device."""
        self._copy(target, source, nbytes, "cudaMemcpyHostToDevice")

    def copy_down(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy from the device to page-locked memory."""
        self._copy(target, source, nbytes, "cudaMemcpyDeviceToHost")

    def mark(self, event: Any) -> None:
        """Let the stream reach an event after all that is queued by now."""
        self._call("cudaEventRecord", event, self.stream)

    def reached(self, event: Any) -> bool:
        """Whether the stream has got to an event."""
        error, *_ = self._cuda.cudaEventQuery(event)
        return bool(error == self._cuda.cudaError_t.cudaSuccess)

    def wait_for(self, event: Any) -> None:
        """Until the stream has got to an event."""
        self._call("cudaEventSynchronize", event)

    def allocate_host(self, nbytes: int) -> Block:
        """New page-locked memory, and its event."""
        address = int(self._call("cudaMallocHost", nbytes))
        return Block(address, nbytes, self._call("cudaEventCreate"))

    def free_host(self, block: Block) -> None:
        """Give page-locked memory back to the driver."""
        self._call("cudaFreeHost", block.address)
        self._call("cudaEventDestroy", block.event)

    def give_back_host(self, block: Block) -> None:
        """Keep page-locked memory for the next download."""
        with self.turn():
            self._down.append(block)
            if self._closed:
                self._free_host()

    def record(self, work: Callable[[], Any]) -> Any:
        """What `work` queues, recorded as a CUDA graph instead of done, for `launch`. None where
        it cannot be.
        """
        kinds = self._cuda.cudaStreamCaptureMode
        self._call("cudaStreamBeginCapture", self.stream, kinds.cudaStreamCaptureModeThreadLocal)
        accepted = False
        try:
            accepted = work()
        finally:  # Ctrl-C may come meanwhile, and a stream that is recorded cannot be waited for
            recording = self._end_recording(accepted)
        return recording

    def _end_recording(self, is_wanted: bool) -> Any:
        """What was recorded since it began; None where that failed, or is not wanted."""
        error, graph = self._cuda.cudaStreamEndCapture(self.stream)
        if error != self._cuda.cudaError_t.cudaSuccess:
            self._cuda.cudaGetLastError()  # or the next call would answer with this error
            return None
        try:
            return self._call("cudaGraphInstantiateWithFlags", graph, 0) if is_wanted else None
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, recording: Any) -> None:
        """Queue a recorded graph."""
        self._call("cudaGraphLaunch", recording, self.stream)

    def forget(self, recording: Any) -> None:
        """Free a recorded graph."""
        self._call("cudaGraphExecDestroy", recording)

    def elapsed_ms(self, work: Callable[[], Any]) -> float:
        """How long the stream takes for what `work` queues, between two CUDA events."""
        with self.turn():
            start, end = self._call("cudaEventCreate"), self._call("cudaEventCreate")
            try:
                self.wait()
                self.mark(start)
                work()
                self.mark(end)
                self.wait()
                return float(self._call("cudaEventElapsedTime", start, end))
            finally:
                for event in (start, end):
                    self._call("cudaEventDestroy", event)

    def wait(self) -> None:
        """Until the stream has done all that was queued."""
        self._call("cudaStreamSynchronize", self.stream)

    def trim(self) -> None:
        """Give the memory that nothing uses back to the driver."""
        self.wait()
        self._empty()

    def close(self) -> None:
        """Give all memory back to the driver; after a fault of the GPU the process's end does."""
        with self.turn(), suppress(DeviceError):
            self.wait()
            self._empty()
            self._uploads.close()
            self._free_host()
            self._call("cudaStreamDestroy", self.stream)
            self._closed = True

    def _free_host(self) -> None:
        for block in self._down:
            self.free_host(block)
        self._down.clear()

    def _find_driver(self) -> str:
        """The newest CUDA that the driver knows, as "13.0"."""
        try:
            version = int(self._call("cudaDriverGetVersion"))
        except RuntimeError as error:  # cuda-python's word for a missing driver
            raise DeviceError(f"no NVIDIA driver is found ({error}); {WITHOUT}") from error
        if version == 0:
            raise DeviceError(f"no NVIDIA driver is found; {WITHOUT}")
        return cuda_version(version)

    def _empty(self) -> None:
        while self._free:  # other threads may give memory back meanwhile
            _, addresses = self._free.popitem()
            for address in addresses:
                self._call("cudaFree", address)

    def _allocate(self, size: int) -> int:
        """A new block. What other sizes left idle goes first where it is much: other programs on
        this GPU can use it.
        """
        if sum(idle * len(blocks) for idle, blocks in list(self._free.items())) > MOST_IDLE:
            self.trim()
        try:
            return int(self._call("cudaMalloc", size))
        except OutOfMemory:
            self.trim()
        try:
            return int(self._call("cudaMalloc", size))
        except OutOfMemory as error:
            free, total = self._call("cudaMemGetInfo")
            raise DeviceError(
                f"out of GPU memory: {size / 2**20:.0f} MiB wanted, {free / 2**20:.0f} of"
                f" {total / 2**20:.0f} MiB free;"
                " close other programs, or lower --max-tracks or --max-objects"
            ) from error

    def _copy(self, target: int, source: int, nbytes: int, kind: str) -> None:
        if nbytes:
            direction = getattr(self._cuda.cudaMemcpyKind, kind)
            self._call("cudaMemcpyAsync", target, source, nbytes, direction, self.stream)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call cuda-python and take its answer apart: an error, then results."""
        error, *results = getattr(self._cuda, function)(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise self._problem(function, getattr(error, "name", str(error)))
        return results[0] if len(results) == 1 else tuple(results)

    def _problem(self, function: str, name: str) -> DeviceError:
        if name == "cudaErrorMemoryAllocation":
            kind = "page-locked" if function == "cudaMallocHost" else "GPU"
            return OutOfMemory(f"out of {kind} memory ({function}); close other programs")
        if name == "cudaErrorNoDevice":
            return DeviceError(f"no NVIDIA GPU is visible (cudaErrorNoDevice); {WITHOUT}")
        if name in DRIVER_ERRORS:
            return DeviceError(
                f"the NVIDIA driver does not fit the installed CUDA ({name}){self._wanted()};"
                f" update the driver, or {self._install}"
            )
        return DeviceError(f"{function} failed: {name}")

    def _wanted(self) -> str:
        """Which driver the installed CUDA asks for, where that is known."""
        error, version = self._cuda.cudaRuntimeGetVersion()
        least = (
            DRIVERS.get(version // 1000) if error == self._cuda.cudaError_t.cudaSuccess else None
        )
        return f": CUDA {cuda_version(version)} needs driver {least} or newer" if least else ""


class OutOfMemory(DeviceError):
    """cudaMalloc found no room."""


def cuda_version(number: int) -> str:
    """A version as CUDA counts it, 13000, as people do: 13.0."""
    return f"{number // 1000}.{number % 1000 // 10}"


def native_handle(thing: Any) -> int:
    """The address behind an object of cuda-python, as other libraries take it."""
    try:
        utils = importlib.import_module("cuda.bindings.utils")
        return int(utils.get_cuda_native_handle(thing))
    except (ImportError, AttributeError):  # before cuda-python 12.9
        return int(thing)


def _text(name: Any) -> str:
    """Device names come as zero-padded bytes or as text."""
    return name.split(b"\0")[0].decode() if isinstance(name, bytes) else str(name)
