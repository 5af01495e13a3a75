"""Whether a file is as long as it says itself, read from its outermost boxes and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

TS_PACKET = 188
TS_SYNC = b"\x47"
TS_ADAPTATION = 0x20  # the field that holds the padding
TS_NULL = 0x1FFF  # number of the packets that hold nothing
TAIL = 4096
SEGMENT = b"\x18\x53\x80\x67"
MATROSKA_MASTERS = (SEGMENT, b"\x1f\x43\xb6\x75")  # and cluster: may be of unknown length
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
MOST_PARTS = 1_000_000  # are looked at, in two seconds: a file may be made of nothing else
UNKNOWN_RIFF = (0, 0xFFFFFFFF)  # written by programs that stream


def is_cut(path: Path, format_name: str) -> bool:
    """Whether a file of a container format (FFmpeg's name) ends before its own structure does.

    False also where the format does not tell.
    """
    check = next((c for name, c in CHECKS.items() if name in format_name.split(",")), None)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, path.stat().st_size)


def lacks_index(path: Path) -> bool:
    """Whether a file is an MP4 or MOV without its index (moov), which is written last."""
    with path.open("rb") as file:
        kinds = (kind for kind, _ in _boxes(file, path.stat().st_size))
        return next(kinds, b"") == b"ftyp" and b"moov" not in kinds


def _mp4_is_cut(file: BinaryIO, size: int) -> bool:
    return any(end > size for _, end in _boxes(file, size))


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each outermost box (ISO/IEC 14496-12, 4.2), up to one that is none."""
    position = 0
    for _ in range(MOST_PARTS):
        if position + 8 > size:
            return
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        length = length or size - position
        if length < 8 or not kind.isalnum():
            return
        position += length
        yield kind, position


def _matroska_is_cut(file: BinaryIO, size: int) -> bool:
    """Elements tell their lengths; of a live recording only those inside (RFC 8794, 4 to 6)."""
    position = 0
    for _ in range(MOST_PARTS):
        if position >= size:
            return False
        file.seek(position)
        first = file.read(1)[0]
        if not first:  # no element begins so: something else follows the recording
            return False
        kind = bytes([first]) + file.read(8 - first.bit_length())
        start, length = _length(file)
        if length is None and kind not in MATROSKA_MASTERS:
            return False
        position = start + (length or 0)
        if position > size:
            return True
        if kind == SEGMENT and length is not None:
            return False
    return False


def _length(file: BinaryIO) -> tuple[int, int | None]:
    """An EBML length: the place behind it, and its value (None: unknown)."""
    first = (file.read(1) or b"\1")[0]
    extra = 8 - first.bit_length()
    bits = 7 * (extra + 1)
    value = int.from_bytes(bytes([first]) + file.read(extra), "big") & ((1 << bits) - 1)
    return file.tell(), None if value == (1 << bits) - 1 else value


def _avi_is_cut(file: BinaryIO, size: int) -> bool:
    position = 0
    for _ in range(MOST_PARTS):  # large files are several RIFF chunks
        if position + 8 > size:
            break
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in UNKNOWN_RIFF:
            return False
        position += 8 + length + length % 2
    return position > size + 1


def _flv_is_cut(file: BinaryIO, size: int) -> bool:
    """Each tag is followed by its size."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    start = size - 4 - length
    if start < 0:
        return True
    file.seek(start)
    head = file.read(4)
    return head[0] not in (8, 9, 18) or int.from_bytes(head[1:], "big") + 11 != length


def _asf_is_cut(file: BinaryIO, size: int) -> bool:
    head = file.read(TAIL)
    position = head.find(ASF_FILE_PROPERTIES)
    return position >= 0 and int.from_bytes(head[position + 40 : position + 48], "little") > size


def _ts_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether a transport stream ends in half a packet, within a frame, or with tables.

    A frame's last packet is padded: one that fills it to the byte (1 of 184) passes for cut.
    Tables (PAT, PMT) announce frames that follow; they are not padded either.
    """
    head = file.read(TS_PACKET + 1)
    if not head[:1] == head[-1:] == TS_SYNC:
        return False
    if size % TS_PACKET:
        return True
    file.seek(max(0, size - 100 * TS_PACKET))
    tail = file.read()
    packets = [tail[i : i + TS_PACKET] for i in range(0, len(tail), TS_PACKET)]
    filled = [p for p in packets if int.from_bytes(p[1:3], "big") & TS_NULL != TS_NULL]
    return bool(filled) and not filled[-1][3] & TS_ADAPTATION


def _lacks(mark: bytes) -> Callable[[BinaryIO, int], bool]:
    def check(file: BinaryIO, size: int) -> bool:
        file.seek(max(0, size - TAIL))
        return mark not in file.read()

    return check


def _gif_is_cut(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - TAIL))
    return not file.read().rstrip(b"\0").endswith(b"\x3b")


CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "mp4": _mp4_is_cut,
    "matroska": _matroska_is_cut,
    "avi": _avi_is_cut,
    "asf": _asf_is_cut,
    "flv": _flv_is_cut,
    "mpegts": _ts_is_cut,
    "gif": _gif_is_cut,
    "apng": _lacks(b"IEND"),
}
