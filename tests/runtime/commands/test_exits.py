"""Errors become one line and the right exit code."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from samotion import errors
from samotion.commands.exits import Terminated, exit_code, explain


@pytest.mark.parametrize(
    "kind, code",
    [
        (errors.SamotionError, 1),
        (errors.UsageError, 2),
        (errors.InputError, 3),
        (errors.EngineError, 4),
        (errors.DeviceError, 5),
        (errors.ParityError, 6),
        (errors.OutputError, 7),
    ],
)
def test_each_kind_has_its_code(
    kind: type[errors.SamotionError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise kind("got this,\nexpected that")

    assert exit_code(work) == code
    assert capsys.readouterr() == ("", "error: got this, expected that\n")


def test_codes_are_handed_through() -> None:
    assert exit_code(lambda: None) == 0
    assert exit_code(lambda: 8) == 8


@pytest.mark.parametrize(
    "error, code, said",
    [
        (
            OSError(errno.ENOSPC, "full", "/out/a.png"),
            7,
            "No space left on device while writing '/out/a.png'",
        ),
        (OSError(errno.EROFS, "ro"), 7, "Read-only file system"),
        (ImportError("libGL.so.1: no\nfile"), 5, "package cannot be loaded (libGL.so.1: no file)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (
            ZeroDivisionError("by zero"),
            1,
            "internal error: ZeroDivisionError: by zero; run again with -v",
        ),
        (PermissionError(errno.EACCES, "no"), 1, "internal error: PermissionError"),
    ],
)
def test_other_errors(error: BaseException, code: int, said: str) -> None:
    got, line = explain(error)
    assert got == code
    assert said in line


def test_stack_trace_with_verbose_only(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ZeroDivisionError

    exit_code(work)
    assert "Traceback" not in capsys.readouterr().err
    exit_code(work, verbose=True)
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_cleans_up_and_the_handler_goes_back() -> None:
    before, cleaned = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)

    assert exit_code(work) == 143
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_an_interruption_is_one_line_even_with_verbose(
    stop: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise stop

    exit_code(work, verbose=True)
    assert capsys.readouterr().err.count("\n") == 1


def test_help_to_a_full_disk_is_one_line() -> None:
    line = [sys.executable, "-c", "from samotion.commands.check import main; main()", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 7 and done.stderr.startswith("error: No space left on device")
    assert done.stderr.count("\n") == 1


def test_a_message_that_does_not_fit_on_the_disk_changes_no_code() -> None:
    line = [sys.executable, "-c", "from samotion.commands.check import main; main()", "--colour"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(line, stderr=full).returncode == 2


def test_the_line_of_an_error_holds_nothing_that_a_terminal_obeys() -> None:
    """It also goes to lists and pages."""
    assert explain(errors.InputError("a\x1b[31m\nb")) == (3, "error: a\\x1b[31m b")
