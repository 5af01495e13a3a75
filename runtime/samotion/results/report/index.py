"""index.html: a folder of several clips' results, with a picture and a link for each."""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from samotion.manifest import write_atomically
from samotion.results.folder import disk_errors, locate
from samotion.results.names import is_plain
from samotion.results.record import DONE, REPORT, OutputFolder, Record, owned, read_record
from samotion.results.report import data, page

INDEX = "index.html"
MAX_PICTURES = 500  # more clips than this have a link only
_HEAD_BYTES = 200_000  # of a report, in which its thumbnail stands
_THUMBNAIL = re.compile(rb'<link rel="icon" href="(data:image/jpeg;base64,[A-Za-z0-9+/=]+)">')


def write_index(folder: str | os.PathLike[str]) -> Path | None:
    """Write index.html, over all clips in a folder that have a report. None where there are less
    than two, or where something else has that name. Raises OutputError for a full disk.
    """
    base = Path(folder)
    with disk_errors(base):
        clips = _clips(base)
        path = base / INDEX
        if len(clips) < 2 or not _may_write(path):
            return None
        tiles = "".join(_tile(clip, k < MAX_PICTURES) for k, clip in enumerate(clips))
        body = (
            f"<header><h1>{escape(base.resolve().name)}</h1>"
            f'<div class="facts"><span><b>{len(clips)}</b> clips</span></div></header>'
            f'<main><ul class="clips">{tiles}</ul></main><footer>{data.MADE_BY}</footer>'
        )
        text = page.document(base.resolve().name, body).encode("utf-8", "backslashreplace")
        if not path.exists() or path.read_bytes() != text:
            write_atomically(path, text)
    return path


def _clips(base: Path) -> list[OutputFolder]:
    """The clips whose reports lie in a folder, by name."""
    with os.scandir(base) as entries:
        names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    clips = [locate(base, name) for name in names if is_plain(name) and name[0] != "."]
    return [clip for clip in clips if REPORT in owned(clip) and (clip.tree / REPORT).is_file()]


def _may_write(path: Path) -> bool:
    """Whether no file is there, or one that we wrote."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return page.GENERATOR.encode() in file.read(4000)


def _tile(clip: OutputFolder, with_picture: bool) -> str:
    record = read_record(clip)
    picture = _thumbnail(clip.tree / REPORT) if with_picture else None
    shown = f'<img src="{picture}" alt="">' if picture else '<div class="none"></div>'
    address = escape(quote(os.fsencode(f"{clip.name}/{REPORT}")))
    return (
        f'<li class="card"><a href="{address}">{shown}<div class="text">'
        f'<b>{escape(clip.name)}</b><span class="soft">{escape(_about(record))}</span>'
        "</div></a></li>"
    )


def _about(record: Record) -> str:
    """How much was found in how much, in one line."""
    if record.get("status") != DONE:
        return "not finished"
    found, size = record.get("objects"), _list(record.get("clip"), "size")
    count = f"{found} moving object{'s' * (found != 1)}" if found else "nothing moves"
    parts = [count, f"{len(_list(record, 'frames'))} frames"]
    if len(size) == 2:
        parts.append(f"{size[1]}×{size[0]}")
    if warnings := _list(record, "warnings"):
        parts.append(f"{len(warnings)} warning{'s' * (len(warnings) != 1)}")
    return " · ".join(parts)


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, list) else []


def _thumbnail(report: Path) -> str | None:
    """The picture at the head of a report."""
    with report.open("rb") as file:
        found = _THUMBNAIL.search(file.read(_HEAD_BYTES))
    return found[1].decode() if found else None
