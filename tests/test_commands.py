"""The commands are of one style, and every option of theirs is documented."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from samotion.commands import options
from samotion.manifest import BUNDLED
from samotion.presets import NANO
from typer.testing import CliRunner

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
PAGE = ROOT / "docs" / "commands.md"
SHARED = ("quiet", "verbose", "version")
COMPLETION = ("install_completion", "show_completion")


@cache
def programs() -> dict[str, str]:
    """The installed commands by name: their modules, as pyproject.toml has them."""
    section = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[1].split("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "([\w.]+):main"', section, re.M))


PROGRAMS = sorted(programs())


def app(program: str) -> Any:
    return importlib.import_module(programs()[program]).app


@cache
def parameters(program: str) -> dict[str, Any]:
    return {p.name: p for p in typer.main.get_command(app(program)).params}


def own(program: str) -> list[Any]:
    """The parameters that are not the same for all."""
    return [
        p for name, p in parameters(program).items() if name not in (*SHARED, *COMPLETION, "help")
    ]


def row(parameter: Any) -> str:
    """How the page lists a parameter: how it is written, what it does, what it is when left out."""
    written = "/".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        written = parameter.metavar + ("..." if parameter.nargs == -1 else "")
    elif parameter.metavar:
        written += f" {parameter.metavar}"
    left_out = (
        parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    )
    if isinstance(left_out, bool) and parameter.secondary_opts:
        left_out = f"`{(parameter.opts if left_out else parameter.secondary_opts)[0]}`"
    elif isinstance(left_out, bool) or left_out is None or parameter.required:
        left_out = ""
    return f"| `{written.replace('|', ' or ')}` | {parameter.help} | {left_out} |"


def section(program: str) -> str:
    found = re.search(rf"^## {program}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert found, f"{PAGE} has no section {program}"
    return found[1]


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_empty_text_is_no_folder(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As "$OUT" is where that is not set; it would be the current folder."""
    monkeypatch.chdir(tmp_path)
    for option in (p for p in own(program) if p.metavar == "FOLDER"):
        for written in option.opts:
            outcome = CliRunner().invoke(app(program), [written, ""], prog_name=program)
            assert outcome.exit_code == 2 and outcome.stderr.count("\n") == 1
            assert "an empty text; expected a folder" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_documented(program: str) -> None:
    rows = re.findall(r"^\| `.*$", section(program), re.M)
    wanted = [row(parameter) for parameter in own(program)]
    new = "\n".join(one for one in wanted if one not in rows)
    assert rows == wanted, f"docs/commands.md, {program}, has not as the program:\n{new}"


def test_departures_from_the_published_program_are_in_help_and_page() -> None:
    text = CliRunner().invoke(app("samotion-run"), ["--help"], env={"COLUMNS": "200"}).stdout
    told = re.findall(r"^  - (.*)$", text, re.M)
    for word in ("whole clip", f"{NANO.max_frames} frames", "sampled before", "click", "seed"):
        assert any(word in line for line in told), word
    assert told == re.findall(r"^- (.*)$", section("samotion-run"), re.M)


def test_shared_options_are_documented() -> None:
    shared = "\n".join(row(parameters("samotion-run")[name]) for name in SHARED)
    assert shared in PAGE.read_text()


def test_the_page_has_all_commands() -> None:
    names = ("batch", "bench", "check", "eval", "export", "live", "run")
    assert [f"samotion-{name}" for name in names] == PROGRAMS
    assert set(re.findall(r"^## (samotion-\w+)$", PAGE.read_text(), re.M)) == set(PROGRAMS)


@pytest.mark.parametrize("name", SHARED)
def test_shared_options_are_the_same(name: str) -> None:
    assert len({row(parameters(program)[name]) for program in PROGRAMS}) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_are_of_one_style(program: str) -> None:
    assert isinstance(typer.main.get_command(app(program)), options.Command)
    assert set(COMPLETION) <= parameters(program).keys()
    for parameter in own(program):
        what = f"{program} {parameter.name}"
        assert re.fullmatch(r"(\S+: )?[A-Z\-a-z].*\.", parameter.help), (
            f"{what}: help is a sentence"
        )
        assert parameter.metavar or isinstance(parameter.default, bool | None), f"{what}: a metavar"
        for other in PROGRAMS:
            twin = parameters(other).get(parameter.name)
            same = twin is None or (twin.opts, twin.metavar) == (parameter.opts, parameter.metavar)
            assert same, f"{what} is another in {other}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_plain_and_of_one_width(program: str) -> None:
    text = (
        CliRunner()
        .invoke(app(program), ["--help"], env={"COLUMNS": "200"}, prog_name=program)
        .stdout
    )
    assert text.isascii() and text.startswith(f"Usage: {program} [OPTIONS]")
    assert max(map(len, text.splitlines())) <= options.WIDTH
    assert not re.search(r"<\w+(\[\w+\])?>", text), "Python's types say nothing to users"
    for parameter in own(program):
        assert (
            parameter.opts[-1] if parameter.param_type_name == "option" else parameter.metavar
        ) in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_option_is_one_line_and_the_version_another(program: str) -> None:
    wrong = CliRunner().invoke(app(program), ["--frobnicate"], prog_name=program)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith("error: ") and wrong.stderr.endswith(
        f"; see: {program} --help\n"
    )
    version = CliRunner().invoke(app(program), ["--version"])
    assert (version.exit_code, version.stdout) == (
        0,
        f"samotion {importlib.import_module('samotion').__version__}\n",
    )


@pytest.mark.parametrize("is_parsed", [True, False])
def test_a_command_that_is_interrupted_before_its_work_says_so(
    is_parsed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    option: Any = typer.Option(1, callback=interrupt)

    def command(number: int = option) -> None: ...

    monkeypatch.setattr(sys, "argv", ["command"])
    program: Any = options.command_line(command) if is_parsed else interrupt
    with pytest.raises(SystemExit) as stopped:
        options.start(program, "command")
    assert (stopped.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_names_may_have_blanks_and_none_may_be_empty() -> None:
    assert options.names(" masks, mots,, ,") == ("masks", "mots")


def test_bundled_engines_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    options.teller(quiet=True)("not said")
    options.teller(quiet=False)(options.engines_at(str(BUNDLED)))
    assert capsys.readouterr().err == "the bundled engines (nano)\n"


def test_the_shell_completes_options_and_choices() -> None:
    code = (
        "import sys; sys.argv[0] = 'samotion-run'\nfrom samotion.commands.run import main\nmain()"
    )
    for typed, offered in (
        ("samotion-run --dev", "--device"),
        ("samotion-run --device c", "cpu\ncuda"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={
                **{"_SAMOTION_RUN_COMPLETE": "complete_bash", "COMP_WORDS": typed},
                **{"COMP_CWORD": str(typed.count(" ")), "PYTHONPATH": ":".join(sys.path)},
            },
        )
        assert done.stdout.strip() == offered, done.stderr


def test_the_last_of_several_names_is_completed() -> None:
    complete = options.several(["masks", "mots", "overlay"]).autocompletion
    assert complete("") == ["masks", "mots", "overlay"] and complete("mo") == ["mots"]
    assert complete("mots,") == ["mots,masks", "mots,overlay"]
    assert complete("overlay,mots,m") == ["overlay,mots,masks"]
