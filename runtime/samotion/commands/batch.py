"""samotion-batch: thousands of clips, that can be broken off and gone on with."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samotion import __version__
from samotion.commands import exits, options, progress
from samotion.commands.options import (
    Device,
    EngineDir,
    MaxObjects,
    MaxTracks,
    MinConfidence,
    Quiet,
    Seed,
    Verbose,
    Version,
)
from samotion.commands.series import Series, left
from samotion.commands.streams import note, printable
from samotion.errors import InputError, UsageError, shown
from samotion.results.folder import disk_errors
from samotion.results.writers import UNASKED, WRITERS

if TYPE_CHECKING:
    from samotion.commands.clip_job import ClipJob
    from samotion.commands.ledger import Ledger, Outcome
    from samotion.commands.listing import Item


@dataclass(frozen=True)
class Plan:
    """How the clips of a batch are shared out, and what is told of them."""

    workers: int | None
    gpus: tuple[str, ...]
    ray: str | None
    gpus_per_worker: float
    retry_failed: bool
    as_json: bool
    quiet: bool


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|LIST",
            help="A folder of clips, or a text file with a path a line; - reads it.",
            show_default=False,
        ),
    ],
    engine_dir: EngineDir = None,
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="FOLDER", help="Results and ledger go to FOLDER.")
    ] = "out",
    device: Device = "auto",
    save: Annotated[
        str | None,
        options.several(
            WRITERS,
            metavar="NAME,NAME",
            help=f"What to write, some of {', '.join(WRITERS)}.",
            show_default=",".join(UNASKED),
        ),
    ] = None,
    max_objects: MaxObjects = 10,
    max_tracks: MaxTracks = None,
    min_confidence: MinConfidence = None,
    seed: Seed = 0,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do the I-th of N equal parts: one on each machine.",
            show_default="all",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Processes at once.",
            show_default="1, or one a GPU of --gpus",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,...", help="One process on each of these GPUs.", show_default="no choice"
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the clips out on a Ray cluster; local starts one here.",
            show_default="no cluster",
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float,
        typer.Option(metavar="NUMBER", min=0, help="With --ray: GPUs, or a part of one, a worker."),
    ] = 0.0,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try clips again that could not be read before."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make results anew that are there already.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per clip.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Segment all clips of a folder or a list. Broken off, the same command goes on where it was.

    FOLDER/ledger.jsonl keeps what became of each clip, FOLDER/failed.txt those that failed, with
    their reasons: a list to try again.
    """

    def work() -> int:
        chosen = options.names(gpus or "")
        _check_together(ray, chosen, workers)
        if not quiet:
            note(
                f"samotion {__version__}: looking for clips in {source!r}, for"
                f" {options.engines_at(engine_dir)}"
            )
        from samotion.commands.clip_job import ClipJob
        from samotion.settings import Settings

        settings = Settings(
            max_tracks=max_tracks,
            max_objects=max_objects,
            seed=seed,
            min_confidence=min_confidence,
        )
        kinds = None if save is None else options.names(save)
        plan = Plan(workers, chosen, ray, gpus_per_worker, retry_failed, as_json, quiet)
        threads = None if ray else _threads(len(_places(plan)))
        job = ClipJob(out, engine_dir, device, threads, settings, kinds, overwrite)
        return process(job, plan, source, shard)

    exits.run_command(work, verbose)


def process(job: ClipJob, plan: Plan, source: str, shard: str | None = None) -> int:
    """Do what is to do, keep the ledger, tell the summary; the exit code."""
    from samotion.commands.ledger import FAILED, Ledger, known_folders
    from samotion.commands.listing import find_items, shard_of

    items = shard_of(find_items(source, known_folders(Path(job.out))), shard)
    _make_folder(job.out)
    with Ledger.opened(Path(job.out), shard) as ledger:
        failed_before = [] if plan.retry_failed else _unreadable(items, ledger)
        passed_over = {outcome.clip for outcome in failed_before}
        todo = [item for item in items if item.clip not in passed_over]
        if not plan.quiet:
            note(_opening(items, todo, plan))
        for outcome in failed_before:
            _tell(outcome, plan)
        outcomes = list(failed_before)
        for outcome in _told(_outcomes(job, plan, todo), plan, len(todo)):
            ledger.add(outcome)
            outcomes.append(outcome)
        summary = ledger.close(outcomes)
    _tell_summary(summary, ledger, plan, source)
    return exits.SOME_FAILED if summary[FAILED] else 0


def _check_together(ray: str | None, gpus: Sequence[str], workers: int | None) -> None:
    if ray is not None and gpus:
        raise UsageError("--gpus and --ray exclude each other; with --ray give --gpus-per-worker")
    if gpus and workers is not None and workers < len(gpus):
        raise UsageError(f"--workers {workers} is fewer than the {len(gpus)} GPUs of --gpus")
    if wrong := [one for one in gpus if not one.replace("-", "").isalnum()]:
        raise UsageError(f"{wrong[0]!r} is no GPU; expected numbers as in --gpus 0,1")


