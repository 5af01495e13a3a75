"""Stand-ins for `tensorrt` and cuda-python with the real ones' rules, computing through
onnxruntime.

What the real ones punish, these refuse or get wrong:
- engines load only in the version that built them; others deserialise to None;
- a context needs a profile, then all input shapes inside that profile, then all addresses, before
  it runs;
- addresses must be device memory, aligned, large enough and not freed: device memory is a range of
  its own;
- work is queued: nothing is computed or copied before the stream is waited for, so memory that is
  changed or read too early shows;
- what is recorded needs an ordinary run with the same shapes before, allocates and waits for
  nothing, and breaks when its context is touched afterwards;
- TensorRT 8.6 knows no INT64: tensors that the graph declares so are INT32;
- there, a second context with the same profile of an engine ends the process;
- a context works in the scratch memory that it was given: enough of it, not freed, and full of
  rubbish after every run;
- device memory can run out.
"""

from __future__ import annotations

import enum
import itertools
import json
import sys
import threading
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from samotion_bench.host.cudart import CaptureMode, CopyKind

MAGIC = b"FAKETRT\0"
ALIGNMENT = 256
RUN_MS = 2.5
SCRATCH_BYTES = 1000  # of an engine's first profile; twice as much for the second, and so on
Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]  # smallest, usual and largest shape of every input


@dataclass
class Gpu:
    """The device: its memory, as ranges of made-up addresses, and what is queued."""

    name: str = "Fake GPU"
    limit: int = 1 << 30
    count: int = 1
    has_driver: bool = True
    driver: int = 13000  # the newest CUDA that it knows; 0: there is none
    capability: tuple[int, int] = (8, 9)
    error: str | None = None  # what every call answers instead of success
    blocks: dict[int, np.ndarray] = field(default_factory=dict)
    pinned: dict[int, np.ndarray] = field(default_factory=dict)
    queue: list[Callable[[], None]] = field(default_factory=list)
    next_address: int = 0x7F00_0000_0000
    streams: int = 0
    waits_for_legacy: bool = False  # its stream, for CUDA's legacy default stream
    recording: list[Callable[[], None]] | None = None  # what is queued while a stream is captured
    recordings: int = 0  # graphs that were made and not destroyed
    launches: int = 0
    events: dict[int, float | None] = field(default_factory=dict)
    marks: dict[int, object] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)
    current: threading.local = field(default_factory=threading.local)  # its device, by thread
    names: Any = field(default_factory=lambda: itertools.count(1))  # of events
    clock_ms: float = 0.0  # every run takes RUN_MS

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.recording is None else self.recording).append(work)

    @property
    def used(self) -> int:
        return sum(block.nbytes for block in self.blocks.values())

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """Bytes of device memory; an address outside of it is a crash on the real thing."""
        for start, block in self.blocks.items():
            if start <= address and address + nbytes <= start + block.nbytes:
                return block[address - start : address - start + nbytes]
        raise AssertionError(f"illegal access: {nbytes} bytes at {address:#x} are no device memory")

    def host(self, address: int, nbytes: int) -> np.ndarray:
        for start, block in self.pinned.items():
            if start <= address and address + nbytes <= start + block.nbytes:
                return block[address - start : address - start + nbytes]
        raise AssertionError("asynchronous copies need page-locked host memory, not freed before")


