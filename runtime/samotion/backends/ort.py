"""The onnxruntime backend, on CPU or CUDA. Outputs can stay where they were computed (`keep`),
for other engines.
"""

from __future__ import annotations

import io
import math
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from samotion.backends.cuda import Device
from samotion.backends.device_array import DeviceArray
from samotion.backends.finite import require_finite
from samotion.backends.inputs import checked_inputs
from samotion.contract import SIGNATURES, Signature
from samotion.errors import DeviceError, EngineError, first_line
from samotion.manifest import Entry

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
OUT_OF_MEMORY = "out of GPU memory"
# of a GPU, far inside what onnxruntime says
_NO_ROOM = re.compile("allocate memory|smaller than requested|out of memory|ALLOC_FAILED")
_FAILURE = re.compile(r"CU\w+ failure \d+: [^;\n]*[^;\s]")
_loading = threading.Lock()


def why_missing(error: ImportError) -> str:
    """What a failed import says of onnxruntime. A signal that came while its library was being
    loaded, which that tells as an error of its own, is raised.
    """
    cause = error.__cause__ or error.__context__
    if cause is not None and not isinstance(cause, Exception):
        raise cause
    if isinstance(error, ModuleNotFoundError):
        return "onnxruntime is not installed"
    return "onnxruntime cannot be loaded"


