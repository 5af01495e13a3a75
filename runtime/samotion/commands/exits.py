"""What the commands share: one line for the user, the right exit code, and a clean end on a
signal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from samotion.commands import streams
from samotion.errors import DeviceError, OutputError, SamotionError, is_disk_error

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers

INTERNAL, SOME_FAILED, INTERRUPTED, TERMINATED = 1, 8, 130, 143


class Terminated(BaseException):
    """SIGTERM, raised in the main thread so that temporary files and locks are cleaned up on the
    way out.
    """


def run_command(function: Callable[[], int | None], verbose: bool = False) -> NoReturn:
    """Do a command's work and end the process with its exit code (None: 0).

    A SamotionError becomes one line on stderr and its own code, a broken package 5, a full disk 7,
    Ctrl-C 130, SIGTERM 143, anything unexpected 1. The stack trace shows with `verbose` only.
    Output that nobody reads is no error.
    """
    sys.exit(exit_code(function, verbose))


def exit_code(function: Callable[[], int | None], verbose: bool = False) -> int:
    """`run_command` without the exit."""
    streams.prepare()
    try:
        with handled({signal.SIGTERM: terminate}):
            code = function() or 0
            sys.stdout.flush()
            return code
    except SystemExit:
        raise
    except BaseException as error:
        return tell(error, verbose)


def tell(error: BaseException, verbose: bool = False) -> int:
    """Say on stderr why a command ends, in one line; its exit code."""
    if verbose and not isinstance(error, (KeyboardInterrupt, Terminated)):
        streams.trace(error)
    code, line = explain(error, verbose)
    streams.note(line)
    return code


def explain(error: BaseException, verbose: bool = False) -> tuple[int, str]:
    """The exit code and the one line that a user sees for an error."""
    if isinstance(error, SamotionError):
        return error.exit_code, f"error: {_one_line(error)}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, Terminated):
        return TERMINATED, "terminated"
    if isinstance(error, OSError) and is_disk_error(error):
        where = f" while writing {str(error.filename)!r}" if error.filename else ""
        reason = os.strerror(error.errno or 0)
        return (
            OutputError.exit_code,
            f"error: {reason}{where}; free some space or choose another folder",
        )
    if isinstance(error, ImportError):
        line = f"error: a package cannot be loaded ({_one_line(error)}); see samotion-check"
        return DeviceError.exit_code, line
    hint = "" if verbose else "; run again with -v for the stack trace"
    return INTERNAL, f"internal error: {type(error).__name__}: {_one_line(error)}{hint}"


def _one_line(error: BaseException) -> str:
    return streams.printable(" ".join(str(error).split()))


@contextmanager
def handled(by: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals, by their numbers, so. In the main thread; others handle none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, how) for number, how in by.items()}
    try:
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


def terminate(number: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM."""
    raise Terminated


@contextmanager
def first_signal(do: Callable[[int], None]) -> Iterator[None]:
    """Call `do` with the number of the first Ctrl-C or SIGTERM instead of what that would do; those
    after it do what they always do. What is ignored stays so. In the main thread, as `handled`.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {n: how for n, how in handlers.items() if how not in (None, signal.SIG_IGN)}

    def told(number: int, frame: FrameType | None) -> None:
        for one, how in before.items():
            signal.signal(one, how)
        do(number)

    with handled(dict.fromkeys(before, told)):
        yield
