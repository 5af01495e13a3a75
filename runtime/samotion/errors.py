"""Errors a user can cause. Each kind carries the exit code of the commands."""

from __future__ import annotations

import errno
import re

_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})

_SECRETS = re.compile(r"\A([\w+.-]+://).*@", re.DOTALL)  # a user and a password in an address


class SamotionError(Exception):
    """Root of all errors samotion raises on purpose; the message is one line: got, expected,
    what to do.
    """

    exit_code = 1


class UsageError(SamotionError):
    """An argument or setting that makes no sense."""

    exit_code = 2


class InputError(SamotionError):
    """A clip or folder that cannot be read as video."""

    exit_code = 3


class EngineError(SamotionError):
    """A missing, edited or unexpected engine, manifest or weight file."""

    exit_code = 4


class DeviceError(SamotionError):
    """A device or backend that was asked for and is not active."""

    exit_code = 5


class ParityError(SamotionError):
    """An exported graph that answers differently from its PyTorch source."""

    exit_code = 6


class OutputError(SamotionError):
    """A full disk, a folder that holds foreign files, or a lock held by another process."""

    exit_code = 7


def is_disk_error(error: BaseException) -> bool:
    """A full, read-only or over-quota disk."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRNOS


def shown(clip: str) -> str:
    """How lines name a clip: an address without its user and password, all else as it is."""
    return _SECRETS.sub(r"\1...@", clip)


def first_line(error: BaseException) -> str:
    """What an error says first, cut to 300 characters; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:300]


def reason(error: BaseException) -> str:
    """Why, in one line: as the system has it, without a path, or as the error does."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())
