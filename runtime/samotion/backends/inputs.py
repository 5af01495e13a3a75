"""What goes into an engine: named arrays of the contract's types."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from samotion.contract import Signature
from samotion.errors import EngineError


def checked_inputs(
    engine: str, signature: Signature, inputs: dict[str, Any], elsewhere: Container[str] = ()
) -> dict[str, np.ndarray]:
    """The inputs as contiguous arrays of the contract's types; those named in `elsewhere` are taken
    care of already.

    Raises EngineError for a name that is missing or unknown, and for values that a cast would
    change.
    """
    wanted = {t.name: t.dtype for t in signature.inputs if t.name not in elsewhere}
    arrays = {name: _as_contract(inputs, name, dtype, engine) for name, dtype in wanted.items()}
    if extra := inputs.keys() - arrays.keys():
        raise EngineError(
            f"engine {engine!r} has no input {', '.join(sorted(extra))}; it takes"
            f" {', '.join(signature.input_names)}"
        )
    return arrays


def _as_contract(inputs: dict[str, Any], name: str, dtype: str, engine: str) -> np.ndarray:
    if name not in inputs:
        raise EngineError(
            f"engine {engine!r} needs input {name!r}; got {', '.join(inputs) or 'nothing'}"
        )
    array = np.asarray(inputs[name])
    if dtype == "uint8" and array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise EngineError(f"engine {engine!r}: input {name!r} is {array.dtype}, expected {dtype}")
    return np.ascontiguousarray(array, dtype)
