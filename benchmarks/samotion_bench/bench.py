"""samotion-bench: how fast the engines and the pipeline are here, and where the time goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from samotion import __version__
from samotion.commands import details, options
from samotion.commands.exits import run_command
from samotion.commands.options import Device, EngineDir, Quiet, Seed, Verbose, Version
from samotion.commands.streams import note
from samotion.errors import UsageError
from samotion.presets import PRESETS

from samotion_bench.files import check_places, refuse_with, save

# The same nets in PyTorch, eager or compiled; `reference-schedule`: called as often as the
# reference does.
BASELINES = ("torch", "torch-compile", "reference-schedule")
HOST_PRESET = "fast"


def _checked_size(text: str) -> str:
    try:
        parse_size(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def command(
    engine_dir: EngineDir = None,
    device: Device = "auto",
    frames: Annotated[int, typer.Option(metavar="NUMBER", min=4, help="Frames of the clip.")] = 16,
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", callback=_checked_size, help="Of the clip.")
    ] = "854x480",
    objects: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="Objects of the longest propagation curve.")
    ] = 4,
    max_tracks: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", min=1, help="Points to follow.", show_default="the preset's"
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="Runs per engine, if the time allows.")
    ] = 100,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="For all measurements together, about.")
    ] = 140,
    baseline: Annotated[
        list[str] | None,
        options.choice(BASELINES, help="Measure beside; repeatable.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", min=1, help="CPU threads per engine.", show_default="all cores"
        ),
    ] = None,
    seed: Seed = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report here.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots here.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="BEFORE AFTER", help="Compare two reports; measure nothing."),
    ] = None,
    host: Annotated[
        bool,
        typer.Option(
            "--host", help="Count copies, waits and host time over a stand-in GPU; no engines."
        ),
    ] = False,
    preset: Annotated[
        str | None,
        options.choice(tuple(PRESETS), help="Sizes for --host.", show_default=HOST_PRESET),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Time every engine and stage, the whole pipeline, and its cost against frames, tracks and
    objects.
    """

    def work() -> None:
        # NumPy and what stands on it wait until there is work
        from rich.console import Console

        refuse_with(
            {"--compare": compare, "--host": host or None},
            {"--html": html_file, "--json": json_file if compare else None},
        )
        if compare is not None:
            return _compare(*compare)
        if preset is not None and not host:
            raise UsageError("--preset goes with --host; engines are chosen by --engine-dir")
        check_places(json_file, html_file)
        say = options.teller(quiet)
        if host:
            hw = parse_size(size)
            return _measure_host(
                preset or HOST_PRESET, frames, hw, objects, max_tracks, json_file, say
            )
        say(
            f"samotion {__version__}: timing {options.engines_at(engine_dir)}, about"
            f" {time_limit:.0f} s"
        )
        from samotion.backends.engines import open_engines
        from samotion.settings import Settings

        from samotion_bench.bench_table import print_report
        from samotion_bench.conditions import describe
        from samotion_bench.html import to_html
        from samotion_bench.session import Plan, run_session
        from samotion_bench.workload import prepared

        plan = Plan(runs, objects, time_limit, frozenset(baseline or ()), threads)
        settings = Settings(seed=seed, max_tracks=max_tracks, max_frames=frames)
        with (
            open_engines(engine_dir, device, threads) as engines,
            prepared(frames, parse_size(size), settings) as load,
        ):
            if verbose:
                note(*details.of_engines(engines))
            report = describe(engines, load, threads)
            report |= run_session(engines, load, plan, say)
        print_report(report, Console())
        save(json_file, json.dumps(report, indent=1) + "\n")
        save(html_file, to_html(report))

    run_command(work, verbose)


def _compare(before: Path, after: Path) -> None:
    from rich.console import Console

    from samotion_bench import compare as comparing

    reports = comparing.read_report(before), comparing.read_report(after)
    comparing.print_changes(comparing.compare(*reports), comparing.caveats(*reports), Console())


def _measure_host(
    preset: str,
    frames: int,
    hw: tuple[int, int],
    objects: int,
    max_tracks: int | None,
    json_file: Path | None,
    say: Callable[[str], None],
) -> None:
    say(f"samotion {__version__}: preset {preset} over a stand-in GPU")
    from samotion_bench.host import run as hosting

    load = hosting.HostLoad(frames, hw, objects, max_tracks)
    report = hosting.measure(PRESETS[preset], load)
    print("\n".join(hosting.lines(report)))
    save(json_file, json.dumps(report, indent=1) + "\n")


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of WIDTHxHEIGHT."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(map(int, found.groups())) < 32:
        raise UsageError(
            f"size is {text!r}; expected WIDTHxHEIGHT of at least 32x32, such as 854x480"
        )
    return int(found[2]), int(found[1])


app = options.command_line(command)


def main() -> None:
    """The command."""
    options.start(app, "samotion-bench")
