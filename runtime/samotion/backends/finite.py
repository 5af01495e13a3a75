"""Engines answer with finite numbers; one that does not is named, before its answer looks like a
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from samotion.contract import SIGNATURES
from samotion.errors import EngineError


def require_finite(
    engine: str, inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]
) -> None:
    """Refuse outputs with NaN or infinity. None of the contract's outputs may hold any (see
    contract.py).

    Outputs that were kept on a device are not read for this: they are looked at here as `inputs` of
    the engine whose answer went wrong. Raises EngineError that names the engine at fault, and what
    to do.
    """
    for name, array in outputs.items():
        if not _is_finite(array):
            _blame_an_input(engine, inputs)
            raise EngineError(_answers(engine, name, array))


def _is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are. NaN and infinity show in the smallest or the largest one, which
    takes no memory.
    """
    if array.dtype.kind != "f" or not array.size:
        return True
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _blame_an_input(engine: str, inputs: Mapping[str, Any]) -> None:
    """Raise for an input that was not finite to begin with."""
    for name, given in inputs.items():
        array = np.asarray(given)
        if _is_finite(array):
            continue
        if isinstance(given, np.ndarray):
            raise EngineError(
                f"engine {engine!r} was given NaN or infinity in {name!r}; expected finite numbers"
            )
        if source := _source(engine, name):  # none gives a bank: it was gathered from answers
            raise EngineError(_answers(source, name, array))


def _source(engine: str, tensor: str) -> str | None:
    """The engine of the same net that gives `tensor`."""
    net = SIGNATURES[engine].net
    known = (e for e, s in SIGNATURES.items() if s.net == net and tensor in s.output_names)
    return next(known, None)


def _answers(engine: str, output: str, array: np.ndarray) -> str:
    bad = array.size - int(np.isfinite(array).sum())
    return (
        f"engine {engine!r} answers NaN or infinity ({bad} of {array.size} numbers of {output!r});"
        " its weights are damaged or too large for half precision: export it again without"
        " --no-verify,"
        f" or with --precision fp32: samotion-export {SIGNATURES[engine].net}"
    )
