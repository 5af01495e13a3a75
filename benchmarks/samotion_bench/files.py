"""Files that a command was asked to write, and options that it would pass over."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from samotion.errors import OutputError, UsageError
from samotion.manifest import write_atomically


def refuse_with(options: Mapping[str, object], others: Mapping[str, object]) -> None:
    """Raise UsageError where one of the `others` has no use beside one of the options; None: not
    given.
    """
    first, second = (
        [name for name, value in table.items() if value is not None] for table in (options, others)
    )
    if first and second:
        raise UsageError(f"{second[0]} does not go with {first[0]}; leave one of them out")


def check_places(*paths: Path | None, folder: Path | None = None) -> None:
    """Make the folders of files that are asked for, and a `folder` for several. Raises OutputError,
    before any work, where one cannot be written.
    """
    for path in filter(None, paths):
        with _told(path):
            _make_folder(path.parent)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if folder:
        with _told(folder):
            _make_folder(folder)


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def save(path: Path | None, data: str | bytes) -> None:
    """Write a file that was asked for. Raises OutputError."""
    if path:
        with _told(path):
            write_atomically(path, data if isinstance(data, bytes) else data.encode())


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
