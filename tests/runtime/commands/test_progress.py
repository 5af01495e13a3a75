"""What a terminal and a log show of a run, and that a time left is an honest one."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console
from samotion.commands import progress
from samotion.commands.bars import Count, Time, bars
from samotion.commands.series import Pace, Series, about


class Clock:
    """A time that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_gets_one_line_when_a_stage_ends(clock: Clock) -> None:
    out = io.StringIO()
    with progress.display(stream=out, clock=clock) as report:
        for stage, total in (("motion", 3), ("masks", 1), ("masks", 1)):
            for done in range(total + 1):
                report(stage, done, total)
                clock.now += 1
    assert out.getvalue() == "motion      3.0 s\nmasks       1.0 s\n"


def test_what_is_told_of_stages_is_no_output(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.display(clock=clock) as report:
        report("masks", 1, 1)
    assert capsys.readouterr() == ("", "masks       0.0 s\n")


def test_a_log_hears_of_a_long_stage_now_and_then(clock: Clock) -> None:
    out = io.StringIO()
    with progress.display(stream=out, clock=clock) as report:
        report("prompts", 0, 1)
        for done in range(0, 40):
            clock.now += 3
            report("prompts", done, 40)
        report("prompts", 40, 40)
    lines = out.getvalue().splitlines()
    assert lines[0] == "prompts  3 of 40, about 2 min left" and len(lines) == 11
    assert lines[-2:] == ["prompts  39 of 40, about 3 s left", "prompts   120.0 s"]


def test_a_log_hears_of_a_stage_whose_length_is_unknown(clock: Clock) -> None:
    out = io.StringIO()
    with progress.display(stream=out, clock=clock) as report:
        for total in (1, 1, 0):
            report("motion", 0, total)
            clock.now += 12
    assert out.getvalue() == "motion     12.0 s so far\nmotion     24.0 s so far\n"


def test_time_left_shrinks_within_a_long_step(clock: Clock) -> None:
    out = io.StringIO()
    with progress.display(stream=out, clock=clock) as report:
        report("windows", 0, 1)
        for done in (0, 100, 200):
            for _ in range(4):
                report("windows", done, 300)
                clock.now += 10
    told = [line.removeprefix("windows  ") for line in out.getvalue().splitlines()]
    assert told[:3] == ["0 of 300"] * 3
    assert told[3:7] == [f"100 of 300, about {left} s left" for left in (80, 70, 60, 50)]
    assert told[7:] == [f"200 of 300, about {left} s left" for left in (40, 30, 20, 10)]


def test_time_left_is_none_while_a_step_is_overdue(clock: Clock) -> None:
    pace = Pace(clock)
    left = []
    for done in (284, 568):  # gone on with from there
        pace.reach(done, 852)
        clock.now += 100
        left.append(pace.left_s())
    clock.now += 10
    left.append(pace.left_s())
    assert left == [None, None, None]
    pace.reach(800, 852)
    assert pace.left_s() == pytest.approx(210 / 516 * 52)
    pace.reach(850, 900)  # another stage
    clock.now += 5
    pace.reach(851, 900)
    assert pace.left_s() == pytest.approx(5 * 49)


def test_a_terminal_tells_the_time_left_from_the_first_step_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with progress.display(stream=out) as report:
        report("windows", 0, 100)
        time.sleep(0.02)
        report("windows", 1, 100)
    assert re.search(r"1/100.* left", out.getvalue())


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    with progress.display(quiet=True, stream=out) as report:
        report("dino", 1, 1)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("term", "moves"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_bars_are_for_terminals_that_can(
    monkeypatch: pytest.MonkeyPatch, term: str, moves: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    out = Terminal()
    with progress.display(stream=out) as report:
        report("tracks", 0, 1)
        report("tracks", 0, 4)
        report("tracks", 4, 4)
    assert ("4/4" in out.getvalue()) == moves
    assert re.search(r"\d\.\d s", out.getvalue())


def test_a_terminal_shows_the_batch_while_a_clip_runs(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    series, out = Series(3, clock), Terminal()
    series.start()
    clock.now = 60
    series.end()
    series.start()
    with progress.display(stream=out, series=series) as report:
        report("tracks", 1, 2)
    assert "all" in out.getvalue() and "1/3" in out.getvalue() and "0:02:00 left" in out.getvalue()
    alone = Terminal()
    with progress.display(stream=alone, series=Series(1, clock)) as report:
        report("tracks", 1, 2)
    assert "tracks" in alone.getvalue() and "all" not in alone.getvalue()


def test_columns_survive_what_is_unknown() -> None:
    rows = bars(Console(file=io.StringIO()), transient=False)
    rows.add_task("motion", total=None)
    task = rows.tasks[0]
    assert Count().render(task).plain == "" and Time().render(task).plain == "0:00:00 so far"
    rows.update(task.id, completed=2, total=2)
    assert Count().render(task).plain == "2/2" and re.fullmatch(
        r"\d\.\d s", Time().render(task).plain
    )


def test_time_left_of_a_batch_is_that_of_the_mean(clock: Clock) -> None:
    series = Series(4, clock)
    series.start()
    clock.now = 5
    assert series.left_s() is None and series.title("clip", "a.mp4") == "clip 1 of 4: a.mp4"
    clock.now = 30
    series.end()
    series.start()  # skipped: it says nothing of the others
    series.start()
    assert series.left_s() == 60
    assert series.title("clip", "c.mp4") == "clip 3 of 4: c.mp4, about 60 s left"
    clock.now = 50
    assert series.left_s() == 40
    clock.now = 90  # the third takes 60 s already: the mean is 45
    assert series.left_s() == 45
    series.end()
    series.start()
    clock.now = 300
    assert series.left_s() is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "about 1 s"),
        (89, "about 89 s"),
        (600, "about 10 min"),
        (5400, "about 1.5 h"),
        (9000, "about 2.5 h"),
    ],
)
def test_times_are_told_roughly(seconds: float, text: str) -> None:
    assert about(seconds) == text
