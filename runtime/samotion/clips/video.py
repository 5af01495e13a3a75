"""Clips come in: video files, folders and arrays become frames with source numbers and times."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samotion.checks.arguments import AsArray, period, whole_number
from samotion.checks.stages import StageProgress
from samotion.clips import arrays, folders, sizes, times
from samotion.clips.collect import Frame, Scaled
from samotion.clips.folders import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from samotion.clips.part import WHOLE_FILE, Part, Span, chosen, span_of
from samotion.clips.pictures import read_image
from samotion.clips.sizes import MIN_FRAMES, check_count, check_size
from samotion.clips.sizes import scaled_hw as scaled_hw
from samotion.clips.stream import Clip as Clip
from samotion.clips.stream import Ended, Reading, Stream, VideoFile, head_of
from samotion.errors import InputError, UsageError, shown

if TYPE_CHECKING:
    from samotion.clips.decode import Report
    from samotion.clips.survey import Facts


# a path, frames as an array or a tensor on the CPU, or as a list of images
Source = str | bytes | os.PathLike[str] | AsArray | Sequence[AsArray]
FOLDER_FPS = 24.0  # of frames that carry no times; DAVIS is 24 frames/s
_ADDRESS = re.compile(r"[\w+.-]+://")
_HINT = "expected a video file or a folder of frames"


@dataclass(frozen=True)
class _Wish:
    """What a caller wants of a clip."""

    part: Part
    max_frames: int | None
    long_side_px: int | None

    def read(
        self, pictures: Iterator[Frame], where: str, end: Callable[[Scaled], Ended]
    ) -> Reading:
        """A pass through the pictures of a path."""
        return Reading(Scaled(_guarded(pictures, where), self.long_side_px, where), end)


def read_clip(
    source: Source,
    *,
    max_frames: int | None = None,
    long_side_px: int | None = 1000,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: StageProgress | None = None,
) -> Clip:
    """Read a video file, a folder of frames, or frames (T,H,W,3) uint8 RGB.

    Frames may be an array, a list of images or a tensor on the CPU. `max_frames` keeps every k-th
    frame, k = ceil(n / max_frames); a longer side above `long_side_px` is scaled down to it (area
    filter). Only frames from `start_s` to before `end_s` are read, in seconds from the first one
    (24 frames/s where they carry no times). Decoding is streamed: only kept frames are held. Raises
    InputError, one line, for anything that cannot be read or has less than 2 frames.
    """
    stream = open_clip(
        source, max_frames=max_frames, long_side_px=long_side_px, start_s=start_s, end_s=end_s
    )
    return stream.read(progress)


def open_clip(
    source: Source,
    *,
    max_frames: int | None = None,
    long_side_px: int | None = 1000,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Stream:
    """What `read_clip` reads, as a stream that holds no frames."""
    if max_frames is not None and whole_number(max_frames, "max_frames") < MIN_FRAMES:
        raise UsageError(f"max_frames is {max_frames}; motion needs at least {MIN_FRAMES} frames")
    if long_side_px is not None and whole_number(long_side_px, "long_side_px") < 1:
        raise UsageError(f"long_side_px is {long_side_px}; expected 1 or more")
    wish = _Wish(Part(*period(start_s, end_s)), max_frames, long_side_px)
    given = arrays.path_or_frames(source)
    return _open_path(given, wish) if isinstance(given, str) else _open_array(given, wish)


def clip_name(path: str | os.PathLike[str]) -> str:
    """What a clip's results are called: its file name without suffix, or its folder's name.

    Never a path, nor a name that leads elsewhere: `...mp4` keeps its suffix.
    """
    full = Path(os.path.abspath(path))  # a link has its own name, not that of what it leads to
    name = full.name if os.path.isdir(full) else full.stem
    return name if name.strip(".") else full.name or "clip"


def check_path(given: str) -> None:
    """Raise InputError, one line, for a path that leads to no clip. Nothing is opened."""
    if not given:
        raise InputError(f"the clip's path is empty; {_HINT}")
    path = Path(given)
    with _read_errors(repr(given)):
        _refuse_streams(given)
        if not path.is_dir():
            _check_is_file(path, repr(str(path)))


def _open_path(given: str, wish: _Wish) -> Stream:
    check_path(given)
    path = Path(given)
    with _read_errors(repr(given)):
        return _open_folder(path, wish) if path.is_dir() else _open_file(path, wish)


@contextmanager
def _read_errors(where: str) -> Iterator[None]:
    """Name the file and say what was expected when the system refuses to read."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        name = getattr(error, "filename", None)
        what = repr(name) if name else where
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}: {reason}; {_HINT}") from error


def _guarded(pictures: Iterator[Frame], where: str) -> Iterator[Frame]:
    with _read_errors(where):
        yield from pictures


def _refuse_streams(given: str) -> None:
    """An address, or the sign for standard input, is no file unless there is one of that name."""
    if os.path.lexists(given):
        return
    if given == "-":
        raise InputError(f"a clip cannot come from standard input; save it first; {_HINT}")
    if _ADDRESS.match(given):
        raise InputError(f"{shown(given)!r} is an address; download it first; {_HINT}")


