"""What only a GPU can show, in one command: half-precision TensorRT engines against their graphs,
masks, and times.

    make gpu-check

For each preset: export half-precision graphs (published weights are not downloaded: random ones of
their shapes serve), build TensorRT engines, run each on the inputs that a clip brings and compare
with its graph on the CPU, compare the demo clip's masks (nano, also through onnxruntime on CUDA
where that works), and run samotion-bench beside PyTorch, eager and compiled. Writes
benchmarks/results/gpu-PRESET.md and gpu-PRESET-bench.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from samotion import manifest
from samotion.backends import ort as ort_engine
from samotion.backends.engines import EngineFolder, open_engines
from samotion.backends.proof import record
from samotion.backends.proof.measures import limits
from samotion.backends.proof.run import prove
from samotion.commands.exits import run_command
from samotion.contract import NETS, SIGNATURES
from samotion.errors import ParityError, SamotionError
from samotion.manifest import Entry
from samotion.pipeline import segment_clip
from samotion.presets import PRESETS, Preset
from samotion.settings import Settings
from samotion_export.parity.clip import LEAST_IOU, iou

from samotion_bench import pages
from samotion_bench.machine import describe_machine
from samotion_bench.pages import CLIP_HW, DEMO, OBJECTS
from samotion_bench.recorder import Note, Recorder
from samotion_bench.workload import prepared, rehearse, run_whole

# of an output's range, between an engine and its graph: both round, in different order
MOST_RELATIVE = 0.05

Report = Mapping[str, Any]  # of samotion-bench
# of one output from the CPU's: name, shapes, part of the range, plainly
Difference = tuple[str, str, float, float]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def check(
    preset: Annotated[list[str] | None, typer.Option(help="Presets to check; repeatable.")] = None,
    work: Annotated[Path, typer.Option(help="Where engines and random weights go.")] = Path(
        "engines-gpu"
    ),
    frames: Annotated[int, typer.Option(min=4, help="Frames of the timed clip.")] = 24,
) -> None:
    """Build, compare and time half-precision TensorRT engines on this machine's GPU."""

    def run() -> None:
        for name in preset or ("nano", "fast"):
            print(check_preset(PRESETS[name], work / name, frames))

    run_command(run, False)


def check_preset(preset: Preset, folder: Path, frames: int) -> Path:
    """All checks of one preset. Returns the page it wrote; raises ParityError, after writing,
    where one failed.
    """
    weights = (
        []
        if preset.name == "nano"
        else list(random_weights(preset, folder.with_name(f"{preset.name}-weights")))
    )
    options = ["--preset", preset.name, "--precision", "fp16", "--target", "tensorrt", "--offline"]
    # a proof that fails would be the end; it comes last
    _run("samotion_export.cli", "all", *options, "--no-verify", "--out", str(folder), *weights)
    engine_rows = compare_engines(folder, frames)
    mask_rows = compare_masks(folder) if preset.name == "nano" else []
    figures = preset.name, frames, engine_rows, mask_rows
    page = pages.write(pages.RESULTS / f"gpu-{preset.name}.md", to_page(*figures, None))
    times = pages.RESULTS / f"gpu-{preset.name}-bench.json"
    options = ["--engine-dir", str(folder), "--device", "tensorrt", "--frames", str(frames)]
    options += ["--time-limit", "400", "--baseline", "torch", "--baseline", "torch-compile"]
    _run("samotion_bench.bench", *options, "--json", str(times))
    proof = prove_engines(folder)
    pages.write(page, to_page(*figures, json.loads(times.read_text()), proof))
    failed = [name for name, known in proof["engines"].items() if record.problem(name, known)]
    failed += [row[0] for row in engine_rows if not row[2] <= MOST_RELATIVE]
    failed += [row[0] for row in mask_rows if not row[1] >= LEAST_IOU]
    if failed:
        raise ParityError(
            f"{preset.name}: {', '.join(failed)} differ too much from the CPU; see {page}"
        )
    return page


def random_weights(preset: Preset, folder: Path, nets: Sequence[str] = NETS) -> Iterator[str]:
    """--checkpoint options for random weights of `nets` in the published files' shapes."""
    import torch
    from samotion_export.checkpoints.weights import build_module

    folder.mkdir(parents=True, exist_ok=True)
    wrappers = {"motion": "model_state_dict", "sam2": "model"}
    for net in nets:
        torch.manual_seed(0)
        state: Any = build_module(net, getattr(preset, net)).state_dict()
        path = folder / f"{net}.pt"
        torch.save({wrappers[net]: state} if net in wrappers else state, path)
        yield f"--checkpoint={net}={path}"


def compare_engines(folder: Path, frames: int) -> list[Difference]:
    """Per output: the shapes it was made from, and its largest difference from the CPU, by range
    and plainly.
    """
    settings = Settings(max_frames=frames)
    with open_engines(folder, "tensorrt") as engines, prepared(frames, CLIP_HW, settings) as load:
        recorder = Recorder(engines)
        run_whole(recorder, load)
        rehearse(recorder, load, OBJECTS)
        notes = recorder.in_order()
        with open_graphs(folder) as graphs:
            return [
                row
                for name, note in notes.items()
                for row in differences(name, note, engines, graphs)
            ]


def prove_engines(folder: Path) -> record.Proof:
    """The proof of all engines, kept in the folder's manifest, as samotion-check makes it."""
    held = manifest.read(folder)
    proof = prove(folder, held, list(held.engines))
    manifest.write(folder, replace(held, proof=proof))
    return proof


