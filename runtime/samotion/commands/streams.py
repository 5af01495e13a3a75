"""stdout and stderr that never stop a run: closed, left by their reader, broken, or not in
UTF-8.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import traceback
from typing import Any, TextIO
from unicodedata import category

PATH_BYTES = "samotion.path_bytes"  # an error handler for encoding, see `_path_bytes`
JOINERS = "\u200c\u200d"  # of letters, and of emoji
_LEFT = frozenset({errno.EPIPE, errno.EBADF, errno.EIO})  # nobody reads any more
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Tolerant(io.RawIOBase):
    """A descriptor to write to. After an error, what comes goes nowhere; an error that is
    `forgiven` is not told.
    """

    def __init__(self, descriptor: int, forgiven: frozenset[int]) -> None:
        self._descriptor, self._forgiven = descriptor, forgiven

    def writable(self) -> bool:
        """Yes, always."""
        return True

    def fileno(self) -> int:
        """The descriptor that it writes to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Is that a terminal?"""
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Write; errors that are forgiven end all output in silence."""
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._descriptor)
            if error.errno not in self._forgiven:
                raise
        return len(data)


def note(*lines: str) -> None:
    """Lines on stderr."""
    print("\n".join(map(printable, lines)), file=sys.stderr, flush=True)


def trace(error: BaseException) -> None:
    """An error's stack trace on stderr."""
    note(*"".join(traceback.format_exception(error)).rstrip("\n").split("\n"))


def printable(line: str) -> str:
    """A line with the ASCII escapes of what is not printable: names of files and what files say of
    themselves may hold what a terminal obeys, or a line's end. Spaces of all kinds and what joins
    letters stay, so that a path can be copied.
    """
    stays = (one.isprintable() or category(one) == "Zs" or one in JOINERS for one in line)
    return "".join(one if is_so else ascii(one)[1:-1] for one, is_so in zip(line, stays))


def prepare() -> None:
    """Make the process's own stdout and stderr tolerant; streams that somebody put in their place
    stay.

    A result that does not fit on the disk is an error all the same, a message is not: stderr may be
    full.
    """
    _open_closed_descriptors()
    sys.stdout = _tolerant(sys.stdout, sys.__stdout__, 1, _LEFT, PATH_BYTES)
    sys.stderr = _tolerant(sys.stderr, sys.__stderr__, 2, _LEFT | _FULL, "backslashreplace")


def _open_closed_descriptors() -> None:
    """Give 0, 1 and 2 to the null device where they are closed, or the next file opened would
    get their number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # takes the lowest number that is free
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _tolerant(
    stream: TextIO | None,
    original: TextIO | None,
    descriptor: int,
    forgiven: frozenset[int],
    errors: str,
) -> TextIO:
    """`stream` made anew if it is the process's own, and not yet tolerant. A console of Windows
    keeps its own, which alone writes letters there: what comes by the descriptor it takes for
    another encoding.
    """
    is_console = sys.platform == "win32" and os.isatty(descriptor)
    if stream is not None and (stream is not original or is_console):
        return stream
    encoding = "utf-8"
    if stream is not None:
        stream.flush()
        encoding = stream.encoding
    raw = io.BufferedWriter(Tolerant(descriptor, forgiven))
    return io.TextIOWrapper(
        raw, encoding, errors, line_buffering=descriptor == 2 or os.isatty(descriptor)
    )


def _path_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """What an encoding lacks, as the file system has it: a path comes out as it came in."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    try:
        return os.fsencode(lacking), error.end
    except UnicodeEncodeError:
        return lacking.encode("ascii", "backslashreplace"), error.end


codecs.register_error(PATH_BYTES, _path_bytes)
