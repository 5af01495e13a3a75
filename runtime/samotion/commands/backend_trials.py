"""Backends that samotion-check tries: each runs a tiny graph, or sends numbers to the GPU and
back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from samotion.backends.ort import PROVIDERS, gpu_words, load_libraries, why_missing
from samotion.backends.trt_backend import RTX, TENSORRT
from samotion.errors import DeviceError, first_line

# An ONNX graph, y = x @ x of 2x2 float32 (opset 17): small enough to carry, large enough to need a
# working backend.
TINY_GRAPH = bytes.fromhex(
    "08083a400a110a01780a017812017922064d61744d756c1201675a130a0178120e0a0c080112080a0208020a0208"
    "0262130a0179120e0a0c080112080a0208020a02080242040a001011"
)
TENSORRTS = {"tensorrt": TENSORRT, "tensorrt for rtx": RTX}  # modules, as the report names them


@dataclass(frozen=True)
class Backend:
    """One way to run engines, tried: `problem` says why it does not work, None where it does."""

    name: str
    problem: str | None


def try_onnxruntime(device: str) -> Backend:
    """Run the tiny graph on one of onnxruntime's providers and look at the answer."""
    name = f"onnxruntime {device}"
    try:
        import onnxruntime
    except ImportError as error:
        return Backend(name, f"{why_missing(error)} ({first_line(error)})")
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        return Backend(name, f"this onnxruntime was built without {provider}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    x = np.array([[1, 2], [3, 4]], np.float32)
    try:
        missing = load_libraries(provider).partition("\n")[0]
        session: Any = onnxruntime.InferenceSession(
            TINY_GRAPH, options, providers=[provider], enable_fallback=0
        )
        active = session.get_providers()
        y = session.run(["y"], {"x": x})[0]
    except Exception as error:  # onnxruntime raises a kind of its own for each stage
        words = gpu_words(error) if device == "cuda" else None
        return Backend(name, words or first_line(error))
    if provider not in active:
        why = missing or "CUDA or cuDNN is missing or of another version"
        return Backend(name, f"{provider} did not start: {why}")
    return Backend(
        name,
        None
        if np.array_equal(y, x @ x)
        else f"computes wrongly: {y.tolist()} for {(x @ x).tolist()}",
    )


def try_tensorrt(name: str = "tensorrt") -> Backend:
    """Load a TensorRT and cuda-python, and send numbers to the GPU and back."""
    from samotion.backends.trt_backend import Backend as TensorRT

    try:
        backend = TensorRT(TENSORRTS[name])
    except DeviceError as error:
        return Backend(name, str(error))
    try:
        sent = np.arange(1 << 10, dtype=np.float32)
        there = backend.device.empty(sent.shape, "float32")
        there[:] = sent
        same = np.array_equal(np.asarray(there), sent)
        return Backend(
            name, None if same else f"{backend.gpu} returns other numbers than were sent to it"
        )
    except DeviceError as error:
        return Backend(name, str(error))
    finally:
        backend.close()
