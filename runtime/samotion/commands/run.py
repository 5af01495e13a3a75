"""samotion-run: clips in, masks out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from samotion import __version__
from samotion.commands import answers, details, exits, options, progress
from samotion.commands.again import run_info
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
from samotion.commands.series import Series
from samotion.commands.streams import note
from samotion.errors import InputError, UsageError, shown
from samotion.presets import MIN_WINDOW, REFINE_PX
from samotion.results.finished import make_request
from samotion.results.folder import (
    LAYOUTS,
    RESERVED,
    check_options,
    is_finished,
    locate,
    reserve,
)
from samotion.results.names import free_name
from samotion.results.record import DEFAULT_LAYERS, LAYERS
from samotion.results.writers import UNASKED, WRITERS

if TYPE_CHECKING:  # NumPy and what stands on it wait until there is work, see `run`
    from samotion.backends.engines import EngineFolder
    from samotion.settings import Settings


@dataclass(frozen=True)
class Job:
    """All that a user asked for. `save` None: what the layout holds unasked."""

    clips: Sequence[str]
    engine_dir: str | None
    out: str
    device: str
    settings: Settings
    save: tuple[str, ...] | None
    overlay: tuple[str, ...] | None
    layout: str
    overwrite: bool
    skip_done: bool
    as_json: bool
    quiet: bool
    verbose: bool


def run(
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP", help="Video files, or folders of frames.", show_default=False
        ),
    ],
    engine_dir: EngineDir = None,
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="FOLDER", help="Results go to FOLDER/CLIP.")
    ] = "out",
    device: Device = "auto",
    step: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Points start on every NUMBER-th frame.",
            show_default=options.preset_default("query_step_frames"),
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=2,
            help="Of a longer clip, every k-th frame is used, so that no more are.",
            show_default="no limit",
        ),
    ] = None,
    start_s: Annotated[
        float | None,
        options.moment(
            "--start",
            help="Leave out what comes before, in seconds or as 1:23.5.",
            show_default="the clip's start",
        ),
    ] = None,
    end_s: Annotated[
        float | None,
        options.moment(
            "--end", help="Leave out the rest from here on.", show_default="the clip's end"
        ),
    ] = None,
    window_frames: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=MIN_WINDOW,
            help="Longer clips are worked on in windows of so many frames.",
            show_default=options.preset_default("max_frames"),
        ),
    ] = None,
    max_tracks: MaxTracks = None,
    max_objects: MaxObjects = 10,
    min_confidence: MinConfidence = None,
    refine_px: Annotated[
        int | None,
        options.choice(
            REFINE_PX,
            help="Frames that tracks are refined on, where the engines can.",
            show_default="the engines' own",
        ),
    ] = None,
    seed: Seed = 0,
    save: Annotated[
        str | None,
        options.several(
            WRITERS,
            metavar="NAME,NAME",
            help=f"What to write, some of {', '.join(WRITERS)}.",
            show_default=f"{','.join(UNASKED)}; in layout davis masks",
        ),
    ] = None,
    overlay: Annotated[
        str | None,
        options.several(
            LAYERS,
            metavar=",".join(LAYERS),
            help="What the overlay shows, some of these.",
            show_default=",".join(DEFAULT_LAYERS),
        ),
    ] = None,
    layout: Annotated[
        str,
        options.choice(
            LAYOUTS, help="clip: FOLDER/CLIP/masks and more; davis: FOLDER/CLIP/00000.png."
        ),
    ] = "clip",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result of samotion.")
    ] = False,
    skip_done: Annotated[
        bool,
        typer.Option(
            "--skip-done", help="Pass over clips that are done; several clips do so unasked."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per clip.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Find every object that moves in clips (videos or folders of frames) and write its masks."""

    def work() -> int:
        if overwrite and skip_done:
            raise UsageError("--overwrite and --skip-done exclude each other; give one of them")
        if not quiet:
            note(opening(engine_dir, device))
        from samotion.settings import Settings

        settings = Settings(
            step=step,
            max_frames=max_frames,
            max_tracks=max_tracks,
            max_objects=max_objects,
            seed=seed,
            refine_px=refine_px,
            window_frames=window_frames,
            min_confidence=min_confidence,
            start_s=start_s,
            end_s=end_s,
        )
        kinds = None if save is None else options.names(save)
        written = check_options(kinds, layout)
        if overlay is not None and "overlay" not in written:
            more = ", or add overlay to --save" if layout == "clip" else ""
            raise UsageError(f"--overlay needs an overlay; leave it out{more}")
        skips = skip_done or (len(clips) > 1 and not overwrite)
        job = Job(
            clips=clips,
            engine_dir=engine_dir,
            out=out,
            device=device,
            settings=settings,
            save=kinds,
            overlay=None if overlay is None else options.names(overlay),
            layout=layout,
            overwrite=overwrite,
            skip_done=skips,
            as_json=as_json,
            quiet=quiet,
            verbose=verbose,
        )
        return process(job)

    exits.run_command(work, verbose)


