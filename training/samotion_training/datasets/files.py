"""Files of foreign datasets, read with suspicion: no pickles, no paths that lead outside, one
line for errors.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from samotion.errors import InputError

MOST_BYTES = 2 << 30  # of an unpacked annotation file: Dynamic Replica's are under a tenth of it
ADVICE = "download it again, or leave its folder out"


def within(root: Path, relative: Any) -> Path:
    """`root / relative`, a path that an annotation names. Raises InputError where it leads
    outside `root`.
    """
    if not isinstance(relative, str):
        raise InputError(
            f"{root}: an annotation names {relative!r:.80}, expected the path of a file; {ADVICE}"
        )
    path = root / relative
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{root}: an annotation names {relative!r:.80}, which lies outside this folder;"
            f" {ADVICE}"
        )
    return path


def read_json(path: Path) -> Any:
    """What a JSON file says, or a gzipped one that is called .jgz."""
    try:
        with gzip.open(path) if path.suffix == ".jgz" else open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("it is too large")
        return json.loads(text)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise InputError(f"{path}: no JSON can be read ({error}); {ADVICE}") from error


def raster(source: Path | bytes, name: object = None) -> np.ndarray:
    """A picture file's own values: (H, W) of any type (palette indices, 16 bit, float32), or (H,
    W, channels).
    """
    name = source if name is None else name
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return np.asarray(image)
    # damaged files raise anything from KeyError to struct.error in Pillow's readers
    except Exception as error:
        raise InputError(
            f"{name}: got a file that is no picture, expected a PNG or TIFF; {ADVICE}"
        ) from error


def rgb(source: Path | bytes, name: object = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, opacity left out."""
    values = raster(source, name)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] < 3:
        name = source if name is None else name
        raise InputError(
            f"{name}: got {values.dtype} {values.shape}, expected an RGB picture of 8 bits;"
            f" {ADVICE}"
        )
    return np.ascontiguousarray(values[..., :3])


def stacked(pictures: list[np.ndarray], name: object) -> np.ndarray:
    """Pictures of one size as one array. Raises InputError where there are none or sizes differ."""
    if not pictures or len({p.shape for p in pictures}) > 1:
        sizes = sorted({str(p.shape) for p in pictures}) or ["no pictures"]
        raise InputError(f"{name}: got {', '.join(sizes)}, expected frames of one size; {ADVICE}")
    return np.stack(pictures)


def numbers(values: Any, shape: tuple[int, ...], name: object) -> np.ndarray:
    """`values` as float64 of `shape`, finite. Raises InputError where they are not."""
    try:
        array = np.asarray(values, np.float64)
        if array.shape != shape and array.size == np.prod(shape):
            array = array.reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}: got {values!r:.80}, expected numbers of shape {shape}; {ADVICE}"
        ) from error
    if array.shape != shape or not np.isfinite(array).all():
        raise InputError(
            f"{name}: got numbers of shape {array.shape}, expected finite ones of {shape}; {ADVICE}"
        )
    return array


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a .pth file that holds a dictionary, without running what a pickle says."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {
            key: value.numpy() for key, value in found.items() if isinstance(value, torch.Tensor)
        }
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        AttributeError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"{path}: no plain tensors can be read ({type(error).__name__}); {ADVICE}"
        ) from error


def video(path: Path, pixels: str) -> Iterator[np.ndarray]:
    """Frames of a video in PyAV's pixel format `pixels`: rgb24 (H, W, 3) uint8, gray16le (H, W)
    uint16.
    """
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format=pixels)
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as error:
        raise InputError(f"{path}: no video can be read ({error}); {ADVICE}") from error


def compact(labels: np.ndarray, name: object) -> np.ndarray:
    """Any label values as uint8: 0 stays 0, the others become 1, 2, ... in rising order.

    Raises InputError for more than 255 of them.
    """
    values = np.unique(labels)
    values = np.concatenate([[0], values[values != 0]])
    if len(values) > 256:
        raise InputError(
            f"{name}: got {len(values)} instances, expected at most 255; leave this sequence out"
        )
    order = np.argsort(values)
    return order[np.searchsorted(values, labels, sorter=order)].astype(np.uint8)


def packed(labels: np.ndarray) -> np.ndarray:
    """Labels (..., H, W), or colours (..., H, W, 3 or 4), as one whole number per pixel; black
    is 0.
    """
    if labels.ndim < 3 or labels.shape[-1] not in (3, 4):
        return labels.astype(np.int64)
    return np.asarray(labels[..., :3].astype(np.int64) @ [1 << 16, 1 << 8, 1])


def fill_holes(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T, H, W) with what is not `known` (bool) taken from the nearest pixel of its frame that
    is.
    """
    out = values.copy()
    for frame, fine in zip(out, known):
        if fine.any() and not fine.all():
            source = cv2.distanceTransformWithLabels(
                (~fine).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )[1]
            value_of = np.zeros(int(source.max()) + 1, frame.dtype)
            value_of[source[fine]] = frame[fine]
            frame[~fine] = value_of[source[~fine]]
    return out
