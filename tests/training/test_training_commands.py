"""Training commands answer mistakes in one line, with the exit code of their kind, before any
work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from samotion_training import pool, train_depth

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code and what it said on stderr."""

    def command(module: ModuleType, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        code = 0
        try:
            module.main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        return code, capsys.readouterr().err

    return command


def fail(*_: object) -> None:
    raise ZeroDivisionError("a fault of ours")


def test_the_stack_trace_shows_where_it_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_depth, "run_of", fail)
    code, said = run(train_depth, "runs", "--pool", "pool")
    assert code == 1 and said.startswith("internal error: ZeroDivisionError: a fault of ours;")
    assert said.count("\n") == 1 and "run again with -v" in said
    code, said = run(train_depth, "runs", "--pool", "pool", "-v")
    assert code == 1 and said.startswith("Traceback") and "run again" not in said


def test_what_failed_in_part_has_a_code_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_render", lambda _: 8)
    assert run(pool, "runs")[0] == 8
