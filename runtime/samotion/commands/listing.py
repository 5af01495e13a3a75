"""The clips of an archive: those below a folder, or those that a list names."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from samotion.errors import InputError, UsageError
from samotion.results.names import free_name, same_file
from samotion.results.record import FOLDERS, RUN, is_begun

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".gif"),
)


class Item(NamedTuple):
    """One clip of an archive: its path, and the folder of its results, relative to all others'."""

    clip: str
    folder: str


def find_items(source: str, known: Mapping[str, str] | None = None) -> list[Item]:
    """The clips of a folder (with all folders below it), or of a list: a path a line.

    `-` reads the list from standard input; lines that are empty or begin with # are no clips.
    Results keep the tree of the folder. Clips whose path has a folder in `known` keep it,
    whatever clips came since. Raises InputError where there is nothing.
    """
    if source == "-":
        return from_list(_standard_input(), known=known)
    if os.path.isdir(source):  # False for names that no file can have
        return _from_folder(Path(source), known)
    try:
        with open(source, encoding="utf-8", errors="surrogateescape") as lines:
            return from_list(lines, source, known)
    except OSError as error:
        raise InputError(
            f"cannot read {source!r}: {error.strerror}; expected a folder of clips, or a text file"
            " with a path a line"
        ) from error


def _standard_input() -> Iterator[str]:
    """Its lines, read as those of a file."""
    if sys.stdin is None:
        raise InputError("standard input is closed; expected a path a line")
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "surrogateescape")


def from_list(
    lines: Iterable[str], source: str = "the list", known: Mapping[str, str] | None = None
) -> list[Item]:
    """The clips that lines name, each once; their results lie side by side."""
    texts = (line.removeprefix("\ufeff").strip() for line in lines)  # Windows' mark of UTF-8
    by_path: dict[str, str] = {}
    for text in texts:
        if text and not text.startswith("#"):
            by_path.setdefault(os.path.abspath(text), text)
    clips = by_path.values()
    if binary := next((clip for clip in clips if "\0" in clip), None):
        raise InputError(
            f"{source!r} is no list of clips: it holds {binary[:40]!a}; expected a text file"
            " with a path a line"
        )
    if not clips:
        raise InputError(f"{source!r} names no clips; expected a path a line")
    return _named([(clip, None) for clip in clips], known or {})


def shard_of(items: list[Item], shard: str | None) -> list[Item]:
    """Every n-th of the items, from the i-th on; `shard` is i/n with i from 1, None: all.

    Raises UsageError for what is no such pair.
    """
    if shard is None:
        return items
    first, slash, count = shard.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UsageError(f"shard {shard!r} is no i/n; expected as 3/8: the third of eight")
    return items[int(first) - 1 :: int(count)]


def _from_folder(root: Path, known: Mapping[str, str] | None) -> list[Item]:
    found = [(str(path), path.parent.relative_to(root).as_posix()) for path in sorted(_clips(root))]
    if not found:
        raise InputError(
            f"{str(root)!r} holds no clips; expected video files"
            f" ({', '.join(suffix[1:] for suffix in VIDEO_SUFFIXES)}) or folders of frames"
        )
    return _named([(clip, "" if parent == "." else parent) for clip, parent in found], known or {})


def _clips(root: Path) -> Iterator[Path]:
    """Videos and folders of frames below a folder; not in results, nor where links lead. A folder
    that cannot be read is one of them, so that its reading fails and is told.
    """
    from samotion.clips.folders import IMAGE_SUFFIXES  # with NumPy, which help does without
    from samotion.clips.sizes import MIN_FRAMES

    closed: list[OSError] = []
    for here, folders, files in os.walk(root, onerror=closed.append):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        if RUN in files and is_begun(Path(here)):
            folders.clear()
            continue
        shown = [name for name in files if name[0] != "."]
        yield from (Path(here, name) for name in shown if name.lower().endswith(VIDEO_SUFFIXES))
        images = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in shown)
        if images >= MIN_FRAMES and Path(here) != root:  # one is a poster
            yield Path(here)
    for error in closed:
        if Path(error.filename) == root:
            raise InputError(f"cannot read {str(root)!r}: {error.strerror}") from error
        yield Path(error.filename)


def _named(clips: list[tuple[str, str | None]], known: Mapping[str, str]) -> list[Item]:
    """Folders of results, of clips with the folder in which each lies in the tree, None: of a list.

    A clip's name, or its whole file name where two would share it; of one file name in two folders
    that a list names, the whole path. None is a folder that another clip has its own files in, as
    `scene/images` beside `scene.mp4`, or that is `known` to be another's which is still there.
    """
    from samotion.clips.video import clip_name

    short = [_join(parent, clip_name(clip)) for clip, parent in clips]
    often = Counter(same_file(name) for name in short)
    whole = [
        name if often[same_file(name)] == 1 else _join(parent, Path(clip).name)
        for name, (clip, parent) in zip(short, clips)
    ]
    paths = {clip: os.path.abspath(clip) for clip, _ in clips}
    kept = {clip: known[path] for clip, path in paths.items() if path in known}
    elsewhere = known.keys() - set(paths.values())
    others = [known[path] for path in elsewhere if os.path.lexists(path)]
    twice = Counter(map(same_file, [*whole, *kept.values()]))
    files = (f"{name}/{inside}" for name in whole for inside in FOLDERS)
    taken = set(map(same_file, [*kept.values(), *others, *files]))
    items = []
    for name, (clip, parent) in zip(whole, clips):
        is_flat = parent is None and twice[same_file(name)] > 1
        folder = kept.get(clip) or free_name(_flat(clip) if is_flat else name, taken)
        items.append(Item(clip, folder))
    return items


def _join(parent: str | None, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def _flat(clip: str) -> str:
    """A path as one name."""
    return "_".join(part for part in Path(clip).parts if part.strip("./"))
