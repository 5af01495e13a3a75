"""Finding a graph's tensor among stored ones: the same numbers, or rows in another order and scale.

Export folds weights before it writes them: it widens, cuts, transposes, reorders and scales them.
`find` tells how the result is made from what is stored, to the last bit, or that it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"F16": np.float16, "F32": np.float32, "U8": np.uint8}
LEAST_COLUMNS = 8  # of rows that are looked for by their direction: of fewer, too many look alike


@dataclass(frozen=True)
class Source:
    """How to make a float32 tensor from stored numbers.

    Read `shape` of `dtype` and widen; then, where given, take the rows of `order`, multiply each by
    its `factor` (R,1), reshape to `final`, and transpose.
    """

    file: str
    offset: int
    dtype: Any
    shape: tuple[int, ...]
    order: np.ndarray | None = None
    factor: np.ndarray | None = None
    transposed: bool = False
    final: tuple[int, ...] | None = None


class Stored:
    """One safetensors file: its name, where its numbers begin, and its tensors by name."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.file = path.name
        self.start = 8 + int.from_bytes(data[:8], "little")
        self._data = data[self.start :]
        header = json.loads(data[8 : self.start])
        self._places = {
            name: entry for name, entry in header.items() if entry.get("dtype") in TYPES
        }
        self.types = {TYPES[entry["dtype"]] for entry in self._places.values()}

    def tensors(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each tensor with the place of its first byte in the file."""
        for entry in self._places.values():
            yield self._tensor(entry)

    def _tensor(self, entry: Mapping[str, Any]) -> tuple[int, np.ndarray]:
        begin, end = entry["data_offsets"]
        numbers = np.frombuffer(self._data[begin:end], TYPES[entry["dtype"]])
        return self.start + begin, numbers.reshape(entry["shape"])

    def find_bytes(self, array: np.ndarray) -> int | None:
        """The place in the file where the numbers of `array` lie in a row, None where nowhere."""
        wanted, place = array.tobytes(), -1
        while (place := self._data.find(wanted, place + 1)) >= 0:
            if place % array.itemsize == 0:
                return self.start + place
        return None


def find(array: np.ndarray, stored: Sequence[Stored]) -> Source | None:
    """How the float32 `array` is made from one of `stored`, None where no way is exact."""
    turns = (False, True) if array.ndim == 2 else (False,)
    for file in stored:
        for transposed in turns:
            if source := _same(array.T if transposed else array, transposed, file):
                return source
    for file in stored:
        for transposed in turns:
            if array.ndim > 1 and (source := _rows(array, transposed, file)):
                return source
    return None


def _same(array: np.ndarray, transposed: bool, file: Stored) -> Source | None:
    for dtype in file.types:
        narrow = narrowed(array, dtype)
        if narrow is not None and (place := file.find_bytes(narrow)) is not None:
            return Source(file.file, place, dtype, array.shape, transposed=transposed)
    return None


def _rows(array: np.ndarray, transposed: bool, file: Stored) -> Source | None:
    """The rows of `array` as rows of one stored tensor, in any order, each times a number."""
    matrix = array.T if transposed else array.reshape(len(array), -1)
    for place, tensor in file.tensors():
        if (
            tensor.ndim < 2
            or tensor.size != len(tensor) * matrix.shape[1]
            or matrix.shape[1] < LEAST_COLUMNS
        ):
            continue
        wide = tensor.reshape(len(tensor), -1).astype(np.float32)
        if found := match_rows(matrix, wide):
            final = None if transposed else array.shape
            return Source(
                file.file, place, tensor.dtype.type, wide.shape, *found, transposed, final
            )
    return None


def match_rows(
    wanted: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    """The order and factors (R,1) with which `rows[order] * factor` is exactly `wanted`.

    None where there are none; an order that changes nothing and factors of 1 are None too.
    """
    alike = np.abs(_directions(wanted) @ _directions(rows).T)
    order = alike.argmax(1)
    if alike[np.arange(len(order)), order].min() < 1 - 1e-6:
        return None
    chosen = rows[order]
    factor = _factors(wanted, chosen)
    if not np.array_equal(chosen * factor, wanted):
        return None
    as_it_was = len(order) == len(rows) and bool((order == np.arange(len(rows))).all())
    return None if as_it_was else order, None if bool((factor == 1).all()) else factor


def _directions(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-300)


def _factors(wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The float32 (R,1) that makes most of each row right.

    That is the quotient of its largest number, or one of the two floats beside that.
    """
    largest = np.abs(rows).argmax(1)[:, None]
    quotient = (
        np.take_along_axis(wanted, largest, 1).astype(np.float64)
        / np.take_along_axis(rows, largest, 1)
    ).astype(np.float32)
    below, above = (
        np.nextafter(quotient, np.float32(-np.inf)),
        np.nextafter(quotient, np.float32(np.inf)),
    )
    candidates = np.stack([quotient, below, above])  # (3,R,1)
    right = (rows * candidates == wanted).sum(2)
    best: np.ndarray = np.take_along_axis(candidates, right.argmax(0)[None, :, None], 0)[0]
    return best


def narrowed(array: np.ndarray, dtype: Any) -> np.ndarray | None:
    """`array` in another type, None where that would change a number."""
    with np.errstate(invalid="ignore", over="ignore"):
        narrow = array.astype(dtype)
        return narrow if np.array_equal(narrow.astype(array.dtype), array) else None
