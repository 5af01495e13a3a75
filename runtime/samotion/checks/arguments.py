"""What callers pass from Python: taken where it is clear what is meant, refused in one sentence
where it is not.
"""

from __future__ import annotations

import os
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from samotion.errors import UsageError

if TYPE_CHECKING:
    from samotion.presets import Preset

MOST = 2**63 - 1  # what 64 bits hold, with a sign


class AsArray(Protocol):
    """What NumPy makes an array of: an array, or the frames of a long clip."""

    def __array__(self) -> np.ndarray: ...


def path_of(value: Any, what: str) -> Path:
    """A path from text, bytes or a path object. Raises UsageError for anything else."""
    try:
        return Path(os.fsdecode(value))
    except TypeError as error:
        raise UsageError(f"{what} is {_described(value)}; expected a path") from error


def whole_number(value: Any, what: str) -> int:
    """A whole number of Python's or NumPy's. Raises UsageError for anything else, and for what
    64 bits do not hold.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise UsageError(f"{what} is {_described(value)}; expected a whole number")
    number = int(value)
    if abs(number) > MOST:
        raise UsageError(f"{what} is a number of {number.bit_length()} bits; expected at most 63")
    return number


def probability(value: Any, what: str) -> float:
    """A number of Python's or NumPy's from 0 to 1. Raises UsageError for anything else."""
    return _number(value, what, 1, "a number from 0 to 1")


def moment(value: Any, what: str) -> float:
    """A time in s of Python's or NumPy's, 0 or more. Raises UsageError for anything else."""
    return _number(value, what, MOST, "a number of seconds, 0 or more")


def _number(value: Any, what: str, most: int, expected: str) -> float:
    """A number of Python's or NumPy's from 0 to `most`."""
    numbers = int, float, np.integer, np.floating
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers):
        raise UsageError(f"{what} is {_described(value)}; expected {expected}")
    if not 0 <= value <= most:
        raise UsageError(f"{what} is {value}; expected {expected}")
    return float(value)


def period(start_s: Any, end_s: Any) -> tuple[float | None, float | None]:
    """Two moments, of which either may be left open. Raises UsageError where nothing lies between
    them.
    """
    start = None if start_s is None else moment(start_s, "start_s")
    end = None if end_s is None else moment(end_s, "end_s")
    if end is not None and end <= (start or 0):
        raise UsageError(f"end_s is {end:g}; expected more than start_s, {start or 0:g}")
    return start, end


def instance_of(value: Any, kind: type, what: str, example: str) -> None:
    """Raise UsageError for a value of another kind, with an `example` of what to write."""
    if not isinstance(value, kind):
        raise UsageError(f"{what} is {_described(value)}; expected {example}")


def preset_of(engines: Any) -> Preset:
    """The preset of engines. Raises UsageError for what are none, as the name of a folder."""
    if not hasattr(engines, "preset"):
        raise UsageError(f"engines are {_described(engines)}; expected samotion.open_engines(...)")
    preset: Preset = engines.preset
    return preset


def frames_of(value: Any) -> np.ndarray:
    """Frames (T,H,W,3) uint8, T at least 1, as an array; those of a long clip are read. Raises
    UsageError for anything else.
    """
    expected = "expected uint8 (T,H,W,3), T at least 1"
    if not isinstance(value, np.ndarray) and getattr(value, "dtype", None) != np.uint8:
        raise UsageError(f"frames are {_described(value)}; {expected}")
    frames = np.asarray(value)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise UsageError(f"frames are {frames.dtype} {list(frames.shape)}; {expected}")
    return frames


def _described(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"