def provider_for(device: str) -> str:
    """The onnxruntime provider of a device. `auto` takes CUDA where it is there; `cuda` insists
    on it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(
            f"{why_missing(error)}; pip install 'samotion[cpu]' or 'samotion[gpu]'"
        ) from error
    has_cuda = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError(
            "onnxruntime has no CUDA provider here; pip install 'samotion[gpu]', or use"
            " --device cpu"
        )
    return PROVIDERS["cuda" if has_cuda and device != "cpu" else "cpu"]


def stream_of(provider: str) -> Device | None:
    """The stream that all CUDA sessions share, so that CUDA events can time them; None without
    cuda-python.
    """
    if provider != PROVIDERS["cuda"]:
        return None
    try:
        return Device()
    except DeviceError:
        return None


def session_provider(provider: str, stream: Device | None) -> Any:
    """A provider as a session takes it, to run on `stream` where there is one.

    CUDA computes float32 graphs in float32: in TF32, its default, nano's tracks are a pixel off.
    """
    if provider != PROVIDERS["cuda"]:
        return provider
    options = {"use_tf32": "0"}
    if stream:
        options["device_id"] = str(stream.ordinal)
        options["user_compute_stream"] = str(stream.stream_handle)
    return provider, options


def load_libraries(provider: str) -> str:
    """Let onnxruntime find the CUDA libraries that pip installed, beside PyTorch or with
    `samotion[gpu]`. Returns what it says of those that are missing.
    """
    import onnxruntime

    if provider != PROVIDERS["cuda"] or not hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        return ""
    with _loading, redirect_stdout(io.StringIO()) as said:  # stdout is for results
        onnxruntime.preload_dlls()
    return said.getvalue()


def gpu_words(error: Exception) -> str | None:
    """What onnxruntime says of the GPU or its driver in an error; None where it says nothing."""
    if _NO_ROOM.search(str(error)):
        return OUT_OF_MEMORY
    found = _FAILURE.search(str(error))
    return found.group() if found else None


def _gpu_error(where: str, error: Exception) -> DeviceError | None:
    """The same as an error of ours, with what to do."""
    words = gpu_words(error)
    if words is None:
        return None
    less = "close other programs, or lower --max-tracks or --max-objects"
    advice = less if words == OUT_OF_MEMORY else "run samotion-check, or use --device cpu"
    return DeviceError(f"{where}: {words}; {advice}")


class OrtArray:
    """An output that stayed on onnxruntime's device; engines of the same device take it as an input
    without a copy.

    Anything else that asks for numbers gets them copied: `numpy.asarray(x)`.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.shape: tuple[int, ...] = tuple(value.shape())
        self.dtype = np.dtype(_DTYPES[value.data_type()])

    @property
    def address(self) -> int:
        """Of its first byte, there."""
        return int(self.value.data_ptr())

    @property
    def nbytes(self) -> int:
        """How much it holds."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array: np.ndarray = self.value.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)


class OrtMemory:
    """The device memory of one output: onnxruntime takes it back when nothing refers to it."""

    def __init__(self, value: Any) -> None:
        self._value, self.address = value, int(value.data_ptr())


class OrtEngine:
    """One onnxruntime session that speaks the contract's names. `stream`: that of all CUDA
    sessions, if known.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        entry: Entry,
        provider: str,
        threads: int | None,
        stream: Device | None = None,
    ) -> None:
        import onnxruntime

        if entry.tensorrt:
            raise EngineError(
                f"engine {name!r}: {path.name} is built for TensorRT; use --device tensorrt,"
                " or export it again with --target onnx"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, and need not be printed too
        options.intra_op_num_threads = threads or 0
        # shapes change: each new one costs the step of tracking fresh pages, 3 %
        options.enable_mem_pattern = False
        # threads that spin between calls take the cores from NumPy and OpenCV: a run of 44 s, 35
        # without
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            load_libraries(provider)
            chosen = session_provider(provider, stream)
            self._session: Any = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=[chosen],
                enable_fallback=0,  # it would try the CPU instead, and print that on stdout
            )
        except Exception as error:  # onnxruntime raises a kind of its own for each stage of loading
            if provider == PROVIDERS["cuda"] and (told := _gpu_error(f"engine {name!r}", error)):
                raise told from error
            raise EngineError(
                f"engine {name!r}: onnxruntime cannot load {path.name}: {first_line(error)}"
            ) from error
        if provider not in self._session.get_providers():
            raise DeviceError(
                f"engine {name!r}: {provider} did not start; run samotion-check, or use"
                f" --device cpu"
            )
        self.name = name
        self._signature = SIGNATURES[name]
        _check_graph(self._session, self._signature, entry, path.name)
        self._device = "cuda" if provider == PROVIDERS["cuda"] else "cpu"
        self._stream, self._ordinal = stream, stream.ordinal if stream else 0
        # on one stream, all runs of a session share its handles of cuDNN, one thread at a time
        self._turn: Callable[[], Any] = stream.turn if stream else nullcontext

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Run; the outputs by name, as NumPy arrays."""
        arrays = self._accepted(inputs)
        if any(isinstance(array, (OrtArray, DeviceArray)) for array in arrays.values()):
            outputs = {name: np.asarray(array) for name, array in self._bound(arrays).items()}
        else:
            session, names = self._opened(), self._signature.output_names
            outputs = dict(zip(names, self._named(lambda: session.run(names, arrays), arrays)))
        require_finite(self.name, arrays, outputs)
        return outputs

    def keep(self, **inputs: Any) -> dict[str, Any]:
        """As a call, but the outputs stay on the device, to be passed to other engines of the
        same folder.
        """
        arrays = self._accepted(inputs)
        kept = self._bound(arrays)
        if self._device == "cpu":  # elsewhere the engine that takes them finds out
            require_finite(
                self.name, arrays, {name: np.asarray(array) for name, array in kept.items()}
            )
        return kept

    @property
    def device_ms(self) -> Callable[..., float] | None:
        """As `_device_ms`; None where the stream is not known."""
        return self._device_ms if self._stream else None

    def _device_ms(self, **inputs: Any) -> float:
        """GPU time of one run in ms, between CUDA events: the inputs are there already, the
        outputs stay.
        """
        import onnxruntime

        assert self._stream is not None
        values = {
            name: array
            if isinstance(array, (OrtArray, DeviceArray))
            else OrtArray(
                onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device, self._ordinal)
            )
            for name, array in self._accepted(inputs).items()
        }
        return self._stream.elapsed_ms(lambda: self._bound(values))

    def _accepted(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs in the contract's types: those on the device as they are, all others as
        checked numpy arrays.
        """
        there = {
            k: v
            for k, v in inputs.items()
            if isinstance(v, OrtArray) or (isinstance(v, DeviceArray) and v.device is self._stream)
        }
        here = checked_inputs(
            self.name, self._signature, {k: v for k, v in inputs.items() if k not in there}, there
        )
        return {**there, **here}

    def _bound(self, arrays: dict[str, Any]) -> dict[str, OrtArray | DeviceArray]:
        """One run whose outputs stay on the device."""
        session = self._opened()
        binding = session.io_binding()
        for name, array in arrays.items():
            if isinstance(array, OrtArray):
                binding.bind_ortvalue_input(name, array.value)
            elif isinstance(array, DeviceArray):
                place = (array.dtype.type, array.shape, array.address)
                binding.bind_input(name, self._device, self._ordinal, *place)
            else:
                binding.bind_cpu_input(name, array)
        for name in self._signature.output_names:
            binding.bind_output(name, self._device, self._ordinal)
        self._named(lambda: session.run_with_iobinding(binding), arrays)
        outputs = zip(self._signature.output_names, binding.get_outputs())
        return {name: self._given(value) for name, value in outputs}

    def _given(self, value: Any) -> OrtArray | DeviceArray:
        """An output where it lies; with rows and copies of its own where the stream is known."""
        if self._stream is None:
            return OrtArray(value)
        shape, dtype = tuple(value.shape()), _DTYPES[value.data_type()]
        return DeviceArray(self._stream, OrtMemory(value), shape, dtype)

    def _named(self, run: Callable[[], Any], arrays: dict[str, Any]) -> Any:
        """The answer of `run`; its errors name the engine and the shapes."""
        try:
            with self._turn():
                if self._stream:
                    self._stream.require_open()
                return run()
        except Exception as error:
            shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in arrays.items())
            where = f"engine {self.name!r} failed on {shapes}"
            if self._device == "cuda" and (told := _gpu_error(where, error)):
                raise told from error
            raise EngineError(f"{where}: {first_line(error)}") from error

    def _opened(self) -> Any:
        """The session. A call that holds it goes on while another thread closes the engine; on CUDA
        if it has begun.
        """
        if (session := self._session) is None:
            raise EngineError(f"engine {self.name!r} is closed; open its folder again")
        return session

    def close(self) -> None:
        """Give the session back."""
        self._session = None


