"""The engine folder in the source tree is current: `make bundle` would write the same answers."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import samotion_export
from helpers.paths import ROOT
from samotion import manifest
from samotion.checks.external_data import external_files
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import NETS, SIGNATURES, engines_of
from samotion.presets import NANO
from samotion_export.bundle import write
from samotion_export.graph import run_module
from samotion_export.parity import verify

HELD = manifest.read(manifest.BUNDLED)
MOST_BYTES = 30_000_000  # what an install may carry


def test_it_lies_in_the_package_and_is_small() -> None:
    assert Path("runtime/samotion/nano") == manifest.BUNDLED.relative_to(ROOT)
    assert sum(file.stat().st_size for file in manifest.BUNDLED.iterdir()) < MOST_BYTES


@pytest.mark.parametrize("name", HELD.engines)
def test_every_file_is_the_one_in_the_manifest(name: str) -> None:
    entry = HELD.engines[name]
    path = manifest.checked_file(manifest.BUNDLED, name, HELD)
    weights = manifest.BUNDLED / f"{SIGNATURES[name].net}.safetensors"
    assert entry.weights_sha256 == manifest.sha256_of(weights)
    assert external_files(path) == entry.data.keys()
    told = {
        p.key.removeprefix("sha256 of "): p.value
        for p in onnx.load(str(path), load_external_data=False).metadata_props
    }
    assert entry.data.items() <= told.items()  # the graph's own hash tells its weights


def test_no_file_is_left_over() -> None:
    named = {file for entry in HELD.engines.values() for file in (entry.file, *entry.data)}
    assert {file.name for file in manifest.BUNDLED.iterdir()} - named == {
        "manifest.json",
        "README.md",
        "sam2.md",
    }


def test_weights_lie_once() -> None:
    """What graphs hold beside pointers is small; the exporter's folder links to the files."""
    assert sum(file.stat().st_size for file in manifest.BUNDLED.glob("*.onnx")) < 2_000_000
    for link in (Path(samotion_export.__file__).parent / "weights").glob("*.safetensors"):
        assert link.is_symlink() and link.resolve() == manifest.BUNDLED / link.name


@pytest.mark.parametrize("net", NETS)
def test_graphs_answer_as_pytorch(net: str) -> None:
    for graph in write.graphs_of(net):
        path = manifest.checked_file(manifest.BUNDLED, graph.name, HELD)
        verify.compare(graph, path, [run_module(graph, example) for example in graph.examples])


def test_it_is_the_nano_of_presets() -> None:
    """A run takes the numbers that lie beside the engines, not those of presets.py."""
    names = [name for net in NETS for name in engines_of(net, getattr(NANO, net))]
    assert list(HELD.engines) == names, "nano has other engines now: make bundle"
    assert HELD.numbers == numbers_of(NANO), "nano has other numbers now: make bundle"


@pytest.mark.parametrize("argument", ["--help", "--no-such-option", "nano"])
def test_the_command_writes_nothing_when_it_is_asked_something(
    argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "write", lambda *_: pytest.fail("the bundle was written"))
    monkeypatch.setattr("sys.argv", ["write", argument])
    with pytest.raises(SystemExit) as ended:
        write.main()
    assert ended.value.code == (0 if argument == "--help" else 2)
