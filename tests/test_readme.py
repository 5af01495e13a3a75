"""The documentation's commands are the programs' own: every option it names exists, every link leads somewhere."""

from __future__ import annotations

import re

import pytest
import typer
from helpers.paths import ROOT
from samotion.commands.run import app as run
from samotion_bench.bench import app as bench
from samotion_bench.evaluate import app as evaluate
from samotion_export.cli import app as export

PAGES = ("README.md", "benchmarks/README.md", "training/README.md")
APPS = {"samotion-run": run, "samotion-export": export, "samotion-bench": bench, "samotion-eval": evaluate}


def _commands() -> list[tuple[str, str]]:
    """(program, its line) for every samotion command in the pages' code."""
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    code = [*re.findall(r"```(?:bash)?\n(.*?)```", text, re.S), *re.findall(r"`(samotion-[^`\n]+)`", text)]
    lines = "\n".join(code).splitlines()
    return [(line.split()[0], line) for line in lines if line.split() and line.split()[0] in APPS]


def test_the_pages_show_every_program():
    assert {program for program, _ in _commands()} == set(APPS)


@pytest.mark.parametrize("program", APPS)
def test_options_in_the_pages_exist(program):
    command = typer.main.get_command(APPS[program])
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {
        word.split("=")[0]
        for name, line in _commands()
        if name == program
        for word in line.split("#")[0].split()
        if re.match(r"--?[a-z]", word)
    }
    assert used <= known


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    folder = (ROOT / page).parent
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (folder / link).exists()] == []


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named <= targets
