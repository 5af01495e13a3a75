"""`python -m samotion_export.bundle.write`: samotion's own engine folder, anew.

The weights lie there already. The graphs are those of `samotion-export all --preset nano` and
answer the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import save_file
from samotion import manifest
from samotion.backends.engines import open_engines
from samotion.checks.external_data import external_files
from samotion.commands.exits import run_command
from samotion.contract import NETS, SIGNATURES
from samotion.errors import ParityError
from samotion.manifest import BUNDLED, Entry, Manifest, sha256_of
from samotion.presets import NANO

from samotion_export.bundle import share
from samotion_export.bundle.stored import Stored
from samotion_export.checkpoints import weights
from samotion_export.export import export
from samotion_export.graph import Graph
from samotion_export.report import Report
from samotion_export.request import Request

Examples = Mapping[str, tuple[tuple[np.ndarray, ...], ...]]


def write(folder: Path, report: Report) -> None:
    """Export nano, let its graphs read the weights in `folder`, compare, and put them there."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".samotion-bundle-") as scratch:
        plain, made = Path(scratch, "plain"), Path(scratch, "made")
        export(Request(NETS, NANO.name, plain), report)
        made.mkdir()
        for file in folder.glob("*.safetensors"):
            shutil.copy(file, made)
        for old in made.glob("*_tables.safetensors"):
            old.unlink()
        held = _share_all(plain, made)
        manifest.write(made, held)
        for net in NETS:
            check_same(plain, made, graphs_of(net))
            report.note(f"{net}: answers as exported")
        _put(made, folder, held)


def _share_all(plain: Path, made: Path) -> Manifest:
    """Write every graph of `plain` to `made`, beside the weights; the manifest of that."""
    held = manifest.read(plain)
    entries: dict[str, Entry] = {}
    for net in NETS:
        names = held.engines_of(net)
        share_net(net, {name: plain / held.engines[name].file for name in names}, made)
        entries |= {name: _entry(made, held.engines[name]) for name in names}
    return replace(held, engines={name: entries[name] for name in held.engines})


def share_net(net: str, graphs: Mapping[str, Path], made: Path) -> None:
    """Write the graphs of one net to `made`, beside its weights and a table of other numbers."""
    models = {name: share.load(path) for name, path in graphs.items()}
    stored = [Stored(made / f"{net}.safetensors")]
    if tables := share.tables_of(models, stored):
        path = made / f"{net}_tables.safetensors"
        save_file(tables, path)
        os.chmod(path, 0o644)
        stored.append(Stored(path))
    for name, model in models.items():
        share.share(model, stored)
        for file in stored:  # so that the graph's own hash tells which weights it is for
            model.metadata_props.add(
                key=f"sha256 of {file.file}", value=sha256_of(made / file.file)
            )
        onnx.save(model, str(made / f"{name}.onnx"))


def _entry(made: Path, plain: Entry) -> Entry:
    path = made / plain.file
    sha256 = sha256_of(path)
    data = {file: sha256_of(made / file) for file in sorted(external_files(path))}
    return replace(plain, sha256=sha256, onnx_sha256=sha256, data=data)


def graphs_of(net: str) -> list[Graph]:
    """The graphs of one of nano's nets, with its weights."""
    config = getattr(NANO, net)
    module = weights.build_module(net, config)
    module.load_state_dict(weights.load(net, config, module=module))
    graphs: list[Graph] = weights.net_module(net).graphs(config, module.eval())
    return graphs


def check_same(plain: Path, made: Path, graphs: list[Graph]) -> None:
    """Raise ParityError unless both folders give the same numbers on every example."""
    with open_engines(plain, "cpu") as before, open_engines(made, "cpu") as after:
        for graph in graphs:
            for example in graph.examples:
                inputs = dict(zip(SIGNATURES[graph.name].input_names, example))
                expected, got = before[graph.name](**inputs), after[graph.name](**inputs)
                for name, numbers in expected.items():
                    if not np.array_equal(got[name], numbers):
                        raise ParityError(
                            f"{graph.name}: {name} changed when its weights moved; nothing was"
                            f" written"
                        )


def _put(made: Path, folder: Path, held: Manifest) -> None:
    """Replace what lies in `folder`, the manifest last."""
    for old in [*folder.glob("*.onnx"), *folder.glob("*_tables.safetensors")]:
        if not (made / old.name).exists():
            old.unlink()
    for new in [*made.glob("*.onnx"), *made.glob("*_tables.safetensors")]:
        os.replace(new, folder / new.name)
    manifest.write(folder, held)


def main() -> None:
    """The command; it takes no arguments."""
    argparse.ArgumentParser(description="Write the bundled engine folder anew.").parse_args()
    run_command(lambda: write(BUNDLED, Report()))


if __name__ == "__main__":
    main()
