"""The bounds of the dependencies: none is open, and the lowest can be written down."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent


def printed() -> list[str]:
    command = [sys.executable, str(ROOT / ".ci/lowest.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_lowest_versions_are_those_of_pyproject() -> None:
    lines = printed()
    assert "rich==13.0.0" in lines
    assert "numpy==1.26.0; python_version < '3.13'" in lines
    assert "onnxruntime==1.24.1; python_version >= '3.14'" in lines


def test_every_base_dependency_has_a_lowest_version() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)
    named = set(re.findall(r'^ +"([\w-]+)', block, re.M))
    assert named | {"onnxruntime"} == {line.split("==")[0] for line in printed()}


def test_the_lowest_python_is_held_to_no_version_that_refuses_it() -> None:
    lowest = re.search(r'requires-python = ">=([\d.]+)', (ROOT / "pyproject.toml").read_text())
    assert lowest is not None
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    here = {found.name: found for found in metadata.distributions()}
    refusing = [
        str(pin)
        for pin in pins
        if not pin.marker or pin.marker.evaluate({"python_version": lowest[1]})
        if pin.name in here and here[pin.name].version in pin.specifier
        if "Requires-Python" in here[pin.name].metadata
        if lowest[1] not in SpecifierSet(here[pin.name].metadata["Requires-Python"])
    ]
    assert refusing == []


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_extra_installs_something_on_every_python(python: str) -> None:
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, lines in project["optional-dependencies"].items():
        markers = [Requirement(line).marker for line in lines]
        assert any(not one or one.evaluate({"python_version": python}) for one in markers), extra


def test_extras_that_exclude_each_other_are_told_to_uv() -> None:
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    told = {frozenset(one["extra"] for one in pair) for pair in text["tool"]["uv"]["conflicts"]}
    extras = text["project"]["optional-dependencies"]
    wanted = [(extra, Requirement(line)) for extra, lines in extras.items() for line in lines]

    def lowest_in(one: Requirement, other: Requirement) -> bool:
        return any(at.version in other.specifier for at in one.specifier if at.operator == ">=")

    apart = {
        frozenset((extra, other))
        for (extra, one), (other, two) in itertools.combinations(wanted, 2)
        if one.name == two.name and not lowest_in(one, two) and not lowest_in(two, one)
    }
    assert told == apart and len(apart) == 5
