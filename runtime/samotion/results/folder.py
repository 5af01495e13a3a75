"""The place where one clip's results go: checked, locked, and never cleaned of what is not ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samotion.errors import OutputError, UsageError
from samotion.manifest import write_atomically

Record = dict[str, Any]

SCHEMA = 1
KINDS = ("masks", "overlay", "coco", "tracks")
LAYOUTS = ("clip", "davis")
RUN = "run.json"
_LOCK = ".samotion.lock"


@dataclass(frozen=True)
class Place:
    """Where one clip's results go. `base` holds run.json, `tree` (in or same as base) is the clip's own folder."""

    base: Path
    tree: Path
    masks: Path
    name: str
    layout: str
    kinds: tuple[str, ...]

    @property
    def record(self) -> Path:
        return self.base / RUN


@contextmanager
def reserve(
    folder: str | os.PathLike[str],
    name: str,
    save: Iterable[str] | None = None,
    layout: str = "clip",
    overwrite: bool = False,
) -> Iterator[Place]:
    """Check and lock the place of a clip's results before the work begins; what stays empty is removed after it."""
    from filelock import FileLock, Timeout

    place = _place(Path(folder), name, save, layout)
    with disk_errors(place.base):
        made = _make(place.base)
        lock = FileLock(place.base / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise OutputError(f"{str(place.base)!r} is in use by another samotion-run; wait, or change -o") from error
    try:
        with disk_errors(place.base):
            _check(place, overwrite)
        yield place
    finally:
        with suppress(OSError):
            os.unlink(place.base / _LOCK)
        lock.release()
        for new in made:
            with suppress(OSError):  # it holds results: the normal case
                new.rmdir()


def _place(folder: Path, name: str, save: Iterable[str] | None, layout: str) -> Place:
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    kinds = tuple(KINDS if layout == "clip" else ["masks"]) if save is None else tuple(save)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"cannot save {unknown[0]!r}; choose from {', '.join(KINDS)}")
    if layout == "davis" and kinds != ("masks",):
        raise UsageError(f"layout davis holds masks only; got save {','.join(kinds) or 'nothing'}")
    tree = folder / name
    if layout == "davis":
        return Place(folder, tree, tree, name, layout, kinds)
    return Place(tree, tree, tree / "masks", name, layout, kinds)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Name the folder and the way out when the system refuses to write."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write results to {str(folder)!r}: {reason}; free it or choose another -o") from error


def _make(folder: Path) -> list[Path]:
    """Make a folder and its parents; the ones that are new, innermost first."""
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def _check(place: Place, overwrite: bool) -> None:
    mine = owned(place)
    foreign = sorted(present(place) - mine)
    if place.record.exists() and _read_record(place) is None:
        foreign.append(RUN)
    if foreign:
        raise OutputError(
            f"{str(place.tree)!r} holds {foreign[0]!r}, which samotion did not write; choose another folder with -o"
        )
    if mine and not overwrite:
        raise OutputError(f"{str(place.tree)!r} holds an earlier result; use --overwrite, or another folder with -o")


def present(place: Place) -> set[str]:
    """Files below the clip's folder, relative to run.json's; hidden files are nobody's concern."""
    found = set()
    for root, folders, files in os.walk(place.tree):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found |= {(Path(root) / n).relative_to(place.base).as_posix() for n in (*files, *links) if n[0] != "."}
    return found - {RUN} if place.tree == place.base else found


def _read_record(place: Place) -> Record | None:
    """run.json if it is one of ours with this layout."""
    try:
        record = json.loads(place.record.read_bytes())
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.get("tool") == "samotion" and record.get("layout") == place.layout
    return record if ours else None


def owned(place: Place) -> set[str]:
    """The files that an earlier run of this clip wrote or meant to write."""
    record = _read_record(place) or {}
    if place.layout == "davis":
        record = _clips(record).get(place.name, {})
    files = record.get("files")
    return {str(file) for file in files} if isinstance(files, list) else set()


def _clips(record: Record) -> dict[str, Record]:
    """The records of all clips in a run.json of layout davis."""
    clips = record.get("clips")
    return {k: v for k, v in clips.items() if isinstance(v, dict)} if isinstance(clips, dict) else {}


def write_record(place: Place, record: Record) -> None:
    """Write run.json; in layout davis the other clips' records stay."""
    if place.layout == "davis":
        clips = _clips(_read_record(place) or {}) | {place.name: record}
        record = {"schema": SCHEMA, "tool": "samotion", "layout": "davis", "clips": clips}
    write_atomically(place.record, (json.dumps(record, indent=2) + "\n").encode())


def remove(place: Place, files: Iterable[str]) -> None:
    """Delete files (relative to run.json's folder), and the masks' folder if that leaves it empty."""
    for file in files:
        (place.base / file).unlink()
    with suppress(OSError):  # not empty, or never there
        place.masks.rmdir()
