"""Which files beside an ONNX graph its tensors lie in, read without the `onnx` package.

Only what can lead to such a name is looked into, in protocol buffers' wire format. All else is
skipped. The file may be hostile: no call is nested, no byte is parsed twice, and what is looked
into and not well-formed is refused.
"""

from __future__ import annotations

import bisect
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samotion.errors import EngineError

KEY = b"location"
# For each message of ONNX: the fields that hold other messages, and which.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "pair"},
}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; the others are out of use


def external_files(path: Path) -> set[str]:
    """The names of all files that the graph at `path` points to, as it spells them.

    Raises EngineError for a file that is no ONNX graph.
    """
    if path.stat().st_size == 0:
        raise EngineError(f"{path.name} is empty; expected an ONNX graph")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return set(_locations(data))
        except ValueError as error:
            raise EngineError(f"{path.name} is no well-formed ONNX graph: {error}") from error


def _locations(data: Any) -> Iterator[str]:
    """The value of every pair with the key `location` that belongs to a tensor."""
    keys = list(_places_of(KEY, data))
    todo = [("model", 0, len(data))]
    while todo:
        kind, start, end = todo.pop()
        first = bisect.bisect_left(keys, start)
        if first == len(keys) or keys[first] >= end:
            continue  # no key lies in it
        if kind == "pair":
            yield from _value(data, start, end)
        else:
            inner = MESSAGES[kind]
            todo += [
                (inner[field], a, b) for field, a, b in _fields(data, start, end) if field in inner
            ]


def _places_of(word: bytes, data: Any) -> Iterator[int]:
    position = data.find(word)
    while position >= 0:
        yield position
        position = data.find(word, position + 1)


def _value(data: Any, start: int, end: int) -> Iterator[str]:
    """The values of a pair of strings with the key `location`; one that is replaced counts."""
    strings = [(field, data[a:b]) for field, a, b in _fields(data, start, end)]
    if (1, KEY) in strings:
        yield from (text.decode() for field, text in strings if field == 2)


def _fields(data: Any, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of every field of `data[start:end]` that holds bytes."""
    while start < end:
        tag, start = _varint(data, start, end)
        if tag >> 32 or not tag >> 3:
            raise ValueError(f"field {tag >> 3} at byte {start}")
        size, wire = 0, tag & 7
        if wire == VARINT:
            _, start = _varint(data, start, end)
        elif wire == BYTES:
            size, start = _varint(data, start, end)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {start}")
        if size > end - start:
            raise ValueError(f"{size} bytes at byte {start}, {end - start} are left")
        if wire == BYTES:
            yield tag >> 3, start, start + size
        start += size


def _varint(data: Any, start: int, end: int) -> tuple[int, int]:
    """The number that begins at `start`, and where it ends."""
    value = 0
    for position in range(start, min(start + 10, end)):
        byte = data[position]
        value |= (byte & 127) << 7 * (position - start)
        if byte < 128:
            return value, position + 1
    raise ValueError(f"a number without end at byte {start}")
