"""Label maps from files, exactly as stored: the index of a palette PNG is the label, whatever
its colour.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from samotion.errors import InputError

VOID = 255  # DAVIS: pixels that belong to no object
COLOUR = 1 << 24  # added to a colour's 24 bits, so that no colour is taken for a label
NEARLY_WHITE = 250  # of every channel
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE, _GREY = 3, 0  # PNG colour types
_COLOUR_CHUNKS = (b"PLTE", b"tRNS", b"bKGD", b"sBIT", b"hIST")


def read_labels(path: Path) -> np.ndarray:
    """The label map (H,W) of an image file; int32.

    Palette PNGs of any depth give their indices, grey images their values, colour images whose
    channels are equal that channel; in other colour images the ground is 0 and every colour its own
    number above 255. The ground is black where anything is black, else what is nearly white, as
    FBMS-59 is drawn. Raises InputError for a file that is no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error.strerror}; expected an indexed PNG"
        ) from error
    scale = 1
    if data.startswith(_SIGNATURE):
        data, scale = _palette_as_grey(data, path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{str(path)!r} cannot be read as an image; expected an indexed PNG")
    labels = image.astype(np.int32)
    return labels // scale if labels.ndim == 2 else _from_colours(labels)


def stack_labels(maps: Sequence[np.ndarray], path: Path, coloured: bool = False) -> np.ndarray:
    """Label maps of one sequence as (T,H,W) uint8. Where 0 and 255 are all there is, 255 is one
    object, label 1.

    Where one frame shows colours, or with `coloured`, greys are colours as well, and labels count
    the colours in the order of their first frames.
    """
    if shapes := {m.shape for m in maps} - {maps[0].shape}:
        raise InputError(
            f"{str(path)!r} holds masks of {_size(maps[0].shape)} and {_size(shapes.pop())};"
            f" expected one"
        )
    values = np.unique(np.concatenate([np.unique(m) for m in maps]))
    if coloured or values.max() >= COLOUR:
        return _count_colours([_grey_as_colour(m) for m in maps], path)
    if values.max() > VOID:  # labels of 16 bits
        return _count_colours(maps, path)
    stacked = np.stack([m.astype(np.uint8) for m in maps])
    return np.minimum(stacked, 1) if set(values) <= {0, VOID} else stacked


def _grey_as_colour(labels: np.ndarray) -> np.ndarray:
    """A map (H,W) in which greys up to 255 are ground or colours, by the rule of colour images."""
    if labels.max() > VOID:
        return labels
    ground = labels == 0 if (labels == 0).any() else labels >= NEARLY_WHITE
    return np.where(ground, 0, COLOUR + labels * 0x010101)


def _count_colours(maps: Sequence[np.ndarray], path: Path) -> np.ndarray:
    """Maps (H,W) of colours as labels (T,H,W) uint8, numbered as they appear. Raises InputError
    above 254 of them.
    """
    colours = list(dict.fromkeys(int(value) for m in maps for value in np.unique(m) if value))
    if len(colours) >= VOID:
        raise InputError(
            f"{str(path)!r} shows {len(colours)} colours; expected a label map of fewer than {VOID}"
        )
    stacked = np.zeros((len(maps), *maps[0].shape), np.uint8)
    for label, colour in enumerate(colours, start=1):
        for t, m in enumerate(maps):
            stacked[t][m == colour] = label
    return stacked


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _palette_as_grey(data: bytes, path: Path) -> tuple[bytes, int]:
    """Relabel a palette PNG as a grey one, so that a decoder gives indices instead of colours.

    Decoders spread grey of 1, 2 or 4 bits over 0 to 255: the second value is what to divide by.
    """
    chunks = _chunks(data, path)
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise InputError(f"{str(path)!r} is a damaged PNG; write the masks again")
    header = bytearray(chunks[0][1])
    depth, colour_type = header[8], header[9]
    scale = 255 // (2**depth - 1) if depth < 8 else 1
    if colour_type != _PALETTE:
        return data, scale
    header[9] = _GREY
    kept = [(kind, body) for kind, body in chunks[1:] if kind not in _COLOUR_CHUNKS]
    return _SIGNATURE + b"".join(
        _chunk(kind, body) for kind, body in [(b"IHDR", bytes(header)), *kept]
    ), scale


def _chunks(data: bytes, path: Path) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(kind + body)):
            raise InputError(f"{str(path)!r} is a damaged or truncated PNG; write the masks again")
        chunks.append((kind, body))
        at += 12 + length
    if not chunks or chunks[-1][0] != b"IEND":
        raise InputError(f"{str(path)!r} is a truncated PNG; write the masks again")
    return chunks


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _from_colours(image: np.ndarray) -> np.ndarray:
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    if (blue == green).all() and (green == red).all():
        return red
    brightest, darkest = image[..., :3].max(axis=-1), image[..., :3].min(axis=-1)
    ground = brightest == 0 if (brightest == 0).any() else darkest >= NEARLY_WHITE
    return np.where(ground, 0, COLOUR + ((red << 16) | (green << 8) | blue))
