"""stdout and stderr that are closed, left, full or not UTF-8 change neither the work nor its
exit code.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest
from samotion.commands import streams

WORK = """
import sys
from samotion.commands import run_command

def work():
    print("x" * 1_000_000)
    print("said", file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        file.write("done")
    return 8

run_command(work)
"""


def run(tmp_path, redirection, code=WORK):
    """Exit code, stdout, stderr and what the work wrote to a file; it must not meet what went to
    stdout.
    """
    command = f'"$0" -c "$1" "$2" {redirection}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, code, str(tmp_path / "file")],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr, (tmp_path / "file").read_text()


@pytest.mark.parametrize(
    "redirection",
    [
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
        "2>/dev/full",
        "> >(true)",
        "2> >(true)",
        "| true; exit ${PIPESTATUS[0]}",
    ],
)
def test_work_is_done_whatever_the_streams_are(tmp_path, redirection):
    code, _, said, written = run(tmp_path, redirection)
    assert (code, written) == (8, "done") and said in ("", "said\n")


def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path):
    code = WORK.replace("    print", "    first = open(sys.argv[1], 'a')\n    print", 1)
    code = code.replace('"w"', '"a"')
    assert run(tmp_path, ">&-", code) == (8, "", "said\n", "done")


@pytest.mark.parametrize(
    "number", [errno.EPIPE, errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT]
)
def test_a_message_that_cannot_be_written_is_no_error(number, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(number, "cannot be written")

    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(os, "write", fail)
        assert streams.Tolerant(file.fileno(), streams._LEFT | streams._FULL).write(b"said") == 4


def test_a_terminal_is_still_one():
    leader, follower = os.openpty()
    with open(leader, "wb"), open(follower, "wb"):
        stream = streams.Tolerant(follower, frozenset())
        assert stream.isatty() and stream.fileno() == follower


def test_results_that_do_not_fit_are_an_error(tmp_path):
    code = WORK.replace("    print", "    open(sys.argv[1], 'w').write('begun'); print", 1)
    said = "error: No space left on device; free some space or choose another folder\n"
    assert run(tmp_path, ">/dev/full", code) == (7, "", said, "begun")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_paths_come_out_as_the_file_system_has_them(encoding):
    path = os.fsencode("caf\xe9 \U0001f408") + b"\xff"
    code = """
import sys
from samotion.commands import streams
streams.prepare()
print(sys.argv[1] + "\\n\\ud800")
streams.note(sys.argv[1])
"""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, path],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.stdout == path + b"\n\\ud800\n", done.stderr
    said = (
        done.stderr.decode(encoding).replace("\\xe9", "\xe9").replace("\\U0001f408", "\U0001f408")
    )
    assert said == "caf\xe9 \U0001f408\\udcff\n"


def test_streams_of_others_stay(capsys):
    before = sys.stdout, sys.stderr
    streams.prepare()
    assert (sys.stdout, sys.stderr) == before


def test_what_a_terminal_would_obey_is_told_as_its_escape(capsys):
    """Names of files may hold it, or a line that looks like one of ours."""
    streams.note("caf\xe9 \U0001f408", "a\x1b]0;PWNED\x07\r\nforged: done\x9b31m\u202e.mp4")
    _, said = capsys.readouterr()
    assert said == (
        "caf\xe9 \U0001f408\na\\x1b]0;PWNED\\x07\\r\\nforged: done\\x9b31m\\u202e.mp4\n"
    )
    path = "9.41\u202fAM \u3000\u200d.mov"  # as macOS and Japanese have it
    assert streams.printable(path) == path
    with pytest.raises(ValueError, match="red") as raised:
        raise ValueError("\x1b[31mred")
    streams.trace(raised.value)
    _, said = capsys.readouterr()
    assert said.startswith("Traceback") and said.endswith("\nValueError: \\x1b[31mred\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_of_windows_keeps_its_own_stream(is_terminal, monkeypatch):
    own = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "isatty", lambda descriptor: is_terminal)
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, own)
    streams.prepare()
    assert (sys.stdout is own, sys.stderr is own) == (is_terminal, is_terminal)
