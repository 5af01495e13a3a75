"""samotion-run: clips in, masks out."""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from samotion import __version__, pipeline
from samotion.backends.engines import DEVICES, Engines, open_engines
from samotion.backends.folder import DEFAULT
from samotion.clips import video
from samotion.commands import exits as commands
from samotion.commands import progress
from samotion.pipeline import Result
from samotion.results import folder as place
from samotion.results import write as output
from samotion.settings import Settings

SOME_FAILED = 8

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Job:
    """All that a user asked for. `save` None: everything that the layout holds."""

    clips: Sequence[str]
    engine_dir: str | None
    out: str
    device: str
    settings: Settings
    save: tuple[str, ...] | None
    layout: str
    overwrite: bool
    as_json: bool
    quiet: bool
    verbose: bool


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"samotion {__version__}")
        raise typer.Exit


@app.command(help="Find every object that moves in CLIPS (videos or folders of frames) and write its masks.")
def run(
    clips: Annotated[list[str], typer.Argument(help="Video files, or folders of frames.", show_default=False)],
    engine_dir: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Folder that samotion-export wrote.", show_default=DEFAULT),
    ] = None,
    out: Annotated[str, typer.Option("-o", "--out", help="Results go to OUT/CLIP.")] = "out",
    device: Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.")] = "auto",
    step: Annotated[Optional[int], typer.Option(help="Frames between query frames.")] = None,  # noqa: UP045
    max_frames: Annotated[Optional[int], typer.Option(help="Keep every k-th frame, so that no more stay.")] = None,  # noqa: UP045
    max_tracks: Annotated[Optional[int], typer.Option(help="Tracks to follow.")] = None,  # noqa: UP045
    max_objects: Annotated[int, typer.Option(help="Objects to look for, at most.")] = Settings.max_objects,
    refine_px: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Frames that tracks are refined on: 256, or 512 where the engines can.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = Settings.seed,
    save: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help=f"What to write, of {','.join(place.KINDS)}.", show_default="all that the layout holds"),
    ] = None,
    layout: Annotated[str, typer.Option(help="clip: OUT/CLIP/masks and more; davis: OUT/CLIP/00000.png.")] = "clip",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result of samotion.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per clip.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Stack traces with errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    def work() -> int:
        settings = Settings(step, max_frames, max_tracks, max_objects, seed=seed, refine_px=refine_px)
        kinds = None if save is None else tuple(part.strip() for part in save.split(",") if part.strip())
        job = Job(clips, engine_dir, out, device, settings, kinds, layout, overwrite, as_json, quiet, verbose)
        return process(job)

    commands.run_command(work, verbose)


def process(job: Job) -> int:
    """Run a job and return its exit code. A clip that fails does not stop the others; alone it raises its error."""
    failed = 0
    with open_engines(job.engine_dir, job.device) as engines:
        if job.verbose:
            _note(f"engines: {engines.folder}")
        engines.open_all()
        for clip, name in zip(job.clips, unique_names(job.clips)):
            if len(job.clips) > 1 and not job.quiet:
                _note(clip)
            try:
                segment_one(job, clip, name, engines)
            except Exception as error:
                code, line = commands.explain(error, job.verbose)
                if job.as_json:
                    print(json.dumps({"clip": clip, "status": "failed", "error": line, "exit_code": code}), flush=True)
                if len(job.clips) == 1:
                    raise
                if job.verbose:
                    traceback.print_exc()
                _note(f"{clip}: {line}")
                failed += 1
    return SOME_FAILED if failed else 0


def segment_one(job: Job, clip: str, name: str, engines: Engines) -> None:
    """Segment one clip, write its results and tell of them. The folder is claimed before the work."""
    where_args = job.out, name, job.save, job.layout, job.overwrite
    with place.reserve(*where_args) as where, progress.shown(job.quiet) as report:
        result = pipeline.segment_clip(clip, engines, job.settings, report)
        report("output", 0, 1)
        output.write_to(where, result, run_info(job, engines))
        report("output", 1, 1)
    _tell(job, clip, where.tree, result)


def unique_names(clips: Sequence[str]) -> list[str]:
    """A folder name for each clip: its own, with -2, -3 and so on where an earlier one has it."""
    names: list[str] = []
    for clip in clips:
        name = first = video.clip_name(clip)
        number = 2
        while name in names:
            name, number = f"{first}-{number}", number + 1
        names.append(name)
    return names


def run_info(job: Job, engines: Engines) -> dict[str, Any]:
    """What run.json tells beyond the result: how it was asked for and which engines answered."""
    return {
        "arguments": asdict(job),
        "engine_folder": str(engines.folder),
        "preset": engines.preset.name,
        "device": engines.device,
        "engines": {
            name: {"file": entry.file, "sha256": entry.sha256, "precision": entry.precision, "data": dict(entry.data)}
            for name, entry in engines.manifest.engines.items()
        },
    }


def _tell(job: Job, clip: str, folder: Path, result: Result) -> None:
    """Warnings on stderr, then the result on stdout: the overlay's path, or the folder where there is none."""
    for warning in result.warnings:
        _note(f"{clip}: {warning}" if len(job.clips) > 1 else warning)
    overlay = folder / output.OVERLAY if job.layout == "clip" and (job.save is None or "overlay" in job.save) else None
    if job.as_json:
        print(json.dumps(_summary(clip, folder, overlay, result)), flush=True)
    else:
        found = len(result.objects)
        if found and not job.quiet:  # that nothing moves is among the warnings
            _note(f"{found} moving object{'s' * (found != 1)} in {len(result.labels)} frames")
        print(overlay or folder, flush=True)


def _summary(clip: str, folder: Path, overlay: Path | None, result: Result) -> Mapping[str, Any]:
    return {
        "clip": clip,
        "status": "done",
        "folder": str(folder),
        "overlay": str(overlay) if overlay else None,
        "frames": len(result.labels),
        "tracks": len(result.scores),
        "objects": [{"id": found.id, "score": found.score} for found in result.objects],
        "warnings": list(result.warnings),
        "timings_ms": dict(result.timings),
    }


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The command. Paths that are no valid UTF-8 come out on stdout as they came in."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    app()
