"""TensorRT's engines, by names, through `tensorrt` or `tensorrt_rtx`, and `cuda-python`. Works with
TensorRT 8.6, 10 and 11, and with TensorRT for RTX.

One stream, one pool of device memory and one block of scratch memory serve all engines of a folder,
so outputs can stay on the GPU and go into the next engine there (`keep`). Shapes are those of the
profiles an engine was built with; rows beyond a profile's largest batch go through in several
calls.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samotion.backends.cuda_graphs import Key, Step, Steps
from samotion.backends.device_array import DeviceArray
from samotion.backends.finite import require_finite
from samotion.backends.inputs import checked_inputs
from samotion.backends.staging import ALIGNMENT
from samotion.backends.trt_backend import RTX, RTX_CAPABILITIES, TENSORRT, TITLES, Backend
from samotion.backends.trt_profiles import Limits, Profiles
from samotion.contract import SIGNATURES
from samotion.errors import DeviceError, EngineError
from samotion.manifest import Entry

# Types by the names that every TensorRT gives them. 8.6 has no INT64: it takes INT32 in its place.
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@dataclass
class Context:
    """An execution context with its profile, and the scratch block that it was lent."""

    raw: Any
    scratch_bytes: int
    generation: int = -1


class TrtEngine:
    """One TensorRT engine that speaks the contract's names. `rebuild`: the command that builds it
    anew.

    Raises EngineError for a file of another kind, or one built by another TensorRT or for another
    GPU.
    """

    def __init__(self, name: str, path: Path, entry: Entry, backend: Backend, rebuild: str) -> None:
        self.name, self._rebuild, self._backend = name, rebuild, backend
        self._signature = SIGNATURES[name]
        _check_origin(name, path, entry, backend, rebuild)
        self._engine: Any = backend.deserialize(path.read_bytes())
        if self._engine is None:
            raise EngineError(
                f"engine {name!r}: {backend.title} {backend.version} refuses {path.name}"
                f"{_limits_of_rtx(backend)}; build again, unless other programs fill the GPU:"
                f" {rebuild}"
            )
        self._dtypes = self._check_names(path.name)
        profiles = [self._limits(i) for i in range(self._engine.num_optimization_profiles)]
        self._profiles = Profiles(self._signature, profiles)
        self._contexts: dict[int, Context] = {}
        self._steps = (
            Steps(self._make_step, lambda: backend.scratch.generation)
            if self._signature.per_frame and backend.records
            else None
        )

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Run; the outputs by name, as NumPy arrays."""
        with self._backend.device.turn():
            download = self._backend.device.fetch(self._run(inputs))
        outputs = download.get()
        require_finite(self.name, inputs, outputs)
        return outputs

    def keep(self, **inputs: Any) -> dict[str, Any]:
        """As a call, but the outputs stay on the GPU, to be passed to other engines of the same
        folder.
        """
        with self._backend.device.turn():
            return dict(self._run(inputs))

    def device_ms(self, **inputs: Any) -> float:
        """GPU time of one run in ms, between CUDA events: the inputs are there already, the
        outputs stay.
        """
        with self._backend.device.turn():
            arrays = {name: self._resident(array) for name, array in self._accepted(inputs).items()}
            return self._backend.device.elapsed_ms(lambda: self._run(arrays))

    def close(self) -> None:
        """Give contexts, recorded steps and the engine back."""
        with self._backend.device.turn():
            with suppress(DeviceError):  # a GPU that met a fault runs nothing any more
                self._backend.device.wait()
                if self._steps:
                    self._steps.close()
            self._contexts.clear()
            self._engine = None

    def _run(self, inputs: dict[str, Any]) -> dict[str, DeviceArray]:
        """Every output, of as many runs as the profiles ask for. One thread at a time: contexts
        and stream are one.
        """
        if self._engine is None:
            raise EngineError(f"engine {self.name!r} is closed; open its folder again")
        arrays = self._accepted(inputs)
        shapes = {name: tuple(a.shape) for name, a in arrays.items()}
        parts = self._profiles.parts(shapes)
        if not parts:  # none fit, or there are no rows
            raise self._outside(shapes)
        runs = [self._execute(self._profiles.cut(arrays, part)) for part in parts]
        if len(runs) == 1:
            return runs[0]
        return {name: self._joined(name, [run[name] for run in runs]) for name in runs[0]}

    def _joined(self, output: str, parts: list[DeviceArray]) -> DeviceArray:
        """The parts of an output put together again, along the letter that its call was cut
        along.
        """
        axis = self._profiles.axes[output]
        device, first = self._backend.device, parts[0]
        if axis:
            joined = np.concatenate([np.asarray(part) for part in parts], axis)
            return self._resident(joined)
        whole = device.empty((sum(map(len, parts)), *first.shape[1:]), first.dtype.name)
        start = 0
        for part in parts:
            whole[start : start + len(part)] = part
            start += len(part)
        return whole

    def _accepted(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs in the engine's types: those on this GPU as they are, all others as checked
        numpy arrays.
        """
        there = {k: v for k, v in inputs.items() if self._is_there(k, v)}
        here = checked_inputs(
            self.name, self._signature, {k: v for k, v in inputs.items() if k not in there}, there
        )
        return {
            **there,
            **{name: np.ascontiguousarray(a, self._dtypes[name]) for name, a in here.items()},
        }

    def _is_there(self, name: str, value: Any) -> bool:
        """Whether an input lies on this GPU, in the engine's type (8.6 takes no INT64)."""
        return (
            isinstance(value, DeviceArray)
            and value.device is self._backend.device
            and value.dtype == self._dtypes.get(name)
        )

    def _execute(self, arrays: dict[str, Any]) -> dict[str, DeviceArray]:
        """One run on the device. Everything is queued; nothing waits for the answer."""
        device = self._backend.device
        shapes = {name: tuple(a.shape) for name, a in arrays.items()}
        profile = self._profiles.find(shapes)
        if profile is None:
            raise self._outside(shapes)
        if self._steps and (recorded := self._steps.run(arrays)) is not None:
            return recorded
        context = self._context(profile)
        # back to the pool once queued
        held = {name: self._resident(array) for name, array in arrays.items()}
        for name, there in held.items():
            self._must(
                context.set_input_shape(name, shapes[name]),
                f"shape {list(shapes[name])} of {name!r}",
            )
            self._must(context.set_tensor_address(name, there.address), f"the address of {name!r}")
        outputs = {name: self._output(context, name) for name in self._signature.output_names}
        self._must(context.execute_async_v3(device.stream_handle), f"a run on {_shapes(shapes)}")
        return outputs

    def _resident(self, array: Any) -> DeviceArray:
        """The array on the device, as TensorRT wants it aligned; copied there where it is not."""
        if isinstance(array, DeviceArray) and array.address % ALIGNMENT == 0:
            return array
        there = self._backend.device.empty(array.shape, array.dtype.name)
        self._backend.device.write(there.address, array)
        return there

    def _make_step(self, key: Key) -> Step:
        profile = self._profiles.find({name: shape for name, shape, _ in key})
        assert profile is not None  # it ran with these shapes before
        context = self._new_context(profile)
        self._lend(context)
        outputs, device = self._signature.output_names, self._backend.device
        return Step(device, context.raw, key, self._dtypes, outputs, context.generation)

    def _output(self, context: Any, name: str) -> DeviceArray:
        shape = tuple(int(n) for n in context.get_tensor_shape(name))
        array = self._backend.device.empty(shape, self._dtypes[name])
        self._must(context.set_tensor_address(name, array.address), f"the address of {name!r}")
        return array

    def _context(self, profile: int) -> Any:
        """The execution context of a profile, made at first use, with scratch memory to work in."""
        if profile not in self._contexts:
            self._contexts[profile] = self._new_context(profile)
        context = self._contexts[profile]
        self._lend(context)
        return context.raw

    def _new_context(self, profile: int) -> Context:
        raw = self._backend.make_context(self._engine)
        if raw is None:
            raise self._no_scratch()
        stream = self._backend.device.stream_handle
        self._must(raw.set_optimization_profile_async(profile, stream), f"profile {profile}")
        self._backend.device.wait()
        return Context(raw, self._backend.scratch_bytes(self._engine, profile))

    def _lend(self, context: Context) -> None:
        """Give a context the scratch block, grown where it needs more, unless it has it."""
        scratch = self._backend.scratch
        try:
            scratch.grow(context.scratch_bytes)
        except DeviceError as error:
            raise self._no_scratch() from error
        if context.generation != scratch.generation:
            self._backend.lend(context.raw)
            context.generation = scratch.generation

    def _no_scratch(self) -> DeviceError:
        """It is of the profile's largest shapes, whatever a clip asks for."""
        half = "--precision fp16"
        smaller = f", or build for half as much: {self._rebuild} {half}"
        return DeviceError(
            f"engine {self.name!r}: no GPU memory for its scratch space; close other programs"
            + smaller * (half not in self._rebuild)
        )

    def _must(self, accepted: bool, what: str) -> None:
        if not accepted:
            self._backend.device.wait()  # a fault of the GPU is told as such
            raise EngineError(
                f"engine {self.name!r}: TensorRT does not take {what}; build again: {self._rebuild}"
            )

    def usual_shapes(self) -> list[Limits]:
        """By profile: the smallest and the usual shape of every input."""
        count = range(self._engine.num_optimization_profiles)
        return [self._limits(profile, 1) for profile in count]

    def _limits(self, profile: int, to: int = 2) -> Limits:
        """Smallest and largest shape of every input; `to` 1: smallest and usual."""
        shapes = {
            name: self._engine.get_tensor_profile_shape(name, profile)
            for name in self._signature.input_names
        }
        return {name: (tuple(three[0]), tuple(three[to])) for name, three in shapes.items()}

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
        dtypes = {name: DTYPES.get(engine.get_tensor_dtype(name).name, "?") for name in actual}
        for name, dtype in dtypes.items():
            if (dtype, expected[name]) != ("int32", "int64") and dtype != expected[name]:
                raise EngineError(
                    f"{file}: {name!r} is {dtype}, expected {expected[name]}; build again:"
                    f" {self._rebuild}"
                )
        return dtypes

    def _outside(self, shapes: dict[str, tuple[int, ...]]) -> EngineError:
        return EngineError(
            f"engine {self.name!r} was built for {self._profiles}; got {_shapes(shapes)};"
            " use a smaller clip, fewer tracks or objects, or a larger --prompt-every, or --device"
            " cuda with ONNX engines"
        )


def _check_origin(name: str, path: Path, entry: Entry, backend: Backend, rebuild: str) -> None:
    if entry.tensorrt is None:
        raise EngineError(
            f"engine {name!r}: {path.name} is an ONNX graph, not built for TensorRT; build it:"
            f" {rebuild}"
        )
    built_by = f"{TITLES[RTX if entry.rtx else TENSORRT]} {entry.tensorrt}"
    if built_by != f"{backend.title} {backend.version}":
        raise EngineError(
            f"engine {name!r} was built by {built_by}, this is"
            f" {backend.title} {backend.version}; build again: {rebuild}"
        )
    if entry.gpu not in (None, backend.gpu):
        raise EngineError(
            f"engine {name!r} was built for {entry.gpu}, this is {backend.gpu}; build again:"
            f" {rebuild}"
        )


def _limits_of_rtx(backend: Backend) -> str:
    if backend.module != RTX:
        return ""
    return (
        f" on {backend.gpu}, compute capability {backend.device.capability} (it runs on"
        f" {RTX_CAPABILITIES}; for others there is --target tensorrt)"
    )


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
