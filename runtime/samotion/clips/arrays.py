"""Frames that come from Python: arrays, lists of images, tensors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from samotion.errors import InputError

FRAMES = "uint8 [T,H,W,3] in RGB"
EXPECTED = f"expected a video file, a folder of frames, or frames {FRAMES}"


def path_or_frames(source: Any) -> str | np.ndarray:
    """What a caller passed, as a path or as frames (T,H,W,3) uint8 RGB.

    Lists of images and what NumPy takes for an array (a tensor on the CPU) become frames. Raises
    InputError for all else.
    """
    if isinstance(source, (str, bytes, os.PathLike)):
        return os.fsdecode(source)
    frames = _as_array(source)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise InputError(f"frames are {_words(source, frames)}; expected {FRAMES}")
    return frames


def check_frame(frame: Any) -> None:
    """Raise InputError for what is no frame (H,W,3) uint8."""
    expected = "expected uint8 [H,W,3] in RGB"
    if not isinstance(frame, np.ndarray):
        raise InputError(f"the frame is {_kind(frame)}; {expected}")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(f"the frame is {_words(frame, frame)}; {expected}")


def _as_array(source: Any) -> np.ndarray:
    listed = isinstance(source, (list, tuple))
    if not listed and not hasattr(source, "__array__"):
        hint = "; record the camera to a file first" if isinstance(source, int) else ""
        raise InputError(f"the clip is {_kind(source)}; {EXPECTED}{hint}")
    if listed and not (source and all(hasattr(image, "__array__") for image in source)):
        holds = f"a list of {_kind(source[0])}" if source else "an empty list"
        raise InputError(f"the clip is {holds}; {EXPECTED}")
    try:
        return np.stack([np.asarray(image) for image in source]) if listed else np.asarray(source)
    except Exception as error:  # whatever another library says of its own tensor
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the clip is {_kind(source)} of no use ({reason}); {EXPECTED}") from error


def _words(source: Any, frames: np.ndarray) -> str:
    shape = f"{frames.dtype}{list(frames.shape)}"
    return shape if isinstance(source, np.ndarray) else f"{shape} (from {_kind(source)})"


def _kind(value: Any) -> str:
    """A value's type in words: 'the int 0', 'a torch.Tensor'."""
    if isinstance(value, (bool, int, float)) or value is None:
        return f"{type(value).__name__} {value!r}" if value is not None else "None"
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
