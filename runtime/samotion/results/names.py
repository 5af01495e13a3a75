"""File and folder names for results: plain, distinct in any case, and short enough for a file
system.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import PurePath

MAX_NAME_BYTES = 255  # of ext4, APFS and NTFS alike


def mask_names(numbers: Iterable[int], frame_names: Sequence[str] | None = None) -> list[str]:
    """A PNG's name for each mask: that of its frame, or the frame's number where frames have none.

    Frames of one stem (`1.jpg` and `1.png`) keep their whole names: `1.jpg.png` and `1.png.png`.
    """
    if frame_names is None:
        return [f"{number:05d}.png" for number in numbers]
    files = [PurePath(name) for name in frame_names]
    often = Counter(same_file(file.stem) for file in files)
    taken: set[str] = set()
    wishes = (file.name if often[same_file(file.stem)] > 1 else file.stem for file in files)
    return [free_name(wish or "frame", taken, ".png") for wish in wishes]


def frame_names(numbers: Iterable[int], names: Sequence[str] | None = None) -> list[str]:
    """A file name for each frame: its own, or one made of its number, as
    `ffmpeg -i clip.mp4 -fps_mode passthrough -start_number 0 %05d.jpg` gives to those of a video.
    """
    return [f"{number:05d}.jpg" for number in numbers] if names is None else list(names)


def colmap_name(frame_name: str) -> str:
    """Of a frame's mask, as COLMAP looks for it: the whole name, and .png behind it."""
    return f"{frame_name}.png"


def free_name(wish: str, taken: set[str], suffix: str = "") -> str:
    """`wish` with `suffix`, or `wish-2`, `wish-3` and so on where that is in `taken`, which it
    joins.

    Cut to `MAX_NAME_BYTES`; of a path, the last name is. `taken` holds names as `same_file` gives
    them.
    """
    folder, slash, last = wish.rpartition("/")
    for number in count(1):
        end = suffix if number == 1 else f"-{number}{suffix}"
        name = folder + slash + _cut(last, MAX_NAME_BYTES - len(end)) + end
        if same_file(name) not in taken:
            break
    taken.add(same_file(name))
    return name


def same_file(name: str) -> str:
    """Equal for names that some file systems take for one: they differ in case or in how accents
    are composed.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_plain(name: str) -> bool:
    """Whether a name stands for an entry of its folder: no path, not the folder itself, not its
    parent.
    """
    separators = {os.sep, os.altsep, "/", "\0"}
    return name not in ("", ".", "..") and not any(s in name for s in separators if s)


def _cut(name: str, size: int) -> str:
    while len(os.fsencode(name)) > size:
        name = name[:-1]
    return name