class Status(enum.Enum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureInvalidated = 901


class Cudart(types.ModuleType):
    """cuda-python's runtime module: every function answers (error, results...), which are None
    where there is an error.
    """

    cudaError_t = Status
    cudaMemcpyKind = CopyKind
    cudaStreamCaptureMode = CaptureMode
    cudaStreamNonBlocking = 1

    def __init__(self, name: str, gpu: Gpu) -> None:
        super().__init__(name)
        self.gpu = gpu

    def _answer(self, *results: Any) -> tuple[Any, ...]:
        if self.gpu.error:
            return (Status[self.gpu.error], *(None for _ in results))
        return (Status.cudaSuccess, *results)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        if not self.gpu.has_driver:
            raise RuntimeError("Failed to dlopen libcuda.so.1")
        return self._answer(self.gpu.driver)

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return (Status.cudaSuccess, 13000)

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._answer(self.gpu.count)

    def cudaGetDevice(self) -> tuple[Any, ...]:
        return self._answer(getattr(self.gpu.current, "ordinal", 0))

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        name = self.gpu.name.encode().ljust(256, b"\0")
        major, minor = self.gpu.capability
        return self._answer(types.SimpleNamespace(name=name, major=major, minor=minor))

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        assert type(device) is int
        self.gpu.current.ordinal = device
        return self._answer()

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags in (0, self.cudaStreamNonBlocking)
        self.gpu.streams += 1
        self.gpu.waits_for_legacy = flags == 0
        return self._answer(1)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self.gpu.streams -= 1
        return self._answer()

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        assert stream == 1 and self.gpu.recording is None, (
            "a stream that is captured cannot be waited for"
        )
        with self.gpu.lock:
            while self.gpu.queue:
                self.gpu.queue.pop(0)()
        return self._answer()

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:
        assert nbytes > 0 and self.gpu.recording is None
        if self.gpu.used + nbytes > self.gpu.limit:
            return (Status.cudaErrorMemoryAllocation, None)
        address = self.gpu.next_address
        self.gpu.next_address += -(-nbytes // ALIGNMENT) * ALIGNMENT + ALIGNMENT
        self.gpu.blocks[address] = np.full(nbytes, 0xA5, np.uint8)
        return self._answer(address)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.gpu.blocks[address]
        return self._answer()

    def cudaMallocHost(self, nbytes: int) -> tuple[Any, ...]:
        block = np.zeros(nbytes, np.uint8)
        self.gpu.pinned[block.ctypes.data] = block
        return self._answer(block.ctypes.data)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        del self.gpu.pinned[address]  # a queued copy that still needs it does not find it
        return self._answer()

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return self._answer(max(0, self.gpu.limit - self.gpu.used), self.gpu.limit)

    def cudaMemcpyAsync(
        self, target: int, source: int, nbytes: int, kind: CopyKind, stream: int
    ) -> tuple[Any, ...]:
        def copy() -> None:
            if kind is CopyKind.cudaMemcpyHostToDevice:
                self.gpu.view(target, nbytes)[:] = self.gpu.host(source, nbytes)
            elif kind is CopyKind.cudaMemcpyDeviceToDevice:
                self.gpu.view(target, nbytes)[:] = self.gpu.view(source, nbytes)
            else:
                self.gpu.host(target, nbytes)[:] = self.gpu.view(source, nbytes)

        self.gpu.enqueue(copy)
        return self._answer()

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> tuple[Any, ...]:
        assert stream == 1 and isinstance(mode, CaptureMode) and self.gpu.recording is None
        self.gpu.recording = []
        return self._answer()

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        recorded, self.gpu.recording = self.gpu.recording, None
        assert stream == 1 and recorded is not None
        if not recorded:
            self.gpu.error = "cudaErrorStreamCaptureInvalidated"  # until it is asked for
            return (Status.cudaErrorStreamCaptureInvalidated, None)
        self.gpu.recordings += 1
        return self._answer(tuple(recorded))

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> tuple[Any, ...]:
        assert flags == 0
        self.gpu.recordings += 1
        return self._answer(list(graph))

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        assert isinstance(graph, tuple)
        self.gpu.recordings -= 1
        return self._answer()

    def cudaGraphExecDestroy(self, made: Any) -> tuple[Any, ...]:
        assert not self.gpu.queue, "a graph was destroyed while it may run"
        self.gpu.recordings -= 1
        made.clear()
        return self._answer()

    def cudaGraphLaunch(self, made: list[Callable[[], None]], stream: int) -> tuple[Any, ...]:
        assert stream == 1 and made
        self.gpu.launches += 1
        self.gpu.queue.extend(made)
        return self._answer()

    def cudaGetLastError(self) -> tuple[Any, ...]:
        self.gpu.error = None
        return (Status.cudaErrorStreamCaptureInvalidated,)

    def cudaEventCreate(self) -> tuple[Any, ...]:
        event = next(self.gpu.names)
        self.gpu.events[event] = None
        return self._answer(event)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        assert stream == 1
        self.gpu.events[event] = None
        mark = self.gpu.marks[event] = object()

        def reach() -> None:
            if self.gpu.marks.get(event) is mark:  # the last time it was recorded counts
                self.gpu.events[event] = self.gpu.clock_ms

        self.gpu.enqueue(reach)
        return self._answer()

    def cudaEventElapsedTime(self, start: int, end: int) -> tuple[Any, ...]:
        first, last = self.gpu.events[start], self.gpu.events[end]
        assert first is not None and last is not None, (
            "an event was asked before the stream reached it"
        )
        return self._answer(last - first)

    def cudaEventQuery(self, event: int) -> tuple[Any, ...]:
        reached = self.gpu.events[event] is not None
        return self._answer() if reached or self.gpu.error else (Status.cudaErrorNotReady,)

    def cudaEventSynchronize(self, event: int) -> tuple[Any, ...]:
        assert self.gpu.recording is None
        with self.gpu.lock:  # threads wait at once, and the work is done in order
            while self.gpu.events[event] is None:
                self.gpu.queue.pop(0)()
        return self._answer()

    def cudaMemsetAsync(self, address: int, value: int, nbytes: int, stream: int) -> Any:
        self.gpu.enqueue(lambda: self.gpu.view(address, nbytes).fill(value))
        return self._answer()

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        del self.gpu.events[event]
        return self._answer()


_NAMES = {
    "tensor(float)": "FLOAT",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(bool)": "BOOL",
}
_NUMPY = {"FLOAT": "float32", "INT64": "int64", "INT32": "int32", "UINT8": "uint8", "BOOL": "bool"}


class Engine:
    """A deserialised engine: a graph and the profiles it was built with."""

    def __init__(self, trt: Any, header: dict[str, Any], onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.trt = trt
        self.session = onnxruntime.InferenceSession(
            onnx, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {i.name: i.type for i in self.session.get_inputs()}
        self.outputs = {o.name: o.type for o in self.session.get_outputs()}
        self.profiles = [
            {k: [tuple(s) for s in v] for k, v in p.items()} for p in header["profiles"]
        ]
        self.wrong = header.get("wrong", 0.0)  # every answer is off by this part of it
        self.num_io_tensors = len(self.inputs) + len(self.outputs)
        self.num_optimization_profiles = len(self.profiles)
        self.contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        scratch = [SCRATCH_BYTES * (1 + k) for k in range(len(self.profiles))]
        if trt.is_8:
            self.device_memory_size = max(scratch)
            self.create_execution_context_without_device_memory = self._context
        else:
            self.device_memory_size_v2 = max(scratch)
            self.get_device_memory_size_for_profile_v2 = scratch.__getitem__

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_dtype(self, name: str) -> Any:
        kind = _NAMES[(self.inputs | self.outputs)[name]]
        return self.trt.DataType["INT32" if kind == "INT64" and self.trt.is_8 else kind]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Shape]:
        return list(self.profiles[profile][name])

    def create_execution_context(self, strategy: Strategy) -> Context | None:
        assert strategy is Strategy.USER_MANAGED, "all others allocate for the largest profile"
        return self._context()

    def _context(self) -> Context | None:
        return Context(self) if self.trt.gpu.used < self.trt.gpu.limit else None

    def scratch_bytes(self, profile: int) -> int:
        return SCRATCH_BYTES * (1 + profile)


class Strategy(enum.Enum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class Context:
    """One execution context."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.gpu = engine, engine.trt.gpu
        self.profile: int | None = None
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.warm = False  # it ran with these shapes
        self.touched = 0  # changes of its state
        self.scratch: tuple[int, int] | None = None  # address and bytes
        engine.contexts.add(self)

    def _touch(self) -> None:
        assert self.gpu.recording is None
        self.touched += 1

    def set_device_memory(self, address: int, nbytes: int) -> None:
        assert not self.engine.trt.is_8 and address % ALIGNMENT == 0
        self._touch()
        self.scratch = address, nbytes

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "device_memory":  # of 8.6: write-only, and nobody tells how much it is
            assert self.engine.trt.is_8 and value % ALIGNMENT == 0
            self._touch()
            self.scratch = value, self.engine.device_memory_size
        else:
            super().__setattr__(name, value)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream == 1
        self._touch()
        taken = {c.profile for c in self.engine.contexts if c is not self}
        assert not (self.engine.trt.is_8 and profile in taken), "segmentation fault"
        self.profile, self.warm = profile, False
        self.shapes.clear()
        return 0 <= profile < len(self.engine.profiles)

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        if self.profile is None or name not in self.engine.inputs:
            return False
        low, _, high = self.engine.profiles[self.profile][name]
        if len(shape) != len(low) or not all(a <= n <= b for a, n, b in zip(low, shape, high)):
            return False
        self._touch()
        self.warm = self.warm and self.shapes.get(name) == tuple(shape)
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        """Of an output: known once all inputs have shapes, as shape inference would tell; -1
        before.
        """
        if name in self.shapes:
            return self.shapes[name]
        rank = len({o.name: o for o in self.engine.session.get_outputs()}[name].shape)
        if self.shapes.keys() != self.engine.inputs.keys():
            return (-1,) * rank
        return self._run({k: np.zeros(s, self._numpy(k)) for k, s in self.shapes.items()})[
            name
        ].shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        if type(address) is not int or address % ALIGNMENT:
            return False
        self.gpu.view(address, 1)
        self._touch()
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 1
        needed = {*self.engine.inputs, *self.engine.outputs}
        if (
            self.profile is None
            or self.shapes.keys() != self.engine.inputs.keys()
            or self.addresses.keys() != needed
        ):
            return False
        scratch = self._scratch()
        if self.gpu.recording is not None and not (self.warm and self.engine.trt.can_record):
            return False
        shapes, addresses = dict(self.shapes), dict(self.addresses)
        recorded = self.touched if self.gpu.recording is not None else None
        self.gpu.enqueue(lambda: self._compute(shapes, addresses, recorded, scratch))
        self.warm = True
        return True

    def _scratch(self) -> tuple[int, int]:
        """Where it works: it must have been told, and there must be room."""
        assert self.scratch is not None and self.profile is not None
        needed = self.engine.scratch_bytes(self.profile)
        address, nbytes = self.scratch
        assert nbytes >= needed, f"{nbytes} bytes of scratch memory, {needed} needed"
        return address, needed

    def _compute(
        self,
        shapes: dict[str, Shape],
        addresses: dict[str, int],
        recorded: int | None,
        scratch: tuple[int, int],
    ) -> None:
        assert recorded in (None, self.touched), (
            "a recording was launched after its context had changed"
        )
        self.gpu.clock_ms += RUN_MS
        arrays = {}
        for name, shape in shapes.items():
            dtype = np.dtype(self._numpy(name))
            data = self.gpu.view(addresses[name], int(np.prod(shape)) * dtype.itemsize)
            arrays[name] = data.view(dtype).reshape(shape).copy()
        self.gpu.view(*scratch)[:] = 0xEE
        for name, array in self._run(arrays).items():
            self.gpu.view(addresses[name], array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def _run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        wide = {
            k: a.astype(np.int64) if self.engine.inputs[k] == "tensor(int64)" else a
            for k, a in arrays.items()
        }
        outputs = self.engine.session.run(list(self.engine.outputs), wide)
        if self.engine.wrong:
            outputs = [a * np.float64(1 + self.engine.wrong) for a in outputs]
        with np.errstate(over="ignore"):
            return {
                k: np.ascontiguousarray(a, self._numpy(k))
                for k, a in zip(self.engine.outputs, outputs)
            }

    def _numpy(self, name: str) -> str:
        return _NUMPY[self.engine.get_tensor_dtype(name).name]


class TensorRT(types.ModuleType):
    """The package `tensorrt`, or `tensorrt_rtx`."""

    def __init__(self, version: str, gpu: Gpu, module: str = "tensorrt") -> None:
        super().__init__(module)
        self.__version__, self.gpu, self.is_8 = version, gpu, version.startswith("8.")
        self.can_record = True
        names = ["FLOAT", "HALF", "INT32", "UINT8", "BOOL", *([] if self.is_8 else ["INT64"])]
        self.DataType: Any = enum.Enum("DataType", names)  # type: ignore[misc]
        if not self.is_8:
            self.ExecutionContextAllocationStrategy = Strategy
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})

    def Runtime(self, logger: Any) -> Any:
        assert isinstance(logger, self.Logger)
        return types.SimpleNamespace(deserialize_cuda_engine=self._deserialize)

    def _deserialize(self, data: bytes) -> Engine | None:
        if not data.startswith(MAGIC):
            return None
        facts, onnx = parts_of(data)
        return Engine(self, facts, onnx) if facts["version"] == self.__version__ else None


def build(onnx: Path, version: str, profiles: list[Profile]) -> bytes:
    """What a builder of that version would write."""
    header = json.dumps({"version": version, "profiles": profiles}).encode()
    return MAGIC + header + b"\n" + onnx.read_bytes()


def parts_of(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """What stands before the graph in a file of a builder, and the graph."""
    header, onnx = plan[len(MAGIC) :].split(b"\n", 1)
    return json.loads(header), onnx


def install(
    monkeypatch: pytest.MonkeyPatch,
    version: str = "10.13.0",
    gpu: Gpu | None = None,
    module: str = "tensorrt",
) -> Gpu:
    """Let `import tensorrt` (or `tensorrt_rtx`) and cuda-python find these, the latter under its
    name of that time. The other TensorRT is missing.
    """
    gpu = gpu or Gpu()
    is_8 = version.startswith("8.")
    cuda, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
    cuda.__path__, bindings.__path__ = [], []
    name = "cuda.cudart" if is_8 else "cuda.bindings.runtime"
    for known in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.setitem(sys.modules, module, TensorRT(version, gpu, module))
    monkeypatch.setitem(sys.modules, "cuda", cuda)
    if not is_8:
        monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    for known in ("cuda.cudart", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.setitem(sys.modules, name, Cudart(name, gpu))
    return gpu