def _places(plan: Plan) -> list[str | None]:
    """The GPU of each process; None: what there is."""
    gpus: Sequence[str | None] = plan.gpus or [None]
    count = plan.workers or len(gpus)
    return [gpus[k % len(gpus)] for k in range(count)]


def _threads(processes: int) -> int | None:
    """CPU threads of each of several processes; None, all cores, for one."""
    from samotion.backends.threads import core_count

    return None if processes == 1 else max(1, core_count() // processes)


def _make_folder(out: str) -> None:
    with disk_errors(Path(out)):
        Path(out).mkdir(parents=True, exist_ok=True)


def _unreadable(items: Sequence[Item], ledger: Ledger) -> list[Outcome]:
    """Clips that could not be read in an earlier run, and have not changed since: they would fail
    again.
    """
    before = [ledger.failure_before(item.clip) for item in items]
    return [one for one in before if one is not None and one.exit_code == InputError.exit_code]


def _opening(items: Sequence[Item], todo: Sequence[Item], plan: Plan) -> str:
    left_out = len(items) - len(todo)
    beside = f" ({left_out} more could not be read before; --retry-failed tries them)"
    where = "on Ray" if plan.ray else f"in {len(_places(plan))} processes"
    where = "in 1 process" if where == "in 1 processes" else where
    return f"{len(todo)} clips{beside if left_out else ''}, {where}; opening engines"


def _outcomes(job: ClipJob, plan: Plan, todo: Sequence[Item]) -> Iterator[Outcome]:
    if not todo:
        return iter(())
    if plan.ray is not None:
        from samotion import ray

        return ray.run(job, todo, plan.ray, plan.workers, plan.gpus_per_worker)
    from samotion.commands import workers

    return workers.run(job, todo, _places(plan))


def _told(outcomes: Iterator[Outcome], plan: Plan, total: int) -> Iterator[Outcome]:
    """The same outcomes, each told as it comes, with the time left."""
    series = Series(total)
    with progress.display(plan.quiet) as report:
        bar = progress.is_terminal(sys.stderr)
        series.start()
        for done, outcome in enumerate(outcomes, start=1):
            _tell(outcome, plan)
            series.end()
            series.start()
            if bar:
                report("clips", done, total)
            elif not plan.quiet:
                note(f"{done} of {total}: {_line(outcome)}{_left(series, done, total)}")
            yield outcome


def _left(series: Series, done: int, total: int) -> str:
    return left(series.left_s()) if done < total else ""


def _line(outcome: Outcome) -> str:
    name = shown(outcome.clip)
    if outcome.error:
        return f"{name}: failed"
    objects = f"{outcome.objects} moving object{'s' * (outcome.objects != 1)}"
    return f"{name}: {outcome.status}, {objects} in {outcome.frames} frames"


def _tell(outcome: Outcome, plan: Plan) -> None:
    """The result on stdout; why there is none on stderr."""
    if plan.as_json:
        print(json.dumps(asdict(outcome)), flush=True)
    if outcome.error:
        note(f"{shown(outcome.clip)}: {outcome.error}")


def _tell_summary(summary: dict[str, Any], ledger: Ledger, plan: Plan, source: str) -> None:
    """A small table, and where more is told."""
    if not plan.as_json:
        for name in ("clips", "done", "skipped", "failed", "frames", "objects"):
            print(f"{name:8} {summary[name]}")
        for reason, count in summary["reasons"].items():
            print(f"  {count} x {printable(reason)}")
        sys.stdout.flush()
    if summary["failed"] and not plan.quiet:
        note(
            f"the clips that failed: {ledger.failed_path}; again with:"
            f" {_again(sys.argv[1:], source, str(ledger.failed_path))}"
        )


def _again(arguments: Sequence[str], source: str, failed: str) -> str:
    """The same command, which passes over what is done and tries again what failed; of the list of
    those alone, all of a shard, where the source is gone, or results are made anew.
    """
    kept = [one for one in arguments if one != "--retry-failed"]
    if source in kept and (source == "-" or "--overwrite" in kept):
        kept[kept.index(source)] = failed
        kept = _without(kept, "--shard")
    return shlex.join(["samotion-batch", "--retry-failed", *kept])


def _without(arguments: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value."""
    return [
        one
        for before, one in zip(["", *arguments], arguments)
        if option not in (before, one) and not one.startswith(f"{option}=")
    ]


EPILOG = """
\b
Many machines that share a disk:
  samotion-batch clips/ -o out/ --shard 1/8     (2/8 on the next, and so on)
A Ray cluster:
  samotion-batch clips/ -o out/ --ray auto --workers 16 --gpus-per-worker 0.5
"""

app = options.command_line(batch, EPILOG)


def main() -> None:
    """The command."""
    options.start(app, "samotion-batch")
