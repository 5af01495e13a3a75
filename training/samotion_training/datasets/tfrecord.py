"""TFRecord files of tf.train.Example, read without TensorFlow: Movi-F is published in no other
form.

A record is its length (8 bytes), a checksum of that (4), the message and a checksum of the message
(4); checksums are not compared. A message is a map from names to lists of bytes, floats or whole
numbers, in protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from samotion.errors import InputError

HEADER, FOOTER = 12, 4  # bytes
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types
BYTES, FLOATS, INTS = 1, 2, 3  # fields of a Feature
Value = list[bytes] | np.ndarray


def offsets(path: Path) -> Iterator[tuple[int, int]]:
    """Where each record's message starts and how long it is. Raises InputError for a file that
    breaks off.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        place = 0
        while place < size:
            file.seek(place)
            header = file.read(HEADER)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == HEADER else size
            if place + HEADER + length + FOOTER > size:
                raise InputError(
                    f"{path}: the record at byte {place} breaks off; download the file again"
                )
            yield place + HEADER, length
            place += HEADER + length + FOOTER


def read(path: Path, start: int, length: int, names: frozenset[str]) -> dict[str, Value]:
    """Those features of one record that are in `names`: lists of bytes, float32 (n,) or int64
    (n,).
    """
    with open(path, "rb") as file:
        file.seek(start)
        message = memoryview(file.read(length))
    try:
        found: dict[str, Value] = {}
        for _, features in fields(message, 1):
            for _, entry in fields(features, 1):
                name = bytes(next(value for _, value in fields(entry, 1))).decode()
                if name in names:
                    found[name] = _feature(next(value for _, value in fields(entry, 2)))
        return found
    except (IndexError, ValueError, StopIteration, UnicodeDecodeError, struct.error) as error:
        raise InputError(
            f"{path}: the record at byte {start} is no tf.train.Example; download the file again"
        ) from error


def fields(message: memoryview, wanted: int | None = None) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field of a message, of whole numbers the bytes they are written
    in.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == LENGTH:
            size, place = varint(message, place)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        elif wire == VARINT:
            size = varint(message, place)[1] - place
        else:
            raise ValueError(f"wire type {wire}")
        if place + size > len(message):
            raise ValueError("a field breaks off")
        if wanted in (None, number):
            yield number, message[place : place + size]
        place += size


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A whole number of variable length and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")


def _feature(feature: memoryview) -> Value:
    kind, values = next(fields(feature))
    parts = [part for _, part in fields(values, 1)]
    if kind == BYTES:
        return [bytes(part) for part in parts]
    if kind == FLOATS:  # packed into one part, or one of four bytes each
        return np.frombuffer(b"".join(parts), "<f4").astype(np.float32)
    if kind == INTS:
        return np.array([value for part in parts for value in _varints(part)], np.int64)
    raise ValueError(f"feature of kind {kind}")


def _varints(part: memoryview) -> Iterator[int]:
    place = 0
    while place < len(part):
        value, place = varint(part, place)
        yield value - (1 << 64) if value >= 1 << 63 else value
