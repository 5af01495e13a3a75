"""The TensorRT backend: native, by names, through `tensorrt` and `cuda-python`. Works with TensorRT
8.6, 10 and 11.

One stream and one pool of device memory serve all engines of a folder, so outputs can stay on the
GPU and go into the next engine there (`keep`). Shapes are those of the profiles an engine was built
with; rows beyond a profile's largest batch go through in several calls.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from samotion.backends.cuda import INSTALL, Device, DeviceArray
from samotion.backends.cuda_graphs import Step, Steps
from samotion.backends.finite import require_finite
from samotion.backends.inputs import Array, checked_inputs
from samotion.backends.ort import first_line
from samotion.contract import SIGNATURES, Signature
from samotion.errors import DeviceError, EngineError
from samotion.manifest import Entry

# Types by the names that every TensorRT gives them. 8.6 has no INT64: it takes INT32 in its place.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "UINT8": "uint8",
    "BOOL": "bool",
}


def load() -> Any:
    """The tensorrt package. Raises DeviceError where it is missing or does not load."""
    try:
        return importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # a missing library of CUDA shows as either
        raise DeviceError(f"TensorRT is not installed ({first_line(error)}); {INSTALL}") from error


class Backend:
    """TensorRT on the current GPU: what all engines of a folder share."""

    def __init__(self) -> None:
        self.trt = load()
        self.version: str = self.trt.__version__
        # A second context with a profile that one has already ends a process under 8.6, so it
        # records nothing.
        self.shares_profiles = int(self.version.split(".")[0]) >= 10
        self.device = Device()
        self.gpu = self.device.name
        logger = self.trt.Logger(self.trt.Logger.ERROR)
        self._runtime: Any = self.trt.Runtime(logger)

    def deserialize(self, data: bytes) -> Any:
        """The engine in `data`, None where this TensorRT refuses it."""
        return self._runtime.deserialize_cuda_engine(data)

    def close(self) -> None:
        """Give the runtime and the device back."""
        self._runtime = None
        self.device.close()


class TrtEngine:
    """One TensorRT engine that speaks the contract's names. `rebuild`: the command that builds it
    anew.

    Raises EngineError for a file of another kind, or one built by another TensorRT or for another
    GPU.
    """

    def __init__(self, name: str, path: Path, entry: Entry, backend: Backend, rebuild: str) -> None:
        self.name, self._rebuild, self._backend = name, rebuild, backend
        self._signature = SIGNATURES[name]
        self._axes = _row_axes(self._signature)
        _check_origin(name, path, entry, backend, rebuild)
        self._engine: Any = backend.deserialize(path.read_bytes())
        if self._engine is None:
            raise EngineError(
                f"engine {name!r}: TensorRT {backend.version} refuses {path.name}; build again:"
                f" {rebuild}"
            )
        self._dtypes = self._check_names(path.name)
        self._profiles = [self._limits(i) for i in range(self._engine.num_optimization_profiles)]
        self._contexts: dict[int, Any] = {}
        self._steps = (
            Steps(self._make_step)
            if self._signature.per_frame and backend.shares_profiles
            else None
        )

    def __call__(self, **inputs: Any) -> dict[str, Array]:
        """Run; the outputs by name, as NumPy arrays."""
        with self._backend.device.lock:
            kept = self._run(inputs)
            outputs = {
                name: self._joined(name, [np.asarray(a) for a in parts])
                for name, parts in kept.items()
            }
        require_finite(self.name, inputs, outputs)
        return outputs

    def keep(self, **inputs: Any) -> dict[str, Any]:
        """As a call, but the outputs stay on the GPU, to be passed to other engines of the same
        folder.
        """
        with self._backend.device.lock:
            parts = self._run(inputs)
            kept = {
                name: some[0] if len(some) == 1 else self._joined(name, some)
                for name, some in parts.items()
            }
        require_finite(
            self.name, inputs, {k: v for k, v in kept.items() if isinstance(v, np.ndarray)}
        )
        return kept

    def _joined(self, output: str, parts: list[Any]) -> Array:
        """The parts of an output put together again, along the letter that its call was cut
        along.
        """
        return np.concatenate(parts, axis=self._axes.get(output, 0))

    def device_ms(self, **inputs: Any) -> float:
        """GPU time of one run in ms, between CUDA events: the inputs are there already, the
        outputs stay.
        """
        arrays = {name: self._resident(array) for name, array in self._accepted(inputs).items()}
        return self._backend.device.elapsed_ms(lambda: self._run(arrays))

    def close(self) -> None:
        """Give contexts, recorded steps and the engine back."""
        with self._backend.device.lock:
            if self._steps:
                self._steps.close()
            self._contexts.clear()
            self._engine = None

    def _run(self, inputs: dict[str, Any]) -> dict[str, list[DeviceArray]]:
        """Every output, in as many parts as the profiles ask for. One thread at a time: contexts
        and stream are one.
        """
        if self._engine is None:
            raise EngineError(f"engine {self.name!r} is closed; open its folder again")
        arrays = self._accepted(inputs)
        shapes = {name: tuple(a.shape) for name, a in arrays.items()}
        parts = self._parts(shapes)
        outputs: dict[str, list[DeviceArray]] = {name: [] for name in self._signature.output_names}
        for part in parts:
            for name, array in self._execute(self._cut(arrays, part)).items():
                outputs[name].append(array)
        return outputs

    def _accepted(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs in the engine's types: those on this GPU as they are, all others as checked
        numpy arrays.
        """
        there = {
            k: v
            for k, v in inputs.items()
            if isinstance(v, DeviceArray) and v.device is self._backend.device
        }
        here = checked_inputs(
            self.name, self._signature, {k: v for k, v in inputs.items() if k not in there}, there
        )
        return {
            **there,
            **{name: np.ascontiguousarray(a, self._dtypes[name]) for name, a in here.items()},
        }

    def _parts(self, shapes: dict[str, tuple[int, ...]]) -> list[slice]:
        """Slices of rows that fit a profile. Raises EngineError where no number of rows would."""
        rows = self._rows(shapes)
        if self._profile(shapes) is not None or rows is None:
            return [slice(0, rows)]
        most = max(
            (n for n in map(self._most_rows, self._profiles) if self._fits_cut(shapes, n)),
            default=0,
        )
        if most == 0:
            raise self._outside(shapes)
        count = -(-rows // most)
        return [slice(rows * k // count, rows * (k + 1) // count) for k in range(count)]

    def _rows(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        """How many rows a call has that may be cut; None where it may not be cut at all."""
        counts = [
            shapes[name][self._axes[name]]
            for name in self._signature.input_names
            if name in self._axes
        ]
        return counts[0] if counts else None

    def _most_rows(self, limits: dict[str, tuple[Any, Any]]) -> int:
        """The most rows that a profile takes."""
        names = [name for name in self._signature.input_names if name in self._axes]
        return min(int(limits[name][1][self._axes[name]]) for name in names)

    def _fits_cut(self, shapes: dict[str, tuple[int, ...]], rows: int) -> bool:
        return self._profile(self._cut_shapes(shapes, rows)) is not None

    def _cut_shapes(
        self, shapes: dict[str, tuple[int, ...]], rows: int
    ) -> dict[str, tuple[int, ...]]:
        """The shapes of a call that is cut to so many rows."""
        cut = {}
        for name, shape in shapes.items():
            axis = self._axes.get(name)
            cut[name] = shape if axis is None else (*shape[:axis], rows, *shape[axis + 1 :])
        return cut

    def _cut(self, arrays: dict[str, Any], part: slice) -> dict[str, Any]:
        """The rows `part` of the inputs."""
        rows = self._rows({name: array.shape for name, array in arrays.items()})
        if rows is None or (part.start == 0 and part.stop == rows):
            return arrays
        cut = {}
        for name, array in arrays.items():
            axis = self._axes.get(name)
            cut[name] = (
                array if axis is None else np.asarray(array)[(slice(None),) * axis + (part,)]
            )
        return cut

    def _execute(self, arrays: dict[str, Any]) -> dict[str, DeviceArray]:
        """One run on the device. Everything is queued; nothing waits for the answer."""
        device = self._backend.device
        shapes = {name: tuple(a.shape) for name, a in arrays.items()}
        profile = self._profile(shapes)
        if profile is None:
            raise self._outside(shapes)
        if self._steps and (recorded := self._steps.run(arrays)) is not None:
            return recorded
        context = self._context(profile)
        # back to the pool once queued
        held = {name: self._resident(array).memory for name, array in arrays.items()}
        for name, memory in held.items():
            self._must(
                context.set_input_shape(name, shapes[name]),
                f"shape {list(shapes[name])} of {name!r}",
            )
            self._must(context.set_tensor_address(name, memory.address), f"the address of {name!r}")
        outputs = {name: self._output(context, name) for name in self._signature.output_names}
        self._must(context.execute_async_v3(int(device.stream)), f"a run on {_shapes(shapes)}")
        return outputs

    def _resident(self, array: Any) -> DeviceArray:
        """The array on the device, copied there where it is not."""
        if isinstance(array, DeviceArray):
            return array
        memory = self._backend.device.take(array.nbytes)
        self._backend.device.upload(array, memory.address)
        return DeviceArray(self._backend.device, memory, array.shape, array.dtype.name)

    def _make_step(self, shapes: dict[str, tuple[int, ...]]) -> Step:
        profile = self._profile(shapes)
        assert profile is not None  # it ran with these shapes before
        context = self._new_context(profile)
        return Step(
            self._backend.device, context, shapes, self._dtypes, self._signature.output_names
        )

    def _output(self, context: Any, name: str) -> DeviceArray:
        shape = tuple(int(n) for n in context.get_tensor_shape(name))
        dtype = np.dtype(self._dtypes[name])
        memory = self._backend.device.take(int(np.prod(shape)) * dtype.itemsize)
        self._must(context.set_tensor_address(name, memory.address), f"the address of {name!r}")
        return DeviceArray(self._backend.device, memory, shape, dtype.name)

    def _context(self, profile: int) -> Any:
        """The execution context of a profile, made at first use: it holds the profile's scratch
        memory.
        """
        if profile not in self._contexts:
            self._contexts[profile] = self._new_context(profile)
        return self._contexts[profile]

    def _new_context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise DeviceError(
                f"engine {self.name!r}: no GPU memory for its scratch space; close other"
                f" programs, or lower"
                " --max-tracks or --max-objects"
            )
        stream = int(self._backend.device.stream)
        self._must(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        self._backend.device.wait()
        return context

    def _must(self, accepted: bool, what: str) -> None:
        if not accepted:
            raise EngineError(
                f"engine {self.name!r}: TensorRT does not take {what}; build again: {self._rebuild}"
            )

    def _profile(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        """The first profile that holds all shapes."""
        for index, limits in enumerate(self._profiles):
            if all(_inside(shape, *limits[name]) for name, shape in shapes.items()):
                return index
        return None

    def _limits(self, profile: int) -> dict[str, tuple[Any, Any]]:
        """Smallest and largest shape of every input."""
        shapes = {
            name: self._engine.get_tensor_profile_shape(name, profile)
            for name in self._signature.input_names
        }
        return {name: (tuple(low), tuple(high)) for name, (low, _, high) in shapes.items()}

    def _check_names(self, file: str) -> dict[str, str]:
        """Names and types of all inputs and outputs, which must be the contract's."""
        engine = self._engine
        actual = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        expected = {t.name: t.dtype for t in (*self._signature.inputs, *self._signature.outputs)}
        if actual != set(expected):
            raise EngineError(
                f"{file} has {_names(actual)}; expected {_names(expected)}; build again:"
                f" {self._rebuild}"
            )
        dtypes = {name: _DTYPES.get(engine.get_tensor_dtype(name).name, "?") for name in actual}
        for name, dtype in dtypes.items():
            if (dtype, expected[name]) != ("int32", "int64") and dtype != expected[name]:
                raise EngineError(
                    f"{file}: {name!r} is {dtype}, expected {expected[name]}; build again:"
                    f" {self._rebuild}"
                )
        return dtypes

    def _outside(self, shapes: dict[str, tuple[int, ...]]) -> EngineError:
        ranges = "; or ".join(
            ", ".join(f"{name} {list(low)} to {list(high)}" for name, (low, high) in limits.items())
            for limits in self._profiles
        )
        return EngineError(
            f"engine {self.name!r} was built for {ranges}; got {_shapes(shapes)};"
            " use a smaller clip or fewer tracks or objects, or --device cuda with ONNX engines"
        )


def _check_origin(name: str, path: Path, entry: Entry, backend: Backend, rebuild: str) -> None:
    if entry.tensorrt is None:
        raise EngineError(
            f"engine {name!r}: {path.name} is an ONNX graph, not built for TensorRT; build it:"
            f" {rebuild}"
        )
    if entry.tensorrt != backend.version:
        raise EngineError(
            f"engine {name!r} was built by TensorRT {entry.tensorrt}, this is"
            f" {backend.version}; build again: {rebuild}"
        )
    if entry.gpu != backend.gpu:
        raise EngineError(
            f"engine {name!r} was built for {entry.gpu}, this is {backend.gpu}; build again:"
            f" {rebuild}"
        )


def _row_axes(signature: Signature) -> dict[str, int]:
    """By input and output: the axis that its rows lie along, where it has any."""
    tensors = (*signature.inputs, *signature.outputs)
    return {t.name: t.dims.index(signature.rows) for t in tensors if signature.rows in t.dims}


def _inside(shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]) -> bool:
    return len(shape) == len(low) and all(a <= n <= b for n, a, b in zip(shape, low, high))


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
