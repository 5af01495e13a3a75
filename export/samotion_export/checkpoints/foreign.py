"""What comes in place of a checkpoint: no file, one that is not to be read, or another, told by
its first bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samotion.errors import EngineError, reason
from samotion.manifest import sha256_of

_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--")
_POINTER = b"version https://git-lfs"


def foreign_kind(head: bytes) -> str | None:
    """In words, what a file is that begins with `head` and is no checkpoint (None: it may be
    one).
    """
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return "nothing"
    if start.startswith(_PAGES):
        return "a web page"
    if start.startswith(_POINTER):
        return "a git-lfs pointer"
    return None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises EngineError for a checkpoint that is no file, or cannot be read."""
    try:
        if not path.exists():
            raise EngineError(f"checkpoint {str(path)!r} does not exist")
        if not path.is_file():
            raise EngineError(f"checkpoint {str(path)!r} is a folder or device, expected a file")
        yield
    except OSError as error:
        raise EngineError(f"checkpoint {str(path)!r} cannot be read: {reason(error)}") from error


def hash_of(path: Path) -> str:
    """The sha256 of a checkpoint. Raises EngineError as `reading` does."""
    with reading(path):
        return sha256_of(path)
