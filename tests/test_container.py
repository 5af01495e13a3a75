"""The Dockerfile copies what is there, installs what exists, and its context leaves nothing out."""

from __future__ import annotations

import re
import subprocess

import pytest
from helpers.paths import ROOT

tomllib = pytest.importorskip("tomllib")  # since Python 3.11
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", joined, re.M)


def copied() -> list[str]:
    """What is copied from the context."""
    lines = [line for line in instructions("COPY") if not line.startswith("--from")]
    return [path for line in lines for path in line.split()[:-1]]


def test_what_is_copied_exists_and_is_in_the_context() -> None:
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert copied() and sorted(copied()) == sorted(kept)
    assert [path for path in copied() if not (ROOT / path).exists()] == []


def test_what_is_copied_is_enough_to_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) | {"pyproject.toml", "README.md"} <= set(copied())
    assert set(project["project"]["license-files"]) <= set(copied())


def test_both_targets_install_an_extra_that_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"pip install .*\.whl\)\[(\w+)\]", DOCKERFILE)
    assert extras == ["cpu", "gpu"] and set(extras) <= set(project["optional-dependencies"])
    stages = [line.split(" AS ") for line in instructions("FROM")]
    assert [name for _, name in stages] == ["wheel", "base", "cpu", "gpu"]
    bases = {base for base, _ in stages} - {name for _, name in stages}
    assert bases == {"python:3.12-slim"}
    assert all(
        line in project["scripts"] for line in re.findall(r'ENTRYPOINT \["(.*?)"', DOCKERFILE)
    )


def test_shell_lines_are_valid() -> None:
    for line in instructions("RUN"):
        subprocess.run(["sh", "-n", "-c", line], check=True)


def test_nothing_runs_as_root() -> None:
    ends = DOCKERFILE.split("\nFROM base AS ")[1:]
    assert len(ends) == 2 and all("\nUSER samotion" in end for end in ends)
