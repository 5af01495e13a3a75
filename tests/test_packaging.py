"""What an installation gets: no training code, weights once, a page that stands alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT

tomllib = pytest.importorskip("tomllib")  # since Python 3.11
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
HATCH = PROJECT["tool"]["hatch"]
WHEEL = HATCH["build"]["targets"]["wheel"]


def page() -> str:
    """README.md as a package index shows it."""
    hook = HATCH["metadata"]["hooks"]["fancy-pypi-readme"]
    text: str = (ROOT / hook["fragments"][0]["path"]).read_text()
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"].replace("$HFPR_VERSION", "9.9"), text)
    return text


def test_the_page_and_the_index_name_the_pythons_that_are_tried() -> None:
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())
    assert matrix is not None
    tried = re.findall(r'"(3\.\d+)"', matrix[1])
    named = re.compile(r"Python :: (3\.\d+)$")
    found = [named.search(line) for line in PROJECT["project"]["classifiers"]]
    assert [one[1] for one in found if one] == tried
    for text in (page(), (ROOT / "docs/troubleshooting.md").read_text()):
        assert f"Python {tried[0]} to {tried[-1]}" in text


def test_training_stays_out_of_the_wheel() -> None:
    sources = [file for package in WHEEL["packages"] for file in (ROOT / package).rglob("*.py")]
    importing = re.compile(r"^\s*(from|import) samotion_training", re.M)
    assert sources and not any("training" in package for package in WHEEL["packages"])
    assert [file.name for file in sources if importing.search(file.read_text())] == []


def test_links_to_the_weights_are_no_part_of_wheel_and_sdist() -> None:
    for target in HATCH["build"]["targets"].values():
        assert "export/samotion_export/weights" in target["exclude"]


def test_the_sdist_holds_what_its_makefile_and_docs_site_call() -> None:
    callers = (ROOT / "Makefile").read_text() + (ROOT / "mkdocs.yml").read_text()
    assert [path for path in HATCH["build"]["targets"]["sdist"]["exclude"] if path in callers] == []


def test_every_source_root_is_found_in_an_editable_install() -> None:
    assert {str(Path(package).parent) for package in WHEEL["packages"]} < set(
        HATCH["build"]["dev-mode-dirs"]
    )


def test_pictures_and_links_of_the_page_are_addresses() -> None:
    code = re.compile(r"```.*?```|`[^`\n]*`", re.S)
    links = re.findall(r"(!?)\[[^]]*\]\(([^)]+)\)", code.sub("", page()))
    assert {"!", ""} == {mark for mark, _ in links}
    for mark, link in links:
        assert link.startswith("https://raw.githubusercontent.com/" if mark else "https://"), link
    assert sorted(code.findall(page())) == sorted(code.findall((ROOT / "README.md").read_text()))
