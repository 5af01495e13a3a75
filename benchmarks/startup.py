"""How long a command takes to say its first word, and to do nothing: wall and CPU time of fresh
processes.

python benchmarks/startup.py                         # --help and --version of the five commands
python benchmarks/startup.py --engine-dir engines demo/demo.mp4     # and the first line of a run
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

COMMANDS = ("samotion-run", "samotion-check", "samotion-export", "samotion-bench", "samotion-eval")


class Taken(NamedTuple):
    """Seconds until the first line, and of CPU time (all threads) until the end."""

    first_line_s: float
    cpu_s: float


def start(command: list[str]) -> Taken:
    """Run a command to its end, and note when the first line comes on stdout or stderr."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - begun
        process.stdout.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(first, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def median(command: list[str], runs: int) -> Taken:
    """The medians of several runs, after one that fills the caches of the disk."""
    start(command)
    taken = [start(command) for _ in range(runs)]
    return Taken(*(statistics.median(column) for column in zip(*taken)))


def table(runs: int, engine_dir: Path | None, clip: Path | None) -> None:
    """Print a row per command: as Markdown, beside a Python that does nothing."""
    folder = Path(sys.executable).parent
    print(f"Python {sys.version.split()[0]}, medians of {runs}, load {os.getloadavg()[0]:.1f}\n")
    print("| command | first line s | CPU s | times an empty Python |\n| --- | --- | --- | --- |")
    nothing = median([sys.executable, "-c", "print()"], runs)
    _row("python -c 'print()'", nothing, nothing)
    for name in COMMANDS:
        program = shutil.which(name, path=str(folder)) or name
        for option in ("--help", "--version"):
            _row(f"{name} {option}", median([program, option], runs), nothing)
    if engine_dir and clip:
        program = shutil.which("samotion-run", path=str(folder)) or "samotion-run"
        with tempfile.TemporaryDirectory() as out:
            options = ["--max-tracks", "64", "--max-frames", "4", "--overwrite", "-o", out]
            command = [program, "--engine-dir", str(engine_dir), *options, str(clip)]
            taken = median(command, min(runs, 3))
        _row("samotion-run, a clip", taken, nothing)


def _row(name: str, taken: Taken, nothing: Taken) -> None:
    print(
        f"| {name} | {taken.first_line_s:.3f} | {taken.cpu_s:.3f} |"
        f" {taken.cpu_s / nothing.cpu_s:.1f} |"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Time to the first line of the commands.")
    parser.add_argument("clip", type=Path, nargs="?", help="a clip, for the first line of a run")
    parser.add_argument("--engine-dir", type=Path, help="engines, for the first line of a run")
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    table(given.runs, given.engine_dir, given.clip)


if __name__ == "__main__":
    main()