def _check_graph(session: Any, signature: Signature, entry: Entry, file: str) -> None:
    """Refuse a graph whose names, types or fixed sizes are not those of the contract and the
    manifest.
    """
    sides = (
        ("input", session.get_inputs(), signature.inputs, entry.inputs),
        ("output", session.get_outputs(), signature.outputs, entry.outputs),
    )
    for side, actual, expected, recorded in sides:
        if {f.name for f in actual} != {t.name for t in expected}:
            got, wanted = (", ".join(one.name for one in some) for some in (actual, expected))
            raise EngineError(f"{file}: {side}s are {got}; expected {wanted}; export again")
        by_name = {f.name: f for f in actual}
        for tensor in expected:
            node = by_name[tensor.name]
            got_dtype = _DTYPES.get(node.type, node.type)
            if got_dtype != tensor.dtype:
                raise EngineError(
                    f"{file}: {side} {tensor.name!r} is {got_dtype}, expected {tensor.dtype}"
                )
            dims = recorded.get(tensor.name, list(tensor.dims))
            if len(node.shape) != len(tensor.dims) or any(
                isinstance(want, int) and want != have for have, want in zip(node.shape, dims)
            ):
                raise EngineError(
                    f"{file}: {side} {tensor.name!r} has shape {node.shape}, expected {dims}"
                )