def differences(
    name: str, note: Note, engines: EngineFolder, graphs: EngineFolder
) -> Iterator[Difference]:
    """Of an engine's outputs for its largest inputs from those of its graph."""
    got, wanted = engines[name](**note.inputs), graphs[name](**note.inputs)
    shapes = ", ".join(str(list(np.shape(a))) for a in note.inputs.values())
    for output in SIGNATURES[name].output_names:
        error = float(np.abs(got[output].astype(np.float64) - wanted[output]).max(initial=0))
        span = (
            np.ptp(wanted[output])
            if np.size(wanted[output]) > 1
            else np.abs(wanted[output]).max(initial=0)
        )
        yield f"{name}.{output}", shapes, error / max(float(span), 1e-6), error


def open_graphs(folder: Path, device: str = "cpu") -> EngineFolder:
    """The graphs that a folder's TensorRT engines were built from, on onnxruntime."""
    provider = ort_engine.provider_for(device)

    def opener(name: str, path: Path, entry: Entry) -> ort_engine.OrtEngine:
        graph = replace(entry, tensorrt=None, file=f"{name}.onnx", sha256=entry.onnx_sha256)
        return ort_engine.OrtEngine(name, path.with_suffix(".onnx"), graph, provider, None)

    return EngineFolder(folder, device, opener)


def compare_masks(folder: Path) -> list[tuple[str, float]]:
    """IoU of the demo clip's moving pixels with those of the graphs on the CPU, per backend."""
    with open_graphs(folder) as graphs:
        wanted = segment_clip(DEMO, graphs).labels > 0
    rows = []
    with open_engines(folder, "tensorrt") as engines:
        rows.append(("TensorRT", iou(segment_clip(DEMO, engines).labels > 0, wanted)))
    try:
        with open_graphs(folder, "cuda") as graphs:
            rows.append(("onnxruntime CUDA", iou(segment_clip(DEMO, graphs).labels > 0, wanted)))
    except SamotionError as error:
        print(f"onnxruntime CUDA was not compared: {error}", file=sys.stderr)
    return rows


def to_page(
    preset: str,
    frames: int,
    engines: list[Difference],
    masks: list[tuple[str, float]],
    bench: Report | None,
    proof: record.Proof | None = None,
) -> list[str]:
    """The figures and what they were measured on; without times where samotion-bench has not
    run.
    """
    lines = [f"# TensorRT, half precision: preset {preset}", "", "`make gpu-check`", ""]
    machine = bench["machine"] if bench else describe_machine("tensorrt")
    lines += [*(f"- {key}: {value}" for key, value in machine.items()), ""]
    lines += [f"Clip {CLIP_HW[1]}x{CLIP_HW[0]}, {frames} frames.", ""]
    lines += time_lines(bench) if bench else ["samotion-bench did not finish.", ""]
    lines += pages.table(
        ("output", "largest inputs", "difference from CPU / range", "difference"),
        [(name, shapes, f"{part:.2e}", f"{error:.2e}") for name, shapes, part, error in engines],
    )
    if masks:
        scores = [(name, f"{score:.4f}") for name, score in masks]
        lines += ["", *pages.table(("masks of the demo clip", "IoU with the CPU's"), scores)]
    return lines + (proof_lines(proof) if proof else [])


def proof_lines(proof: record.Proof) -> list[str]:
    """Every output's figures on fixed inputs beside its graph, and the problems of engines."""
    rows = []
    for name, known in proof["engines"].items():
        for output, found in known.get("outputs", {}).items():
            judged = ", ".join(
                f"{key} {found[key]:.2e} of {limit:g}" for key, limit in limits(output).items()
            )
            figures = f"{found['cosine']:.6f}", f"{found['max_abs']:.2e}", judged
            rows.append((f"{name}.{output}", *figures))
        if said := record.problem(name, known):
            rows.append((name, "", "", said))
    head = ("output", "cosine", "largest difference", "judged by")
    return ["", f"Proof on {record.summary(proof)}.", "", *pages.table(head, rows)]


def time_lines(bench: Report) -> list[str]:
    """The clip's total, and every engine beside PyTorch; ms per call, host to host unless said."""
    whole, beside = bench["end_to_end"], bench.get("baselines", {}).get("torch")
    lines = [f"- objects: {whole['objects']}, tracks: {whole['tracks']}"]
    lines += [
        f"- the clip, file to masks: {_three(whole['wall'])} ms ({whole['frames_per_s']:.1f}"
        f" frames/s)"
    ]
    if beside:
        lines += [
            f"- the same in PyTorch, eager: {_three(beside)} ms ({beside['ratio']:.2f} times as"
            f" long)"
        ]
    rows = []
    for name, found in bench["engine_times"].items():
        others = (_three(found[k]) if k in found else "-" for k in ("device", "torch", "compiled"))
        rows.append((name, str(found["runs"]), _three(found), *others))
    head = ("engine", "calls", "median / p90 / p99", "GPU alone", "PyTorch eager", "compiled")
    return [*lines, "", *pages.table(head, rows), ""]


def _three(found: Report) -> str:
    return " / ".join(f"{found[key]:.2f}" for key in ("median_ms", "p90_ms", "p99_ms"))


def _run(module: str, *arguments: str) -> None:
    """A command of ours in a process of its own, so that memory is free for the next one."""
    answer = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", *arguments], check=False
    )
    if answer.returncode:
        raise SamotionError(
            f"{module.rpartition('.')[2]} {' '.join(arguments)} ended with code {answer.returncode}"
        )


if __name__ == "__main__":
    app()
