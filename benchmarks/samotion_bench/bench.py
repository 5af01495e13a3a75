"""samotion-bench: how fast the engines and the pipeline are here, and where the time goes."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from samotion.backends.engines import Engines, open_engines
from samotion.backends.folder import DEFAULT
from samotion.commands.exits import run_command
from samotion.errors import UsageError
from samotion.manifest import write_atomically
from samotion.settings import Settings, resolve

from samotion_bench import compare as comparing
from samotion_bench.bench_table import print_report
from samotion_bench.html import to_html
from samotion_bench.machine import describe_machine
from samotion_bench.session import Plan, run_session
from samotion_bench.workload import Workload, prepared

SCHEMA = 1
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Baseline(str, Enum):
    """The same nets in PyTorch, eager or compiled; `reference-schedule`: called as often as the reference does."""

    torch = "torch"
    compiled = "torch-compile"
    reference = "reference-schedule"


@app.command()
def command(
    engine_dir: Annotated[
        Path | None, typer.Option(help="Folder that samotion-export wrote.", show_default=DEFAULT)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    frames: Annotated[int, typer.Option(min=4, help="Frames of the clip.")] = 16,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the clip.")] = "854x480",
    objects: Annotated[int, typer.Option(min=1, help="Objects of the longest propagation curve.")] = 4,
    max_tracks: Annotated[int | None, typer.Option(min=1, help="Tracks to follow.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs per engine, if the time allows.")] = 100,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for all measurements, about.")] = 140,
    baseline: Annotated[list[Baseline] | None, typer.Option(help="Measure beside; repeatable.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per engine.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pipeline.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a page with plots here.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="BEFORE AFTER", help="Compare two reports; measure nothing.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show stack traces.")] = False,
) -> None:
    """Time every engine and stage, the whole pipeline, and its cost against frames, tracks and objects."""

    def work() -> None:
        if compare is not None:
            before, after = (comparing.read_report(path) for path in compare)
            comparing.print_changes(comparing.compare(before, after), comparing.caveats(before, after), Console())
            return
        wanted = set(baseline or ())
        plan = Plan(runs, objects, time_limit, frozenset(kind.value for kind in wanted), threads)
        settings = Settings(seed=seed, max_tracks=max_tracks, max_frames=frames)
        progress = Console(stderr=True)
        with open_engines(engine_dir, device, threads) as engines, prepared(frames, parse_size(size), settings) as load:
            report = describe(engines, load, threads)
            report |= run_session(engines, load, plan, lambda line: progress.print(line, highlight=False, markup=False))
        print_report(report, Console())
        save(json_file, json.dumps(report, indent=1) + "\n")
        save(html_file, to_html(report))

    run_command(work, verbose)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of WIDTHxHEIGHT."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(map(int, found.groups())) < 32:
        raise UsageError(f"size is {text!r}; expected WIDTHxHEIGHT of at least 32x32, such as 854x480")
    return int(found[2]), int(found[1])


def describe(engines: Engines, load: Workload, threads: int | None) -> dict[str, Any]:
    """The conditions of a session: everything in the report that is not a figure of its own."""
    return {
        "kind": comparing.KIND,
        "schema": SCHEMA,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "preset": engines.preset.name,
        "device": engines.device,
        "threads": threads,
        "machine": describe_machine(engines.device),
        "clip": {"frames": len(load.frames), "size_hw": list(load.hw)},
        "settings": asdict(resolve(load.settings, engines.preset)),
        "engines": {name: _facts(entry) for name, entry in engines.manifest.engines.items()},
    }


def _facts(entry: Any) -> dict[str, Any]:
    keys = ("file", "sha256", "weights_sha256", "precision", "parity", "gpu", "tensorrt")
    return {key: getattr(entry, key) for key in keys}


def save(path: Path | None, text: str) -> None:
    """Write a file that was asked for."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


def main() -> None:
    """The entry point of samotion-bench."""
    app()
