"""Whether an earlier result is the one that is asked for: same clip, same settings, same
engines, all files there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from samotion.results.record import DONE, WRITING, OutputFolder, Record, owned, read_record

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder
    from samotion.settings import Settings


def make_request(
    clip: str, folder: OutputFolder, settings: Settings, engines: EngineFolder
) -> Record:
    """What a run is asked for, as run.json keeps it; its `clip` is None where that is not there, as
    the reader will tell.
    """
    from samotion.settings import resolve

    sha256 = {name: entry.sha256 for name, entry in engines.manifest.engines.items()}
    return {
        "clip": _fingerprint(clip),
        "save": list(folder.kinds),
        "overlay": list(folder.overlay) if "overlay" in folder.kinds else None,
        "settings": asdict(resolve(settings, engines.preset)),
        "engines": {"preset": engines.preset.name, "sha256": sha256},
    }


def is_done(folder: OutputFolder) -> bool:
    """Whether an earlier run of this clip came to its end."""
    return bool(read_record(folder).get("status") == DONE)


def is_kept(folder: OutputFolder) -> bool:
    """Whether an earlier result asks to be kept; what a run that broke off left may be redone at
    any time.
    """
    return bool(read_record(folder).get("status", WRITING) != WRITING)


def other_clip(folder: OutputFolder, clip: str) -> str:
    """The path of another clip whose result a folder holds, or which a run there is at; empty where
    there is none.
    """
    path = _table(_table(read_record(folder), "request"), "clip").get("path")
    return path if isinstance(path, str) and path != os.path.realpath(clip) else ""


def difference(folder: OutputFolder, request: Record, present: Iterable[str]) -> str:
    """What keeps an earlier result from being the one asked for, in a few words; empty where
    nothing does.
    """
    had = _table(read_record(folder), "request")
    if not had:
        return "that does not tell how it was asked for"
    return (
        _other_clip(_table(had, "clip"), request["clip"])
        or _other_settings(_table(had, "settings"), request["settings"])
        or _other_engines(_table(had, "engines"), request["engines"])
        or _other_layers(had.get("overlay"), request["overlay"])
        or _missing(had.get("save"), request["save"])
        or _missing(list(present), sorted(owned(folder)))
    )


def _other_clip(had: Record, asked: Record | None) -> str:
    if asked is None:
        return "of a clip that cannot be read now"
    if had == asked:
        return ""
    if had.get("path") != asked["path"]:
        return f"of another clip, {had.get('path')!r}"
    return "of this clip before it was changed"


def _other_settings(had: Record, asked: Record) -> str:
    for name in asked:
        if had.get(name) != asked[name]:
            return f"made with {name} {had.get(name)}, not {asked[name]}"
    return ""


def _other_engines(had: Record, asked: Record) -> str:
    if had == asked:
        return ""
    if had.get("preset") != asked["preset"]:
        return f"made by engines of preset {had.get('preset')}, not {asked['preset']}"
    return "made by other engines"


def _other_layers(had: Any, asked: list[str] | None) -> str:
    """An overlay that is there and was not asked for is none the worse for it."""
    if asked is None or not isinstance(had, list) or sorted(map(str, had)) == sorted(asked):
        return ""
    return f"with an overlay of {','.join(map(str, had))}, not {','.join(asked)}"


def _missing(had: Any, wanted: list[str]) -> str:
    lost = [name for name in wanted if not isinstance(had, list) or name not in had]
    return f"without {lost[0]!r}" if lost else ""


def _table(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _fingerprint(clip: str) -> Record | None:
    """What changes when a clip does: its path, size and time of change; for a folder, those of
    all its frames.
    """
    try:
        status = os.stat(clip)
        path = os.path.realpath(clip)
        if stat.S_ISDIR(status.st_mode):
            return {"path": path, "frames_sha256": _hash_frames(path)}
    except OSError:
        return None
    return {"path": path, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _hash_frames(folder: str) -> str:
    # with NumPy, which the command's help does without
    from samotion.clips.video import IMAGE_SUFFIXES

    with os.scandir(folder) as entries:
        frames = [entry for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    digest = hashlib.sha256()
    for frame in sorted(frames, key=lambda entry: entry.name):
        digest.update(repr((frame.name, _size_and_time(frame))).encode())
    return digest.hexdigest()


def _size_and_time(frame: os.DirEntry[str]) -> tuple[int, int] | None:
    """None for a link that leads nowhere: what reads the frame tells of it."""
    try:
        status = frame.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
