"""run.json: what a result is, how it was asked for, and which files are ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samotion.manifest import write_json

Record = dict[str, Any]

SCHEMA = 1
RUN = "run.json"
OVERLAY, OBJECTS, TRACKS, REPORT = "overlay.mp4", "objects.json", "tracks.npz", "report.html"
FOLDERS = ("masks", "images", "labels", "mattes", "colmap_masks")  # in a clip's, with its files
WRITING, DONE = "writing", "done"
LAYERS = ("masks", "boxes", "ids", "trails", "score", "beside")  # of an overlay
DEFAULT_LAYERS = ("masks", "ids", "score")


@dataclass(frozen=True)
class OutputFolder:
    """Where one clip's results go. `base` holds run.json, `tree` (in or same as base) is the
    clip's own folder; its overlay shows `overlay`.
    """

    base: Path
    tree: Path
    masks: Path
    name: str
    layout: str
    kinds: tuple[str, ...]
    overlay: tuple[str, ...] = DEFAULT_LAYERS

    @property
    def record(self) -> Path:
        """Where its run.json lies."""
        return self.base / RUN


def read_file(folder: OutputFolder) -> Record | None:
    """The whole run.json if it is one of ours with this layout."""
    record = _read(folder.record)
    return record if record and record.get("layout") == folder.layout else None


def is_result(folder: Path) -> bool:
    """Whether a folder holds a result of its own, and is no link."""
    return not folder.is_symlink() and _read(folder / RUN) is not None


def is_begun(folder: Path) -> bool:
    """Whether a folder holds results of ours, or an empty run.json, which a machine that went down
    leaves.
    """
    record = folder / RUN
    return _read(record) is not None or (record.is_file() and not record.stat().st_size)


def read_record(folder: OutputFolder) -> Record:
    """What run.json tells of this clip; empty where it tells nothing."""
    record = read_file(folder) or {}
    return _clips(record).get(folder.name, {}) if folder.layout == "davis" else record


def counts(record: Record) -> tuple[int, int]:
    """How many frames and objects a record of a clip tells of; 0 where it tells nothing."""
    frames, objects = record.get("frames"), record.get("objects")
    return (
        len(frames) if isinstance(frames, list) else 0,
        objects if isinstance(objects, int) else 0,
    )


def write_record(folder: OutputFolder, record: Record) -> None:
    """Write run.json; in layout davis the other clips' records stay."""
    if folder.layout == "davis":
        clips = _clips(read_file(folder) or {}) | {folder.name: record}
        record = {"schema": SCHEMA, "tool": "samotion", "layout": "davis", "clips": clips}
    write_json(folder.record, record, indent=2)


def announce(folder: OutputFolder, meant: Iterable[str] = (), **more: Any) -> None:
    """Say in run.json that a run has begun and means to write some files (relative to its folder);
    those of an earlier run stay its own.
    """
    record = {
        "schema": SCHEMA,
        "tool": "samotion",
        "layout": folder.layout,
        "status": WRITING,
        **more,
        "files": sorted(owned(folder).union(meant)),
    }
    write_record(folder, record)


def owned(folder: OutputFolder) -> set[str]:
    """The files, relative to run.json's folder, that an earlier run of this clip wrote or meant
    to write.
    """
    files = read_record(folder).get("files")
    return {str(file) for file in files} if isinstance(files, list) else set()


def _read(path: Path) -> Record | None:
    """A run.json if it is one of ours."""
    try:
        record = json.loads(path.read_bytes()) if path.is_file() else None  # no pipe, which waits
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("tool") == "samotion" else None


def _clips(record: Record) -> dict[str, Record]:
    """The records of all clips in a run.json of layout davis."""
    clips = record.get("clips")
    return (
        {k: v for k, v in clips.items() if isinstance(v, dict)} if isinstance(clips, dict) else {}
    )


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Those of packages, where they are installed."""
    from importlib import metadata

    found = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
