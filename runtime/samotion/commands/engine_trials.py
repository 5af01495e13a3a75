"""What samotion-check does with an engine folder: graphs run once, TensorRT engines are proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from samotion import manifest
from samotion.backends.engines import open_engines
from samotion.contract import NETS, PATCH_PX, SIGNATURES
from samotion.errors import DeviceError, EngineError, SamotionError
from samotion.manifest import BUNDLED, Entry, Manifest
from samotion.presets import PRESETS, SAM2_SIZES

SIZES = {"H": 10 * PATCH_PX, "W": 10 * PATCH_PX}  # other letters are 1


@dataclass(frozen=True)
class Trials:
    """How the engines of a folder did: by name the problem, None: it answers.

    `rebuild`: the command that builds anew what does not answer, empty for the bundled folder;
    `own`: the nets whose weights it would replace by samotion's; `rest`: the one that builds what
    the folder lacks. `proof`: what TensorRT engines answered beside their graphs, in a line;
    `is_wrong`: one answered otherwise. `untried`: why none could be tried on this machine.
    """

    preset: str | None = None
    problems: Mapping[str, str | None] = field(default_factory=dict)
    rebuild: str = ""
    own: Sequence[str] = ()
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
    if held.tensorrt_target():
        trials = _proved(Path(engine_dir), held, trials)
    else:
        trials = replace(trials, problems=_run(engine_dir, held))
    if Path(engine_dir) == BUNDLED:
        return trials
    if broken := [net for net in NETS if any(map(trials.problems.get, held.engines_of(net)))]:
        nets = "all" if len(broken) == len(NETS) else " ".join(broken)
        rebuild, own = held.command(nets, engine_dir), _of_others(held, broken)
        trials = replace(trials, rebuild=rebuild, own=own)
    if missing := held.missing_nets():
        trials = replace(trials, rest=held.command(" ".join(missing), engine_dir))
    return trials


def _run(engine_dir: str, held: Manifest) -> dict[str, str | None]:
    """Of every engine, run once, the problem."""
    problems: dict[str, str | None] = {}
    with open_engines(engine_dir) as engines:
        for name, entry in held.engines.items():
            try:
                engines[name](**small_inputs(name, entry))
                problems[name] = None
            except SamotionError as error:
                problems[name] = str(error)
    return problems


def _of_others(held: Manifest, nets: Sequence[str]) -> list[str]:
    """Those of some nets whose weights do not come with samotion, nor are fetched by it."""
    known = _known_weights()
    return [
        net
        for net in nets
        if any(held.engines[name].weights_sha256 not in known for name in held.engines_of(net))
    ]


def _known_weights() -> set[str | None]:
    """The hashes of all weights that come with samotion, or are fetched by it."""
    nets = [getattr(preset, net) for preset in PRESETS.values() for net in NETS]
    published: set[str | None] = {net.weights.sha256 for net in (*nets, *SAM2_SIZES.values())}
    with suppress(EngineError):  # such as without bundled engines
        published |= {one.weights_sha256 for one in manifest.read(BUNDLED).engines.values()}
    return published


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
                own = _of_others(held, NETS)
                return replace(trials, untried=str(error), rebuild=onnx, own=own)
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
