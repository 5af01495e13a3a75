"""Indexed PNG files, written by hand: OpenCV cannot write palettes, and Pillow would be 20 MB
for this page.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HUES = 22  # the DAVIS palette has the colours of PASCAL VOC up to here, then greys


def voc_colour(label: int) -> tuple[int, int, int]:
    """Colour of a label: its bits, dealt in turn to red, green and blue, highest bits first."""
    rgb = [0, 0, 0]
    for bit in range(8):
        rgb[bit % 3] |= (label >> bit & 1) << (7 - bit // 3)
    return rgb[0], rgb[1], rgb[2]


DAVIS_PALETTE: np.ndarray = np.array(
    [voc_colour(i) if i < _HUES else (i, i, i) for i in range(256)], np.uint8
)


def encode_indexed(labels: np.ndarray, palette: np.ndarray = DAVIS_PALETTE) -> bytes:
    """A PNG of labels (H,W) uint8 with a palette (256,3) uint8 (ISO/IEC 15948: colour type 3, 8
    bits, no filter).
    """
    height, width = labels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = labels
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
