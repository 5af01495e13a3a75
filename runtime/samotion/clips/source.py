"""A clip's frames once more, as large as they are in its source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from samotion.clips import sizes
from samotion.clips.part import WHOLE_FILE
from samotion.clips.pictures import read_image
from samotion.clips.stream import check_read, check_unchanged
from samotion.clips.video import Clip
from samotion.errors import InputError


def frames_at_source(clip: Clip) -> Iterator[np.ndarray]:
    """Each frame of a clip, RGB (H,W,3) uint8 at `clip.source_hw`, read again one by one.

    Where the clip's frames are that large, these are given; a clip that came from an array has no
    larger ones, and its frames are scaled up. Raises InputError where the source is gone or has
    changed.
    """
    if clip.frames.shape[1:3] == clip.source_hw:
        yield from clip.frames
    elif clip.path is None:
        yield from (_enlarged(frame, clip.source_hw) for frame in clip.frames)
    else:
        check_unchanged(clip.path, clip.file)
        yield from _checked(clip, _read(Path(clip.path), clip))


@contextmanager
def reading_again(path: Path) -> Iterator[None]:
    """Raises InputError, one line, where a source cannot be read any more."""
    try:
        yield
    except OSError as error:
        reason, where = error.strerror or error, error.filename or path
        raise InputError(f"cannot read {str(where)!r} once more: {reason}") from error


def _read(path: Path, clip: Clip) -> Iterator[np.ndarray]:
    with reading_again(path):
        if clip.frame_names is None:
            yield from _decoded(path, clip)
        else:
            yield from (_picture(path / name, clip.source_hw) for name in clip.frame_names)


def _picture(path: Path, hw: tuple[int, int]) -> np.ndarray:
    rgb, _ = read_image(path)
    if rgb.shape[:2] != hw:
        now, before = (f"{size[1]}x{size[0]}" for size in (rgb.shape, hw))
        raise InputError(f"{str(path)!r} is {now} now, and was {before}; it was changed")
    return rgb


def _decoded(path: Path, clip: Clip) -> Iterator[np.ndarray]:
    from samotion.clips import decode
    from samotion.clips.survey import survey

    with decode.opened(path) as container:
        facts = survey(path, container)
    wanted = set(clip.indices.tolist())
    span = clip.file.span if clip.file else WHOLE_FILE
    taken = decode.frames(path, facts, span, lambda _, number: number in wanted, decode.Report())
    yield from (frame.rgb for frame in taken)


def _checked(clip: Clip, pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same pictures, as many and as large as the clip's."""
    count = 0
    for rgb in pictures:
        count += 1
        yield sizes.resized(rgb, clip.source_hw)  # some videos change their size
    check_read(clip.path, count, len(clip.frames))


def _enlarged(frame: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    larger: np.ndarray = cv2.resize(frame, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC)
    return larger
