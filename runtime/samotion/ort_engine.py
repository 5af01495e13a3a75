"""The onnxruntime backend, on CPU or CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samotion.contract import SIGNATURES, Signature
from samotion.engine import Array, checked_inputs
from samotion.errors import DeviceError, EngineError
from samotion.manifest import Entry

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}


def provider_for(device: str) -> str:
    """The onnxruntime provider of a device. `auto` takes CUDA where it is there; `cuda` insists on it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError("onnxruntime is not installed; pip install 'samotion[cpu]' or 'samotion[gpu]'") from error
    has_cuda = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError("onnxruntime has no CUDA provider here; pip install 'samotion[gpu]', or use --device cpu")
    return PROVIDERS["cuda" if has_cuda and device != "cpu" else "cpu"]


class OrtEngine:
    """One onnxruntime session that speaks the contract's names."""

    def __init__(self, name: str, path: Path, entry: Entry, provider: str, threads: int | None) -> None:
        import onnxruntime

        if entry.tensorrt:
            raise EngineError(
                f"engine {name!r}: {path.name} is built for TensorRT; use --device tensorrt,"
                " or export it again with --target onnx"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # onnxruntime raises a kind of its own for each stage of loading
            raise EngineError(f"engine {name!r}: onnxruntime cannot load {path.name}: {first_line(error)}") from error
        if provider not in self._session.get_providers():
            raise DeviceError(f"engine {name!r}: {provider} did not start; run samotion-check, or use --device cpu")
        self.name = name
        self._signature = SIGNATURES[name]
        _check_graph(self._session, self._signature, entry, path.name)

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        arrays = checked_inputs(self.name, self._signature, inputs)
        try:
            outputs = self._session.run(self._signature.output_names, arrays)
        except Exception as error:
            shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in arrays.items())
            raise EngineError(f"engine {self.name!r} failed on {shapes}: {first_line(error)}") from error
        return dict(zip(self._signature.output_names, outputs))

    def close(self) -> None:
        self._session = None


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:300]


def _names(names: Any) -> str:
    return ", ".join(names)


def _check_graph(session: Any, signature: Signature, entry: Entry, file: str) -> None:
    """Refuse a graph whose names, types or fixed sizes are not those of the contract and the manifest."""
    sides = (
        ("input", session.get_inputs(), signature.inputs, entry.inputs),
        ("output", session.get_outputs(), signature.outputs, entry.outputs),
    )
    for side, found, expected, recorded in sides:
        if {f.name for f in found} != {t.name for t in expected}:
            got = _names(f.name for f in found)
            raise EngineError(f"{file}: {side}s are {got}; expected {_names(t.name for t in expected)}")
        by_name = {f.name: f for f in found}
        for tensor in expected:
            node = by_name[tensor.name]
            got_dtype = _DTYPES.get(node.type, node.type)
            if got_dtype != tensor.dtype:
                raise EngineError(f"{file}: {side} {tensor.name!r} is {got_dtype}, expected {tensor.dtype}")
            dims = recorded.get(tensor.name, list(tensor.dims))
            if len(node.shape) != len(tensor.dims) or any(
                isinstance(want, int) and want != have for have, want in zip(node.shape, dims)
            ):
                raise EngineError(f"{file}: {side} {tensor.name!r} has shape {node.shape}, expected {dims}")
