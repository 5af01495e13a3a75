"""One image file becomes one picture."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from samotion.clips.decode import limited
from samotion.clips.sizes import check_size
from samotion.errors import InputError

FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe"
JPEG_END = b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
MAX_BYTES = 1 << 29  # an uncompressed 16-bit picture of the largest size


def read_image(path: Path) -> tuple[np.ndarray, bool]:
    """RGB (H,W,3) uint8, turned upright by its EXIF, and whether all of it is there.

    The header is looked at first, so that no bomb is unpacked. Raises InputError.
    """
    data = _read(path)
    whole = _is_whole(data)
    data += b"" if whole else JPEG_END  # without it, newer OpenCVs draw nothing at all
    bgr = None if _is_cut_png(data) else _decode(data, repr(str(path)))
    if bgr is None:
        raise InputError(
            f"{str(path)!r} cannot be read as an image; expected frames that are whole"
        )
    rgb: np.ndarray = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb, whole


def _decode(data: bytes, where: str) -> np.ndarray | None:
    """BGR (H,W,3), or None for what is no image."""
    import av

    try:
        how = {"container_options": {"format_whitelist": FORMATS}} | limited()
        with av.open(io.BytesIO(data), **how) as image:
            stream = image.streams.video[0]
            check_size((stream.height, stream.width), where)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (av.error.FFmpegError, IndexError, cv2.error):
        return None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{str(path)!r} is larger than {MAX_BYTES >> 20} MiB; expected a frame")
    return data


def _is_whole(data: bytes) -> bool:
    """False for a JPEG without the mark of its end: what is not there was drawn grey."""
    return data[:2] != b"\xff\xd8" or data.rfind(JPEG_END) > data.rfind(b"\xff\xda")


def _is_cut_png(data: bytes) -> bool:
    """Such a one has no size for FFmpeg, and libpng prints a line of its own about it."""
    return data.startswith(PNG_START) and PNG_END not in data