def opening(engine_dir: str | None, device: str) -> str:
    """The first line of a run: a sign of life before libraries are loaded and engines are hashed
    and opened.
    """
    where = "" if device == "auto" else f" on {device}"
    return f"samotion {__version__}: opening {options.engines_at(engine_dir)}{where}"


def process(job: Job) -> int:
    """Run a job and return its exit code. A clip that fails does not stop the others; alone it
    raises its error.
    """
    from samotion.backends.engines import open_engines
    from samotion.settings import resolve

    failed = 0
    series = Series(len(job.clips))
    check_lone_clip(job)
    with open_engines(job.engine_dir, job.device, for_clips=True) as engines:
        resolve(job.settings, engines.preset)
        open_all(engines, job)
        for clip, name in zip(job.clips, unique_names(job.clips, job.layout)):
            series.start()
            try:
                segment_one(job, clip, name, engines, series)
            except Exception as error:
                answers.tell_failure(job, clip, error)
                if len(job.clips) == 1:
                    raise
                failed += 1
    if len(job.clips) > 1:
        write_index(job)
    return exits.SOME_FAILED if failed else 0


def check_lone_clip(job: Job) -> None:
    """A mistyped path is told before engines are opened."""
    from samotion.clips.video import check_path

    if len(job.clips) > 1:
        return
    try:
        check_path(job.clips[0])
    except InputError as error:
        answers.tell_failure(job, job.clips[0], error)
        raise


def open_all(engines: EngineFolder, job: Job) -> None:
    """Open every engine, and tell how far that is."""
    with progress.display(job.quiet) as report:
        report("engines", 0, 1)
        engines.open_all(lambda done, total: report("engines", done, total))
    if job.verbose:
        note(*details.of_engines(engines))


def segment_one(job: Job, clip: str, name: str, engines: EngineFolder, series: Series) -> None:
    """Segment one clip, write its results and tell of them. The folder is claimed before the
    work.
    """
    from samotion import pipeline

    target = locate(job.out, name, job.save, job.layout, job.overlay)
    request = make_request(clip, target, job.settings, engines)
    if job.skip_done and is_finished(target, request):
        answers.tell_skipped(job, clip, target)
        return
    if len(job.clips) > 1 and not job.quiet:
        note(series.title("clip", shown(clip)))
    with (
        reserve(target, job.overwrite, request),
        progress.display(job.quiet, series=series) as report,
    ):
        info = run_info(job, clip, target, request, engines)
        result = pipeline.segment_to(target, clip, engines, job.settings, report, info)
    series.end()
    if job.verbose:
        note(*details.of_result(result))
    answers.tell_done(job, clip, target, result)


def write_index(job: Job) -> None:
    """A page over all clips in the folder, where they have reports."""
    if "report" not in check_options(job.save, job.layout) or not os.path.isdir(job.out):
        return
    from samotion.results.report import index

    path = index.write_index(job.out)
    if path and not job.quiet:
        note(f"all reports: {path}")


def unique_names(clips: Sequence[str], layout: str = "clip") -> list[str]:
    """A folder name for each clip: its own, with -2, -3 and so on where an earlier one has it."""
    from samotion.clips import video

    taken = set(RESERVED if layout == "davis" else ())
    return [free_name(video.clip_name(clip), taken) for clip in clips]


EPILOG = """
\b
Where samotion departs from the published program:
- The whole clip is used, not the first 100 sampled frames (but see --max-frames).
- Clips of more than 300 frames are worked on in windows that overlap (but see --window-frames).
- Points are sampled before they are tracked, not after: each is as likely, for less work.
- A click whose mask catches no track is dropped, with its track.
- A seed fixes every random choice; the published program draws anew in each run.
"""  # "\b" keeps the lines as they are

app = options.command_line(run, EPILOG)


def main() -> None:
    """The command."""
    options.start(app, "samotion-run")
