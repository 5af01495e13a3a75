"""index.html: a folder of several clips' results, with a picture and a link for each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from samotion.manifest import write_atomically
from samotion.results.folder import disk_errors, locate
from samotion.results.names import is_plain
from samotion.results.record import DONE, REPORT, OutputFolder, Record, owned, read_record
from samotion.results.report import data, page

INDEX = "index.html"
MAX_PICTURES = 500  # more clips than this have a link only
MAX_TILES = 20_000  # and more than this are counted only
_HEAD_BYTES = 200_000  # of a report, in which its thumbnail stands
_THUMBNAIL = re.compile(rb'<link rel="icon" href="(data:image/jpeg;base64,[A-Za-z0-9+/=]+)">')


def write_index(folder: str | os.PathLike[str]) -> Path | None:
    """Write index.html, over all clips in a folder that have a report. None where there are less
    than two, or where something else has that name. Raises OutputError for a full disk.
    """
    base = Path(folder)
    with disk_errors(base):
        clips = _clips(base)
        if len(clips) < 2:
            return None
        tiles = [_tile(clip, k < MAX_PICTURES) for k, clip in enumerate(clips)]
        return _write(base / INDEX, [(len(clips), "clips")], tiles)


@dataclass(frozen=True)
class Row:
    """What became of one clip of a batch: `folder`, where its results are below that of the batch,
    its `state`, and what was found, or the `reason` why nothing was.
    """

    folder: str
    state: str
    frames: int = 0
    objects: int = 0
    reason: str = ""


def write_summary(
    folder: str | os.PathLike[str], rows: Sequence[Row], name: str = INDEX
) -> Path | None:
    """Write a page over all clips of a batch, those that failed first. None where something else
    has its name. Raises OutputError for a full disk.
    """
    base = Path(folder)
    states = list(dict.fromkeys(sorted(row.state for row in rows)))
    facts = [(len(rows), "clips")]
    facts += [(sum(row.state == state for row in rows), state) for state in states]
    ordered = sorted(rows, key=lambda row: (not row.reason, row.folder))
    with disk_errors(base):
        tiles = [
            _row_tile(base, row, k < MAX_PICTURES) for k, row in enumerate(ordered[:MAX_TILES])
        ]
        return _write(base / name, facts, tiles)


def _write(path: Path, facts: list[tuple[int, str]], tiles: list[str]) -> Path | None:
    """A page of tiles, if its place is free or ours."""
    if not _may_write(path):
        return None
    title = path.parent.resolve().name
    told = "".join(f"<span><b>{count}</b> {escape(what)}</span>" for count, what in facts)
    body = (
        f'<header><h1>{escape(title)}</h1><div class="facts">{told}</div></header>'
        f'<main><ul class="clips">{"".join(tiles)}</ul></main><footer>{data.MADE_BY}</footer>'
    )
    text = page.document(title, body).encode("utf-8", "backslashreplace")
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
    picture = _thumbnail(clip.tree / REPORT) if with_picture else None
    return _card(clip.name, _about(read_record(clip)), picture)


def _row_tile(base: Path, row: Row, with_picture: bool) -> str:
    report = base.joinpath(*PurePosixPath(row.folder).parts, REPORT)
    if row.reason:
        return _card(row.folder, row.reason, None, linked=False, style="failed")
    about = f"{row.state} · {_found(row.objects, row.frames)}"
    there = report.is_file() and report.resolve().is_relative_to(base.resolve())
    return _card(row.folder, about, _thumbnail(report) if there and with_picture else None, there)


def _card(
    name: str, about: str, picture: str | None, linked: bool = True, style: str = "soft"
) -> str:
    """A clip's picture, its name, a link to its report, and a line about it."""
    shown = f'<img src="{picture}" alt="">' if picture else '<div class="none"></div>'
    address = escape(quote(os.fsencode(f"{name}/{REPORT}")))
    before, behind = (f'<a href="{address}">', "</a>") if linked else ("", "")
    return (
        f'<li class="card">{before}{shown}<div class="text">'
        f'<b>{escape(name)}</b><span class="{style}">{escape(about)}</span>'
        f"</div>{behind}</li>"
    )


def _about(record: Record) -> str:
    """How much was found in how much, in one line."""
    if record.get("status") != DONE:
        return "not finished"
    found, size = record.get("objects"), _list(record.get("clip"), "size")
    parts = [_found(found, len(_list(record, "frames")))]
    if len(size) == 2:
        parts.append(f"{size[1]}×{size[0]}")
    if warnings := _list(record, "warnings"):
        parts.append(f"{len(warnings)} warning{'s' * (len(warnings) != 1)}")
    return " · ".join(parts)


def _found(objects: Any, frames: int) -> str:
    count = f"{objects} moving object{'s' * (objects != 1)}" if objects else "nothing moves"
    return f"{count} · {frames} frames"


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, list) else []


def _thumbnail(report: Path) -> str | None:
    """The picture at the head of a report."""
    with report.open("rb") as file:
        found = _THUMBNAIL.search(file.read(_HEAD_BYTES))
    return found[1].decode() if found else None
