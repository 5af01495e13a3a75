"""The house: which room may import from which, and how many things lie in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers import source_imports
from helpers.paths import ROOT

STAGES = ("tracks", "depth", "dino", "motion", "prompts", "sam2", "masks")
ABOVE_THE_STAGES = ("samotion.pipeline", "samotion.commands")


def below(names: Iterable[str], rooms: Iterable[str]) -> list[str]:
    """Those of `names` that are one of the rooms, or lie in one."""
    inside = tuple(f"{room}." for room in rooms)
    return sorted(name for name in names if name in rooms or name.startswith(inside))


def holds_code(folder: Path) -> bool:
    return any(folder.glob("*.py"))


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert source_imports.circle(source_imports.graph()) == []


def test_circles_are_found_inside_functions_too_and_imports_for_types_are_none() -> None:
    known = {"a", "b", "b.c", "d"}
    source = (
        "from typing import TYPE_CHECKING\nfrom b import c, other\n"
        "if TYPE_CHECKING:\n    import d\n"
        "def f():\n    import a\n"
    )
    assert source_imports.imports(source, known) == {"a", "b", "b.c"}
    assert source_imports.imports(source, known, inside=False) == {"b", "b.c"}
    assert set(source_imports.circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == set(
        "abc"
    )
    assert source_imports.circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_room_imports_what_stands_above_it_in_the_architecture() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.partition("## The rooms of the runtime\n")[2].partition("\nIn `cues/`")[0]
    rows = [re.findall(r"`(\w+)", row) for row in re.findall(r"^\| (`.+?`) \|", table, re.M)]
    place = {f"samotion.{room}": number for number, row in enumerate(rows) for room in row}
    edges = source_imports.graph()
    ours = {module: ".".join(module.split(".")[:2]) for module in below(edges, ["samotion"])}
    assert {*ours.values()} - {*place} == {"samotion"}
    wrong = [
        (module, imported)
        for module in ours.keys() - {"samotion"}
        for imported in edges[module] & ours.keys() - {"samotion"}
        if place[ours[imported]] > place[ours[module]]
    ]
    assert sorted(wrong) == []


@pytest.mark.parametrize("stage", [*STAGES, "cues", "clips"])
def test_a_stage_imports_nothing_that_runs_stages(stage: str) -> None:
    edges = source_imports.graph()
    rooms = below(edges, [f"samotion.{stage}"])
    assert rooms
    for module in rooms:
        assert below(edges[module], ABOVE_THE_STAGES) == [], module


def test_a_backend_imports_no_stage() -> None:
    edges = source_imports.graph()
    forbidden = (*ABOVE_THE_STAGES, *(f"samotion.{stage}" for stage in (*STAGES, "cues", "clips")))
    backends = below(edges, ["samotion.backends"])
    assert len(backends) > 5
    for module in backends:
        assert below(edges[module], forbidden) == [], module


def test_no_backend_imports_another() -> None:
    edges = source_imports.graph()
    onnxruntime = ["samotion.backends.ort"]
    tensorrt = [name for name in edges if name.startswith("samotion.backends.trt")]
    assert len(tensorrt) > 2
    assert below(edges[onnxruntime[0]], tensorrt) == []
    for module in tensorrt:
        assert below(edges[module], onnxruntime) == [], module


def test_cues_have_one_door() -> None:
    """The pipeline imports them inside its one branch; nothing else of the runtime does."""
    edges, at_once = source_imports.graph(), source_imports.graph(inside=False)
    cues = below(edges, ["samotion.cues"])
    outside = [name for name in below(edges, ["samotion"]) if name not in cues]
    assert [name for name in outside if below(edges[name], ["samotion.cues"])] == [
        "samotion.pipeline"
    ]
    assert [name for name in outside if below(at_once[name], ["samotion.cues"])] == []


@pytest.mark.parametrize("package, most", [("samotion", 24), ("samotion_export", 22)])
def test_a_folder_list_can_be_read(package: str, most: int) -> None:
    folder = ROOT / source_imports.ROOTS[package] / package
    entries = [path.name for path in folder.iterdir() if path.suffix == ".py" or holds_code(path)]
    assert 0 < len(entries) <= most, sorted(entries)


def test_no_test_puts_other_numbers_in_the_place_of_fitted_ones() -> None:
    replaced = re.compile(r'setattr\([\w.]+, (?:"[A-Z][A-Z_]+"|name\b)')
    assert replaced.search('monkeypatch.setattr(parallax, "INLIER_PX", px)')
    tests = list((ROOT / "tests/runtime/cues").glob("test_*.py"))
    assert tests and [test.name for test in tests if replaced.search(test.read_text())] == []


def test_no_test_imports_another() -> None:
    imports_a_test = re.compile(r"^\s*(?:from|import) (?:tests\b|[\w.]*\btest_\w+)", re.M)
    assert imports_a_test.search("from runtime.test_motion import x")
    tests = list((ROOT / "tests").rglob("*.py"))
    assert tests and [test.name for test in tests if imports_a_test.search(test.read_text())] == []
