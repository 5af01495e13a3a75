"""What samotion-check does with an engine folder: graphs run once, TensorRT engines are proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from samotion import manifest
from samotion.backends.engines import open_engines
from samotion.contract import SIGNATURES
from samotion.errors import DeviceError, EngineError, SamotionError
from samotion.manifest import BUNDLED, Entry, Manifest

SIZES = {"H": 140, "W": 140}  # px, a multiple of every patch; other letters are 1


@dataclass(frozen=True)
class Trials:
    """How the engines of a folder did: by name the problem, None: it answers.

    `rebuild`: the command that builds the folder anew, empty for the bundled one; `rest`: the one
    that builds what it lacks. `proof`: what
    TensorRT engines answered beside their graphs, in a line; `is_wrong`: one answered otherwise.
    `untried`: why none could be tried on this machine.
    """

    preset: str | None = None
    problems: Mapping[str, str | None] = field(default_factory=dict)
    rebuild: str = ""
    rest: str = ""
    proof: str | None = None
    is_wrong: bool = False
    untried: str | None = None


def run_each(engine_dir: str) -> Trials:
    """Run every engine of the manifest once; those of TensorRT beside their graphs on the CPU,
    unless that was done on this GPU before.
    """
    held = manifest.read(engine_dir)
    trials = Trials(held.get_preset().name)
    if Path(engine_dir) != BUNDLED:
        trials = replace(trials, rebuild=held.command("all", engine_dir))
        if missing := held.missing_nets():
            trials = replace(trials, rest=held.command(" ".join(missing), engine_dir))
    if held.tensorrt_target():
        return _proved(Path(engine_dir), held, trials)
    problems: dict[str, str | None] = {}
    with open_engines(engine_dir) as engines:
        for name, entry in held.engines.items():
            try:
                engines[name](**small_inputs(name, entry))
                problems[name] = None
            except SamotionError as error:
                problems[name] = str(error)
    return replace(trials, problems=problems)


def _proved(folder: Path, held: Manifest, trials: Trials) -> Trials:
    """The proof of each engine, kept in the folder's manifest where that can be written."""
    from samotion.backends.proof import record
    from samotion.backends.proof.run import prove

    known, problems = held, dict[str, str | None]()
    for name in held.engines:
        try:
            known = replace(known, proof=prove(folder, known, [name]))
            problems[name] = record.problem(name, known.proof["engines"][name])
        except DeviceError as error:
            if not problems:
                onnx = held.command("all", "engines-onnx", target="onnx")
                return replace(trials, untried=str(error), rebuild=onnx)
            problems[name] = str(error)
        except EngineError as error:
            problems[name] = str(error)
    trials = replace(trials, problems=problems)
    if not known.proof.get("engines"):
        return trials
    if known.proof != held.proof:
        _keep(folder, known)
    tried = known.proof["engines"]
    is_wrong = any(problems[name] for name in tried if name in problems)
    return replace(trials, proof=record.summary(known.proof), is_wrong=is_wrong)


def _keep(folder: Path, held: Manifest) -> None:
    try:
        manifest.write(folder, held)
    except OSError:  # a folder of somebody else: the proof is shown all the same
        return


def small_inputs(name: str, entry: Entry) -> dict[str, np.ndarray]:
    """Random inputs of an engine, as small as its shapes allow."""
    rng = np.random.default_rng(0)
    arrays = {}
    for tensor in SIGNATURES[name].inputs:
        dims = entry.inputs.get(tensor.name, list(tensor.dims))
        hw = [dim if isinstance(dim, int) else SIZES.get(dim, 1) for dim in dims]
        highest = 1 if tensor.name == "queries" else 2  # with one frame, all queries are in frame 0
        arrays[tensor.name] = rng.integers(0, highest, hw).astype(tensor.dtype)
    return arrays
