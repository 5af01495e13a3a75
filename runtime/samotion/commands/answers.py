"""What samotion-run says of each clip: its result on stdout, all else on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from samotion.commands import exits
from samotion.commands.ledger import FAILED, SKIPPED
from samotion.commands.streams import note, trace
from samotion.errors import shown
from samotion.results.record import DONE, OVERLAY, REPORT, OutputFolder, counts, owned, read_record

if TYPE_CHECKING:
    from samotion.commands.run import Job
    from samotion.pipeline import Result


def tell_done(job: Job, clip: str, target: OutputFolder, result: Result) -> None:
    """Warnings, how much was found, then the result."""
    for warning in result.warnings:
        note(_about(job, clip, warning))
    if not job.as_json and not job.quiet:
        _tell_found(target, result)
    _print_result(job, clip, target)


def _tell_found(target: OutputFolder, result: Result) -> None:
    if count := len(result.objects):  # that nothing moves is among the warnings
        sure = ", ".join(f"{one.confidence:.2f}" for one in result.objects)
        what = f"{count} moving object{'s' * (count != 1)}"
        note(f"{what} in {len(result.labels)} frames, confidence {sure}")
    if report := _path(target, REPORT):
        note(f"report: {report}")


def tell_skipped(job: Job, clip: str, target: OutputFolder) -> None:
    """One line, then the result as it lies there."""
    note(f"{shown(clip)}: skipped, it is done already; --overwrite makes it anew")
    _print_result(job, clip, target, SKIPPED)


def tell_failure(job: Job, clip: str, error: Exception) -> None:
    """The error, with its stack trace if it is asked for. A clip that is alone leaves its line
    to the command.
    """
    code, line = exits.explain(error, job.verbose)
    if job.as_json:
        record = {"clip": clip, "status": FAILED, "error": line, "exit_code": code}
        print(json.dumps(record), flush=True)
    if len(job.clips) == 1:
        return
    if job.verbose:
        trace(error)
    note(_about(job, clip, line))


def _about(job: Job, clip: str, line: str) -> str:
    return f"{shown(clip)}: {line}" if len(job.clips) > 1 else line


def _path(target: OutputFolder, file: str) -> str | None:
    """Where a file of a result lies, if it was written."""
    return str(target.tree / file) if file in owned(target) else None


def _print_result(job: Job, clip: str, target: OutputFolder, status: str = DONE) -> None:
    """The path of the overlay, or of the folder where there is none; or what run.json tells, as
    one JSON object.
    """
    overlay = _path(target, OVERLAY)
    if not job.as_json:
        print(overlay or target.tree, flush=True)
        return
    record = read_record(target)
    summary = {
        "clip": clip,
        "status": status,
        "folder": str(target.tree),
        "overlay": overlay,
        "report": _path(target, REPORT),
        "frames": counts(record)[0],
        "tracks": record.get("tracks"),
        "objects": record.get("found"),
        "confidence": record.get("confidence"),
        "warnings": record.get("warnings"),
        "timings_ms": record.get("timings_ms"),
    }
    print(json.dumps(summary), flush=True)
