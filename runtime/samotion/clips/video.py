"""Clips come in: video files, folders of frames and arrays become frames with their source numbers and times."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.errors import InputError, UsageError

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]  # frames read, frames in all

MIN_FRAMES = 2
MIN_SIDE_PX = 16  # less than one cell of every net's grid
MAX_FRAME_PIXELS = 8192 * 8192  # above 8K video and 50-megapixel photographs; 200 MB decoded
MAX_SOURCE_FRAMES = 1_000_000  # 4.6 hours at 60 frames/s
MAX_CLIP_BYTES = 16 << 30
FOLDER_FPS = 24.0  # of frames that carry no times; DAVIS is 24 frames/s
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# Formats that hold one stream of pictures. Playlists and scripts (HLS, concat, DASH) stay out: they open other files.
VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc,av1,obu,mjpeg,m4v,"
    "yuv4mpegpipe,nut,dv,mxf,apng,rm,wav,mp3,flac,aac"  # the last four so that audio is named as such
)
IMAGE_FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe"
_HINT = "expected a video file or a folder of frames"


@dataclass(frozen=True, eq=False)
class Clip:
    """What was read. `frames` (T,H,W,3) uint8 RGB, scaled to the processing size and turned upright.

    `source_hw`: upright size in the source, px; `indices` (T,) int64: frame numbers in the source, from 0;
    `timestamps_s` (T,) float64: when each frame shows, increasing; `fps`: of the source; `path` None: from an array;
    `frame_names`: of a folder, the file name of each frame read, aligned with `indices`; else None.
    """

    frames: Array
    source_hw: tuple[int, int]
    indices: Array
    timestamps_s: Array
    fps: float
    name: str
    path: str | None
    warnings: tuple[str, ...] = ()
    frame_names: tuple[str, ...] | None = None


class _Picture(NamedTuple):
    """One kept frame on its way in: source number, time (NaN where the source has none), RGB at source size."""

    number: int
    time_s: float
    rgb: Array


def read_clip(
    source: str | os.PathLike[str] | Array,
    *,
    max_frames: int | None = None,
    long_side_px: int | None = 1000,
    progress: Progress | None = None,
) -> Clip:
    """Read a video file, a folder of frames, or frames (T,H,W,3) uint8 RGB.

    `max_frames` keeps every k-th frame, k = ceil(n / max_frames); a longer side above `long_side_px` is scaled down
    to it (area filter). Decoding is streamed: only kept frames are held. Raises InputError, one line, for anything
    that cannot be read or has less than 2 frames.
    """
    if max_frames is not None and max_frames < MIN_FRAMES:
        raise UsageError(f"max_frames is {max_frames}; motion needs at least {MIN_FRAMES} frames")
    if isinstance(source, np.ndarray):
        return _read_array(source, max_frames, long_side_px)
    if not os.fspath(source):
        raise InputError(f"the clip's path is empty; {_HINT}")
    path = Path(source)
    try:
        if path.is_dir():
            return _read_folder(path, max_frames, long_side_px, progress)
        return _read_file(path, max_frames, long_side_px, progress)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}; {_HINT}") from error


def scaled_hw(hw: tuple[int, int], long_side_px: int | None) -> tuple[int, int]:
    """`hw` with its longer side brought down to `long_side_px`; never up. Both in px."""
    if long_side_px is None or max(hw) <= long_side_px:
        return hw
    scale = long_side_px / max(hw)
    return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))


def clip_name(path: str | os.PathLike[str]) -> str:
    """What a clip's results are called: its file name without suffix, or its folder's name."""
    full = Path(path).resolve()
    return (full.name if full.is_dir() else full.stem) or "clip"


def orient(rgb: Array, matrix: Array) -> Array:
    """Apply a display matrix, 9 int32 (a b u / c d v / x y w; x' = ax + cy, y' = bx + dy), to an image (H,W,...).

    Only its quarter turns and mirrors: the signs count, scale and shift do not.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    if turned:
        rgb = rgb.swapaxes(0, 1)
    mirror_x, mirror_y = (c < 0, b < 0) if turned else (a < 0, d < 0)
    return rgb[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


def repair_times(times_s: Array, period_s: float) -> tuple[Array, int]:
    """Make times increase: one that is missing (NaN) or not after its predecessor becomes that plus `period_s`.

    Returns the times (T,) and how many were repaired.
    """
    fixed, repaired = np.array(times_s, np.float64), 0
    for i in range(len(fixed)):
        lowest = fixed[i - 1] if i else -math.inf
        if not (math.isfinite(fixed[i]) and fixed[i] > lowest):
            fixed[i] = lowest + period_s if i else 0.0
            repaired += 1
    return fixed, repaired


def _step(frame_count: int, max_frames: int | None) -> int:
    return 1 if max_frames is None else max(1, math.ceil(frame_count / max_frames))


def _check_size(hw: tuple[int, int], where: str) -> None:
    if min(hw) < 1:
        raise InputError(f"{where} cannot be decoded: its header gives no size; the file is damaged")
    if min(hw) < MIN_SIDE_PX:
        raise InputError(f"{where}: frames are {hw[1]}x{hw[0]}; expected at least {MIN_SIDE_PX}x{MIN_SIDE_PX} px")
    if hw[0] * hw[1] > MAX_FRAME_PIXELS:
        raise InputError(f"{where}: frames are {hw[1]}x{hw[0]}; expected at most {MAX_FRAME_PIXELS:,} px")


def _check_count(count: int, where: str) -> None:
    if count < MIN_FRAMES:
        raise InputError(f"{where}: {count} frame{'s' * (count != 1)}; motion needs at least {MIN_FRAMES} frames")
    if count > MAX_SOURCE_FRAMES:
        raise InputError(f"{where}: {count:,} frames; expected at most {MAX_SOURCE_FRAMES:,}; cut the clip first")


def _collect(
    pictures: Iterator[_Picture], count: int, long_side_px: int | None, where: str, progress: Progress | None
) -> tuple[Array, tuple[int, int], Array, Array, list[str]]:
    """Scale pictures into one array of at most `count` frames: frames, source size, numbers, times and warnings."""
    frames, source_hw = np.empty((0, 0, 0, 3), np.uint8), (0, 0)
    indices: list[int] = []
    times: list[float] = []
    other_sizes = 0
    for picture in pictures:
        if not indices:
            source_hw = picture.rgb.shape[0], picture.rgb.shape[1]
            _check_size(source_hw, where)
            frames = _allocate(count, scaled_hw(source_hw, long_side_px), where)
        other_sizes += picture.rgb.shape[:2] != source_hw
        frames[len(indices)] = _resized(picture.rgb, (frames.shape[1], frames.shape[2]))
        indices.append(picture.number)
        times.append(picture.time_s)
        if progress:
            progress(len(indices), count)
        if len(indices) == count:
            break
    changed = f"{other_sizes} frames have another size than the first, {source_hw[1]}x{source_hw[0]}; scaled to it"
    return (
        frames[: len(indices)],
        source_hw,
        np.array(indices, np.int64),
        np.array(times, np.float64),
        [changed] if other_sizes else [],
    )


def _allocate(count: int, hw: tuple[int, int], where: str) -> Array:
    if (size := count * hw[0] * hw[1] * 3) > MAX_CLIP_BYTES:
        raise InputError(
            f"{where}: {count} frames of {hw[1]}x{hw[0]} take {size / 2**30:.0f} GiB;"
            f" expected at most {MAX_CLIP_BYTES >> 30}; use --max-frames"
        )
    return np.empty((count, *hw, 3), np.uint8)


def _resized(rgb: Array, hw: tuple[int, int]) -> Array:
    if rgb.shape[:2] == hw:
        return rgb
    resized: Array = cv2.resize(np.ascontiguousarray(rgb), (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
    return resized


def _read_array(source: Array, max_frames: int | None, long_side_px: int | None) -> Clip:
    if source.ndim != 4 or source.shape[-1] != 3 or source.dtype != np.uint8:
        raise InputError(f"frames are {source.dtype}{list(source.shape)}; expected uint8 [T,H,W,3] in RGB")
    _check_count(len(source), "frames")
    step = _step(len(source), max_frames)
    kept = range(0, len(source), step)
    pictures = (_Picture(i, i / FOLDER_FPS, source[i]) for i in kept)
    frames, hw, indices, times_s, _ = _collect(pictures, len(kept), long_side_px, "frames", None)
    return Clip(frames, hw, indices, times_s, FOLDER_FPS, "clip", None)


def _read_folder(
    folder: Path, max_frames: int | None, long_side_px: int | None, progress: Progress | None = None
) -> Clip:
    """Frames of a folder in natural order (2.png before 10.png)."""
    files = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
        key=lambda p: _natural_key(p.name),
    )
    where = repr(str(folder))
    if not files:
        raise InputError(f"{where} holds no frames; expected {', '.join(s[1:] for s in IMAGE_SUFFIXES)} files")
    _check_count(len(files), where)
    kept = range(0, len(files), _step(len(files), max_frames))
    pictures = (_Picture(i, i / FOLDER_FPS, _read_image(files[i])) for i in kept)
    frames, hw, indices, times_s, _ = _collect(_same_size(pictures, files), len(kept), long_side_px, where, progress)
    names = tuple(files[i].name for i in kept)
    return Clip(frames, hw, indices, times_s, FOLDER_FPS, clip_name(folder), str(folder), frame_names=names)


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [*((0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts), (2, 0, name)]


def _same_size(pictures: Iterator[_Picture], files: list[Path]) -> Iterator[_Picture]:
    first: _Picture | None = None
    for picture in pictures:
        first = first or picture
        (h, w), (first_h, first_w) = picture.rgb.shape[:2], first.rgb.shape[:2]
        if (h, w) != (first_h, first_w):
            raise InputError(
                f"{str(files[picture.number])!r} is {w}x{h}, {files[first.number].name!r} is {first_w}x{first_h};"
                " expected frames of one size"
            )
        yield picture


def _read_image(path: Path) -> Array:
    """RGB (H,W,3) uint8, turned upright by its EXIF; the header is looked at first, so that no bomb is unpacked."""
    import av

    try:
        data = path.read_bytes()
        with av.open(io.BytesIO(data), container_options={"format_whitelist": IMAGE_FORMATS}) as image:
            stream = image.streams.video[0]
            _check_size((stream.height, stream.width), repr(str(path)))
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (av.error.FFmpegError, IndexError, cv2.error):
        bgr = None
    if bgr is None:
        raise InputError(f"{str(path)!r} cannot be read as an image; expected frames that are whole")
    rgb: Array = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def _read_file(path: Path, max_frames: int | None, long_side_px: int | None, progress: Progress | None) -> Clip:
    from samotion.clips import decode

    where = repr(str(path))
    _check_is_file(path, where)
    with decode.opened(path, VIDEO_FORMATS, MAX_FRAME_PIXELS) as (container, stream):
        _check_size((stream.height, stream.width), where)
        facts = decode.survey(container, stream)
    _check_count(facts.frame_count, where)
    step = _step(facts.frame_count, max_frames)
    skipped = decode.Skipped()
    with decode.opened(path, VIDEO_FORMATS, MAX_FRAME_PIXELS) as (container, stream):
        numbered = decode.frames(container, stream, step, skipped)
        pictures = (_Picture(i, t, orient(rgb, matrix)) for i, t, rgb, matrix in numbered)
        count = math.ceil(facts.frame_count / step)
        frames, hw, indices, times_s, warnings = _collect(pictures, count, long_side_px, where, progress)
    if not len(frames):
        raise InputError(f"{where}: no frame can be decoded; the file is damaged")
    _check_count(len(frames), where)
    fixed_s, repaired = repair_times(times_s, step / facts.fps)
    if repaired:
        warnings.append(f"{repaired} frames had no usable time; set by the frame rate of {facts.fps:g}")
    warnings += [*facts.warnings, *skipped.warnings()]
    return Clip(frames, hw, indices, fixed_s, facts.fps, clip_name(path), str(path), tuple(warnings))


def _check_is_file(path: Path, where: str) -> None:
    if not path.exists():
        raise InputError(f"no such file or folder: {where}; {_HINT}")
    if not path.is_file():
        raise InputError(f"{where} is not a regular file; {_HINT}")
    if path.stat().st_size == 0:
        raise InputError(f"{where} is empty (0 bytes); {_HINT}")