def _open_array(source: np.ndarray, wish: _Wish) -> Stream:
    check_count(len(source), "frames")
    kept, warnings = _chosen(len(source), wish, "frames")

    read = partial(_read_array, source, kept, wish, warnings)
    return Stream("clip", None, FOLDER_FPS, len(kept), "frames", read)


def _chosen(count: int, wish: _Wish, where: str) -> tuple[range, list[str]]:
    """Of frames that carry no times."""
    return chosen(np.arange(count) / FOLDER_FPS, wish.part, wish.max_frames, where)


def _read_array(source: np.ndarray, kept: range, wish: _Wish, warnings: list[str]) -> Reading:
    pictures = (Frame(i, i / FOLDER_FPS, source[i]) for i in kept)
    end = partial(_end_of_frames, warnings, [])
    return Reading(Scaled(pictures, wish.long_side_px, "frames"), end)


def _end_of_frames(warnings: list[str], cut: list[str], scaled: Scaled) -> Ended:
    """Of frames that come one by one; `cut`: the names of those that are."""
    lines = [*warnings]
    if cut:
        lines.append(f"{len(cut)} images are cut and grey below, the first: {cut[0]}")
    return np.array(scaled.times_s), lines


def _open_folder(folder: Path, wish: _Wish) -> Stream:
    files, warnings = folders.find_frames(folder)
    where = repr(str(folder))
    check_count(len(files), where)
    kept, left_out = _chosen(len(files), wish, where)

    read = partial(_read_folder, files, kept, wish, where, [*warnings, *left_out])
    names = tuple(files[i].name for i in kept)
    name, path = clip_name(folder), str(folder)
    return Stream(name, path, FOLDER_FPS, len(kept), where, read, names)


def _read_folder(
    files: list[Path], kept: range, wish: _Wish, where: str, warnings: list[str]
) -> Reading:
    cut: list[str] = []
    return wish.read(_images(files, kept, cut), where, partial(_end_of_frames, warnings, cut))


def _images(files: list[Path], kept: range, cut: list[str]) -> Iterator[Frame]:
    """Frames of a folder, all of one size; the names of those that are cut go into `cut`."""
    first_hw: tuple[int, ...] | None = None
    for number in kept:
        rgb, whole = read_image(files[number])
        hw = rgb.shape[:2]
        first_hw = first_hw or hw
        if hw != first_hw:
            first = files[kept.start].name
            raise InputError(
                f"{str(files[number])!r} is {hw[1]}x{hw[0]}, {first!r} is"
                f" {first_hw[1]}x{first_hw[0]}; expected frames of one size"
            )
        if not whole:
            cut.append(files[number].name)
        yield Frame(number, number / FOLDER_FPS, rgb)


def _open_file(path: Path, wish: _Wish) -> Stream:
    from samotion.clips import decode
    from samotion.clips.survey import survey

    where, size_bytes = repr(str(path)), path.stat().st_size
    with decode.opened(path) as container:
        facts = survey(path, container)
        check_size(facts.coded_hw, where)
    check_count(facts.frame_count, where, "the file ends early" if facts.ends_early else "")
    span = WHOLE_FILE if wish.part.is_whole else _span(path, facts, wish.part, where)
    frame_count = span.facts(facts).frame_count
    step = sizes.every_kth(frame_count, wish.max_frames)

    read = partial(_read_file, path, facts, span, step, wish)
    count = math.ceil(frame_count / step)
    file = VideoFile(size_bytes, head_of(path, size_bytes), facts, span)
    return Stream(clip_name(path), str(path), facts.fps, count, where, read, None, file)


def _span(path: Path, facts: Facts, part: Part, where: str) -> Span:
    from samotion.clips import decode

    with decode.opened(path) as container:
        return span_of(container, facts, part, where)


def _read_file(path: Path, facts: Facts, span: Span, step: int, wish: _Wish) -> Reading:
    from samotion.clips import decode

    where, report = repr(str(path)), decode.Report()
    pictures = decode.frames(path, facts, span, lambda count, _: count % step == 0, report)
    return wish.read(pictures, where, partial(_end_of_file, where, span.facts(facts), step, report))


def _end_of_file(where: str, facts: Facts, step: int, report: Report, scaled: Scaled) -> Ended:
    if not scaled.numbers:
        raise InputError(f"{where}: no frame can be decoded; the file is damaged")
    check_count(len(scaled.numbers), where)
    first_s = scaled.numbers[0] / facts.fps
    fixed_s, repaired = times.repair(np.array(scaled.times_s), step / facts.fps, first_s)
    warnings = [*facts.warnings, *scaled.warnings, *report.warnings(facts)]
    if repaired:
        which = f"{repaired} frames have" if repaired < len(fixed_s) else "the file has"
        warnings.append(f"{which} no usable times; set by the frame rate of {facts.fps:g}")
    return fixed_s, warnings + sizes.left_out(facts.frame_count, step)


def _check_is_file(path: Path, where: str) -> None:
    if not path.exists():
        raise InputError(f"no such file or folder: {where}; {_HINT}")
    if not path.is_file():
        raise InputError(f"{where} is not a regular file; {_HINT}")
    if path.stat().st_size == 0:
        raise InputError(f"{where} is empty (0 bytes); {_HINT}")
