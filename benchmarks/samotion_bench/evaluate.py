"""samotion-eval: J and F of mask folders, or of the pipeline itself, against ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from samotion import __version__
from samotion.backends.engines import open_engines
from samotion.backends.folder import DEFAULT
from samotion.commands import details, options
from samotion.commands.exits import run_command
from samotion.commands.options import Device, Quiet, Seed, Verbose, Version
from samotion.errors import InputError, UsageError
from samotion.manifest import write_atomically
from samotion.settings import Settings

from samotion_bench import report as reports
from samotion_bench import synthetic as synthetic_set
from samotion_bench.datasets import Clip, Truth, find_clips, read_found, read_names, read_truth
from samotion_bench.runs import engine_hashes, segment_all
from samotion_bench.scores import ObjectScores, score_movers, score_objects
from samotion_bench.worst import draw_worst, worst_clips

Array = np.ndarray[Any, Any]

DEFAULT_RESULTS = Path("eval-results")


TASKS = ("mos", "fine")  # all movers as one; every object, matched as in DAVIS 2017 unsupervised


@dataclass(frozen=True)
class Scored:
    """One clip's ground truth, masks and measures, restricted to the frames that count."""

    clip: Clip
    truth: Truth
    found: Array
    objects: list[ObjectScores]


def score_clip(clip: Clip, results: Path, task: str, all_frames: bool) -> Scored:
    """Measure the masks of one clip below `results`. Raises InputError where no frame is left to
    count.
    """
    truth = read_truth(clip)
    labels = truth.objects  # before frames are left out: the first one says which objects there are
    last = len(clip.frames) - 1
    keep = [i for i, a in enumerate(clip.annotations) if all_frames or a.frame not in (0, last)]
    if not keep:
        raise InputError(
            f"{clip.name}: no frame counts without the first and the last; use --all-frames"
        )
    chosen = replace(clip, annotations=tuple(clip.annotations[i] for i in keep))
    truth = Truth(truth.labels[keep], truth.void[keep])
    found = read_found(chosen, results, truth.labels.shape[1:])
    if task == "mos":
        truth = truth.as_movers
        objects = score_movers(truth.labels, found, truth.void)
    else:
        objects = score_objects(truth.labels, found, truth.void, labels)
    return Scored(chosen, truth, found, objects)


def evaluate(
    clips: Sequence[Clip],
    results: Path,
    task: str,
    all_frames: bool,
    worst: tuple[Path, int] | None = None,
) -> dict[str, list[ObjectScores]]:
    """Measure all clips, one at a time; draw the `worst` (folder, count) of them."""
    scored = {clip.name: score_clip(clip, results, task, all_frames).objects for clip in clips}
    if not any(scored.values()):
        raise InputError(
            "no sequence shows an object in its first annotated frame; there is nothing to"
            " measure in task fine,"
            " try --task mos"
        )
    if worst:
        means = {
            name: float(np.mean([o.j for o in objects]))
            for name, objects in scored.items()
            if objects
        }
        by_name = {clip.name: clip for clip in clips}
        for rank, name in enumerate(worst_clips(means, worst[1]), start=1):
            again = score_clip(by_name[name], results, task, all_frames)
            j = np.mean([o.j for o in again.objects], axis=0)
            draw_worst(again.clip, again.truth, again.found, j, worst[0] / f"{rank:02d}_{name}.png")
    return scored


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
            help="Run the pipeline with these engines first.",
            show_default=DEFAULT,
        ),
    ] = None,
    task: Annotated[
        str, options.choice(TASKS, help="All moving objects as one, or every object by itself.")
    ] = "mos",
    sequences: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sequences to use, one a line.", show_default="all"),
    ] = None,
    all_frames: Annotated[
        bool,
        typer.Option(
            "--all-frames/--inner-frames",
            help="Count the first and last frame of a sequence or not.",
        ),
    ] = True,
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
        typer.Option(metavar="FOLDER", help="Held-out photos/ and instances/ to paint them with."),
    ] = None,
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
        console = Console(stderr=True, quiet=quiet)
        if synthetic is not None:
            measure_synthetic(
                engine_dir,
                device,
                synthetic,
                synthetic_frames,
                synthetic_photos,
                seed,
                json_file,
                console,
            )
            return
        if annotations is None:
            raise UsageError(
                "no ground truth; expected --annotations FOLDER, or --synthetic NUMBER"
            )
        names = read_names(sequences) if sequences else None
        clips = find_clips(annotations, images, names)
        masks = results or DEFAULT_RESULTS
        about: dict[str, Any] = {"annotations": str(annotations), "results": str(masks)}
        count = f"{len(clips)} sequence{'s' * (len(clips) != 1)}"
        console.print(f"samotion {__version__}: measuring {count}", highlight=False, markup=False)
        if must_run(results, images, engine_dir):
            with open_engines(engine_dir, device) as engines:
                if verbose:
                    details.tell(details.of_engines(engines))
                segment_all(clips, engines, masks, Settings(seed=seed), console)
                about |= {
                    "preset": engines.preset.name,
                    "seed": seed,
                    "engines": engine_hashes(engines),
                }
        scored = evaluate(clips, masks, task, all_frames, (worst, worst_count) if worst else None)
        coloured = [clip.name for clip in clips if clip.coloured]
        report = reports.summarise(scored, task, all_frames, coloured, **about)
        reports.print_table(report, Console())
        save(json_file, json.dumps(report, indent=2) + "\n")
        save(csv_file, reports.to_csv(report))

    run_command(work, verbose)


def must_run(results: Path | None, images: Path | None, engine_dir: Path | None) -> bool:
    """Whether masks are to be made first. Raises UsageError where there are none and nothing to
    make them from.
    """
    if results is None and engine_dir is None and images is None:
        raise UsageError("no masks; expected --results DIR, or --images DIR to make them")
    return results is None or engine_dir is not None


def measure_synthetic(
    engine_dir: Path | None,
    device: str,
    count: int,
    frames: int,
    photos: Path | None,
    seed: int,
    path: Path | None,
    console: Console,
) -> None:
    """samotion-eval --synthetic."""
    with open_engines(engine_dir, device) as engines:
        found = synthetic_set.run(
            engines,
            count,
            frames,
            photos,
            seed,
            lambda line: console.print(line, highlight=False, markup=False),
        )
        found |= {"preset": engines.preset.name, "seed": seed, "engines": engine_hashes(engines)}
    synthetic_set.print_table(found, Console())
    save(path, json.dumps(found, indent=2) + "\n")


def save(path: Path | None, text: str) -> None:
    """Write a file that was asked for."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


app = options.command_line(command)


def main() -> None:
    """The command."""
    options.start(app, "samotion-eval")
