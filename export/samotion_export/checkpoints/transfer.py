"""A file over HTTP: kept only if it can be a checkpoint, continued where an earlier try broke
off.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samotion.errors import EngineError

from samotion_export.checkpoints.foreign import foreign_kind
from samotion_export.report import Report

TIMEOUT_S = 30
TRIES = 3  # in one command; the next command goes on where this one stopped
_CHUNK = 1 << 20
_RANGE_NOT_SATISFIABLE = 416


class Interrupted(Exception):
    """The transfer ended early; what came is kept in the partial file."""


def download(url: str, target: Path, report: Report, size_bytes: int | None = None) -> None:
    """Put what lies at `url` into `target`, which appears whole or not at all.

    `size_bytes`: how long the file must be (None: not known). Raises EngineError for a web page, a
    Git LFS pointer or another length, Interrupted after TRIES transfers that broke off, and
    urllib's errors.
    """
    part = partial_file(url, target)
    for attempt in range(TRIES):
        try:
            came = _transfer(url, part, report, size_bytes)
            break
        except (Interrupted, http.client.HTTPException, ConnectionError, TimeoutError):
            if attempt == TRIES - 1:
                raise
    if size_bytes not in (None, came):
        part.unlink()
        raise EngineError(f"{came} bytes came, expected {size_bytes}")
    os.replace(part, target)
    _validator_file(part).unlink(missing_ok=True)


def partial_file(url: str, target: Path) -> Path:
    """Where the bytes of an unfinished transfer wait: beside `target`, one file an address."""
    address = hashlib.sha256(url.encode()).hexdigest()[:12]
    return target.with_name(f".{target.name}.{address}.part")


def _transfer(url: str, part: Path, report: Report, size_bytes: int | None) -> int:
    """Add to `part` what it lacks. Returns its length; raises Interrupted if more was announced."""
    with _opened(url, part) as response:
        start = _start(response)
        if start < 0:
            raise Interrupted("the server sent a part of the file that was not asked for")
        announced = response.headers.get("Content-Length")
        total = start + int(announced) if announced else None
        chunks = _chunks(response)
        if start == 0:
            chunks = _checked(chunks, response.headers.get_content_type())
        _check_length(part, total, size_bytes)
        if start == 0:
            _remember_validator(response, part)
        else:
            report.note(f"going on at {start / 1e6:.0f} MB")
        came = _append(chunks, part, start, total, report)
    if total is not None and came < total:
        raise Interrupted(f"the transfer broke off at {came} of {total} bytes")
    return came


def _append(
    chunks: Iterator[bytes], part: Path, start: int, total: int | None, report: Report
) -> int:
    with part.open("ab" if start else "wb") as file, report.bar("fetching") as (progress, task):
        progress.update(task, total=total, completed=start)
        for chunk in chunks:
            file.write(chunk)
            progress.advance(task, len(chunk))
        return file.tell()


@contextmanager
def _opened(url: str, part: Path) -> Iterator[http.client.HTTPResponse]:
    """The server's answer: what `part` lacks if the file is still the same, else the whole file."""
    answer = _asked(url, part)
    if answer is None:
        part.unlink()
        answer = urllib.request.urlopen(_request(url, part), timeout=TIMEOUT_S)
    with answer:
        yield answer


def _asked(url: str, part: Path) -> http.client.HTTPResponse | None:
    """The server's answer; None: it does not go on where `part` ends."""
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(
            _request(url, part), timeout=TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()  # it is a response too, and holds its connection open
        if error.code == _RANGE_NOT_SATISFIABLE and part.exists():
            return None
        raise
    if part.exists() and _start(answer) not in (0, part.stat().st_size):
        answer.close()
        return None
    return answer


def _request(url: str, part: Path) -> urllib.request.Request:
    headers = {"User-Agent": "samotion", "Accept-Encoding": "identity"}
    validator = _validator_file(part)
    if part.exists() and part.stat().st_size and validator.exists():
        headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": validator.read_text()}
    return urllib.request.Request(url, headers=headers)


def _start(response: http.client.HTTPResponse) -> int:
    """The first byte of an answer: 0, or where a part of the file begins; -1: it does not say."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(told[1]) if told else -1


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK):
        yield chunk


def _checked(chunks: Iterator[bytes], content_type: str) -> Iterator[bytes]:
    """The chunks of a new file. Raises EngineError where they cannot be a checkpoint."""
    head = next(chunks, b"")
    kind = "a web page" if content_type == "text/html" else foreign_kind(head)
    if kind:
        raise EngineError(f"the server answered with {kind}, not the file")
    return itertools.chain([head], chunks)


def _check_length(part: Path, total: int | None, size_bytes: int | None) -> None:
    """Refuse another file than the known one before a byte of it is kept."""
    if size_bytes is not None and total not in (None, size_bytes):
        part.unlink(missing_ok=True)
        raise EngineError(f"the server offers {total} bytes, expected {size_bytes}")


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".etag")


def _remember_validator(response: http.client.HTTPResponse, part: Path) -> None:
    """Note what tells this version of the file from others; without it no try may continue it."""
    etag = response.headers.get("ETag", "")
    # a weak tag promises no bytes
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if validator:
        _validator_file(part).write_text(validator)
    else:
        _validator_file(part).unlink(missing_ok=True)
