"""samotion-eval: J and F of mask folders, or of the pipeline itself, against ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from samotion import __version__
from samotion.backends.folder import DEFAULT
from samotion.commands import details, options
from samotion.commands.exits import run_command
from samotion.commands.options import Device, Quiet, Seed, Verbose, Version
from samotion.commands.streams import note
from samotion.errors import UsageError

from samotion_bench.files import check_places, refuse_with, save

DEFAULT_RESULTS = Path("eval-results")
TASKS = ("mos", "fine")  # all movers as one; every object, matched as in DAVIS 2017 unsupervised


def command(
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Ground truth: one folder of label maps per sequence."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Masks, SEQUENCE/00000.png; with --engine-dir where they are written.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Frames, one folder per sequence.")
    ] = None,
    engine_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Run the pipeline with these engines first; with --results only if named.",
            show_default=DEFAULT,
        ),
    ] = None,
    task: Annotated[
        str | None,
        options.choice(
            TASKS,
            help="All moving objects as one, or every object by itself.",
            show_default=TASKS[0],
        ),
    ] = None,
    sequences: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sequences to use, one a line.", show_default="all"),
    ] = None,
    all_frames: Annotated[
        bool | None,
        typer.Option(
            "--all-frames/--inner-frames",
            help="Count the first and last frame of a sequence or not.",
            show_default="all-frames",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report here.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table as the DAVIS tool does."),
    ] = None,
    worst: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Put pictures of the worst sequences here."),
    ] = None,
    worst_count: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="How many of them.")
    ] = 5,
    synthetic: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Render so many held-out clips and measure every stage on them.",
        ),
    ] = None,
    synthetic_frames: Annotated[
        int, typer.Option(metavar="NUMBER", min=2, help="Frames of each.")
    ] = 24,
    synthetic_photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Paint them with what scenes keep aside of this data."),
    ] = None,
    synthetic_first: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            min=0,
            help="Seed of the first, for other scenes; training had those below a million.",
        ),
    ] = 10_000_000,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Measure J and F (DAVIS) of masks against ground truth in DAVIS, FBMS-59 or SegTrackV2
    folders.
    """

    def work() -> None:
        # NumPy and what stands on it wait until there is work
        from rich.console import Console
        from samotion.backends.engines import open_engines

        from samotion_bench import datasets, evaluation, report

        refuse_with(
            {"--synthetic": synthetic},
            {
                "--annotations": annotations,
                "--results": results,
                "--images": images,
                "--task": task,
                "--sequences": sequences,
                "--all-frames" if all_frames else "--inner-frames": all_frames,
                "--csv": csv_file,
                "--worst": worst,
            },
        )
        check_places(json_file, csv_file, folder=worst)
        console = Console(stderr=True, quiet=quiet)
        if synthetic is not None:
            with open_engines(engine_dir, device, for_clips=True) as engines:
                found = evaluation.measure_synthetic(
                    engines,
                    synthetic,
                    synthetic_frames,
                    synthetic_photos,
                    synthetic_first,
                    seed,
                    console,
                )
            save(json_file, json.dumps(found, indent=2) + "\n")
            return
        if annotations is None:
            raise UsageError(
                "no ground truth; expected --annotations FOLDER, or --synthetic NUMBER"
            )
        clips = datasets.find_clips(
            annotations, images, datasets.read_names(sequences) if sequences else None
        )
        masks = results or DEFAULT_RESULTS
        about: dict[str, Any] = {"annotations": str(annotations), "results": str(masks)}
        options.teller(quiet)(
            f"samotion {__version__}: measuring {len(clips)} sequence{'s' * (len(clips) != 1)}"
        )
        if must_run(results, images, engine_dir):
            with open_engines(engine_dir, device, for_clips=True) as engines:
                if verbose:
                    note(*details.of_engines(engines))
                about |= evaluation.make_masks(engines, clips, masks, seed, console)
        protocol = task or TASKS[0], all_frames is not False
        scored = evaluation.evaluate(
            clips, masks, *protocol, (worst, worst_count) if worst else None
        )
        table = report.summarise(
            scored, *protocol, [clip.name for clip in clips if clip.coloured], **about
        )
        report.print_table(table, Console())
        save(json_file, json.dumps(table, indent=2) + "\n")
        save(csv_file, report.to_csv(table))

    run_command(work, verbose)


def must_run(results: Path | None, images: Path | None, engine_dir: Path | None) -> bool:
    """Whether masks are to be made first. Raises UsageError where there are none and nothing to
    make them from.
    """
    if results is None and engine_dir is None and images is None:
        raise UsageError("no masks; expected --results DIR, or --images DIR to make them")
    return results is None or engine_dir is not None


app = options.command_line(command)


def main() -> None:
    """The command."""
    options.start(app, "samotion-eval")
