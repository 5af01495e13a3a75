"""A stand-in for the tensorrt package: engines have the names, types and profiles of real ones, and
answer from a scene.
"""

from __future__ import annotations

import enum
import json
import types
from typing import Any

import numpy as np

from samotion_bench.host.answers import answer
from samotion_bench.host.cudart import Cudart, array_at
from samotion_bench.host.meter import apart
from samotion_bench.host.scene import Scene

VERSION = "10.13.0"
SCRATCH_BYTES = 1 << 20
Shape = tuple[int, ...]
Dims = dict[str, list[int | str]]


class DataType(enum.Enum):
    """Types by the names that TensorRT gives them."""

    FLOAT = "float32"
    HALF = "float16"
    INT64 = "int64"
    INT32 = "int32"
    UINT8 = "uint8"
    BOOL = "bool"


class Strategy(enum.Enum):
    """ExecutionContextAllocationStrategy."""

    STATIC = 0
    USER_MANAGED = 2


class Engine:
    """One engine, as its file describes it: name, dims, types, profiles."""

    def __init__(self, facts: dict[str, Any], cuda: Cudart, scene: Scene) -> None:
        self.name: str = facts["name"]
        self.inputs: Dims = facts["inputs"]
        self.outputs: Dims = facts["outputs"]
        self.per_frame: bool = facts["per_frame"]
        self._dtypes: dict[str, str] = facts["dtypes"]
        self._profiles: list[dict[str, list[list[int]]]] = facts["profiles"]
        self.strides: dict[str, int] = facts["strides"]
        self.cuda, self.scene = cuda, scene
        self.num_io_tensors = len(self.inputs) + len(self.outputs)
        self.num_optimization_profiles = len(self._profiles)

    def get_tensor_name(self, index: int) -> str:
        """Inputs first."""
        return [*self.inputs, *self.outputs][index]

    def get_tensor_dtype(self, name: str) -> DataType:
        """Of an input or output."""
        return DataType(self._dtypes[name])

    def dtype(self, name: str) -> np.dtype[Any]:
        """The same for NumPy."""
        return np.dtype(self._dtypes[name])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Shape]:
        """Smallest, usual and largest shape of an input."""
        return [tuple(shape) for shape in self._profiles[profile][name]]

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        """Scratch memory; nothing is kept in it here."""
        return SCRATCH_BYTES

    def create_execution_context(self, strategy: Strategy = Strategy.STATIC) -> Context:
        """A context."""
        return Context(self)


class Context:
    """An execution context; it does its work when it is queued."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.meter = engine, engine.cuda.meter
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, nbytes: int) -> None:
        """Where its scratch memory is."""

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        """Every profile is there."""
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        """The shape of the next run's input."""
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Where an input or output lies."""
        self._addresses[name] = address
        return True

    @apart
    def get_tensor_shape(self, name: str) -> Shape:
        """Of an output, by the letters it shares with the inputs."""
        engine = self._engine
        if name in self._shapes:
            return self._shapes[name]
        letters = {
            dim: size
            for tensor, dims in engine.inputs.items()
            for dim, size in zip(dims, self._shapes[tensor])
        }
        for grid, side in (("GH", "H"), ("GW", "W")):
            if side in letters and grid in engine.strides:
                patch, stride = engine.strides["patch"], engine.strides[grid]
                letters.setdefault(grid, (letters[side] - patch) // stride + 1)
        return tuple(d if isinstance(d, int) else letters[d] for d in engine.outputs[name])

    @apart
    def execute_async_v3(self, stream: int) -> bool:
        """Answer, now or whenever what is recorded is launched."""
        shapes = {
            **{name: self._shapes[name] for name in self._engine.inputs},
            **{name: self.get_tensor_shape(name) for name in self._engine.outputs},
        }
        arrays = {
            name: array_at(self._addresses[name], shape, self._engine.dtype(name))
            for name, shape in shapes.items()
        }
        self._engine.cuda.enqueue(lambda: self._run(arrays))
        return True

    def _run(self, arrays: dict[str, Any]) -> None:
        engine = self._engine
        self.meter.count("runs")
        self.meter.count("steps", int(engine.per_frame))
        inputs = {name: arrays[name] for name in engine.inputs}
        answer(engine.name, engine.scene, inputs, {name: arrays[name] for name in engine.outputs})


class TensorRT(types.ModuleType):
    """The tensorrt package."""

    __version__ = VERSION
    DataType = DataType
    ExecutionContextAllocationStrategy = Strategy

    class Logger:
        """Says nothing."""

        ERROR = 1

        def __init__(self, level: int) -> None:
            pass

    def __init__(self, cuda: Cudart, scene: Scene) -> None:
        super().__init__("tensorrt")
        self._cuda, self._scene = cuda, scene

    def Runtime(self, logger: Any) -> Any:
        """What opens engines."""
        return types.SimpleNamespace(deserialize_cuda_engine=self._open)

    def _open(self, data: bytes) -> Engine:
        return Engine(json.loads(data), self._cuda, self._scene)
