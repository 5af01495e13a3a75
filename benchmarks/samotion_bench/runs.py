"""Masks for an evaluation, made by the pipeline; what is there already, of the same frames by the
same engines and settings, stays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from samotion.backends.engines import EngineFolder
from samotion.commands import progress
from samotion.commands.series import Series, left
from samotion.errors import InputError, OutputError
from samotion.pipeline import segment_clip
from samotion.results.finished import make_request
from samotion.results.folder import is_finished, locate, reserve
from samotion.results.record import OutputFolder, Record, read_record
from samotion.results.write import write_to
from samotion.settings import Settings

from samotion_bench.datasets import Clip


def segment_all(
    clips: Sequence[Clip],
    engines: EngineFolder,
    results: Path,
    settings: Settings,
    console: Console,
) -> None:
    """Write `results/SEQ/masks/00000.png` for every frame of every clip, skipping clips that are
    done.

    Raises OutputError where another command's result would be replaced.
    """
    series = Series(len(clips))
    silent = console.quiet or not progress.is_terminal(sys.stderr)
    for number, clip in enumerate(clips, start=1):
        series.start()
        if not clip.images:
            raise InputError(
                f"{clip.name}: its frames are not known; add --images with the folder of frames"
            )
        whole = replace(settings, max_frames=max(2, len(clip.images)))
        folder = clip.images[0].parent
        target = locate(results, clip.name, ["masks"])
        request = make_request(str(folder), target, whole, engines)
        which = f"[{number}/{len(clips)}] {clip.name}"
        if is_finished(target, request):
            console.print(f"{which}: done before", highlight=False, markup=False)
            continue
        count = len(clip.images)
        console.print(
            f"{which}: segmenting {count} frames{left(series.left_s())}",
            highlight=False,
            markup=False,
        )
        with _reserved(target, request), progress.display(silent, series=series) as report:
            result = segment_clip(folder, engines, whole, report)
            about = {"engines": engine_hashes(engines), "evaluated": asdict(result.settings)}
            write_to(target, result, about | {"request": request})
        series.end()
        seconds = sum(result.timings.values()) / 1000
        console.print(
            f"{which}: {count} frames, {len(result.objects)} objects, {seconds:.1f} s",
            highlight=False,
            markup=False,
        )


def engine_hashes(engines: EngineFolder) -> dict[str, str]:
    """The sha256 of every engine file by name."""
    return {name: entry.sha256 for name, entry in engines.manifest.engines.items()}


@contextmanager
def _reserved(target: OutputFolder, request: Record) -> Iterator[None]:
    """A folder for masks; earlier ones of an evaluation are replaced, and nothing else is."""
    try:
        with reserve(target, "evaluated" in read_record(target), request):
            yield
    except OutputError as error:  # it speaks to those who run samotion-run
        words = re.sub("use --overwrite.* folder with", "choose another", str(error))
        if words.endswith(" -o"):
            words = words.removesuffix("-o") + "--results"
        raise OutputError(words) from error
