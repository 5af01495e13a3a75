"""What became of each clip of an archive, a JSON line each, so that a batch can go on."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samotion.commands.streams import PATH_BYTES
from samotion.errors import OutputError, shown
from samotion.manifest import write_atomically, write_json
from samotion.results.folder import disk_errors
from samotion.results.names import is_plain, same_file
from samotion.results.record import DONE

if TYPE_CHECKING:
    from samotion.results.report.index import Row

SKIPPED, FAILED = "skipped", "failed"  # or DONE
STATES = (DONE, SKIPPED, FAILED)
KINDS: dict[Any, Any] = {"str": str, "int": int, "float": (int, float)}  # of an outcome's fields
MOST = 1 << 63  # above all its numbers


@dataclass(frozen=True)
class Outcome:
    """What became of one clip.

    `status`: done, skipped (it was done before) or failed, with the exit code that samotion-run
    would have had and one line that says why. `seconds`: of this run; `frames` and `objects`: of
    the result; `worker`: the process that did it; `changed`: the clip's time of change in ns.
    """

    clip: str
    folder: str
    status: str
    seconds: float = 0.0
    frames: int = 0
    objects: int = 0
    exit_code: int = 0
    error: str = ""
    worker: str = ""
    changed: int = 0


class Ledger:
    """The outcomes of one batch, or of one shard of it; the last line of a clip counts.

    Only its own lines are ever added to the file, each written and kept on the disk at once: a
    process that is killed loses at most the clip that it was at. A half line is passed over.
    """

    def __init__(self, out: Path, shard: str | None = None) -> None:
        tail = "" if shard is None else "-" + shard.replace("/", "-of-")
        self.path = out / f"ledger{tail}.jsonl"
        self.failed_path = out / f"failed{tail}.txt"
        self.summary_path = out / f"summary{tail}.json"
        self.page_path = out / f"index{tail}.html"
        self.outcomes = _read(self.path)

    @classmethod
    @contextmanager
    def opened(cls, out: Path, shard: str | None = None) -> Iterator[Ledger]:
        """The ledger of a batch that is at work, which no other writes to meanwhile. Raises
        OutputError for files of its names that are not a batch's.
        """
        from samotion.results.folder import locked, refuse_links

        ledger = cls(out, shard)
        refuse_links(ledger.path, ledger.failed_path, ledger.summary_path)
        lock = ledger.path.with_name(f".{ledger.path.name}.lock")
        with locked(lock, f"{str(ledger.path)!r} is in use by another samotion-batch"):
            ledger._refuse_foreign()
            yield ledger

    def _refuse_foreign(self) -> None:
        """What lies beside a ledger that tells of clips is ours, too."""
        if self.outcomes:
            return
        ours = {
            self.path: _is_begun(self.path),
            self.failed_path: _bytes_of(self.failed_path)[:2] in (b"", b"# "),  # as `close` begins
            self.summary_path: _is_summary(self.summary_path),
        }
        for path, is_ours in ours.items():
            if not is_ours:
                raise OutputError(
                    f"{str(path.parent)!r} holds {path.name!r}, which samotion-batch did not write;"
                    " choose another folder with -o"
                )

    def add(self, outcome: Outcome) -> None:
        """Write an outcome down."""
        _put(self.outcomes, outcome)
        path = os.path.abspath(outcome.clip)
        line = json.dumps(asdict(outcome) | {"path": path}) + "\n"
        with disk_errors(self.path.parent), self.path.open("a+b") as file:
            if file.tell() and self._is_cut(file):
                line = "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def failure_before(self, clip: str) -> Outcome | None:
        """How this clip failed in an earlier run, if it did and is still the same."""
        last = self.outcomes.get(os.path.abspath(clip))
        if last is None or last.status != FAILED:
            return None
        return replace(last, clip=clip) if last.changed == changed_ns(clip) else None

    def close(self, outcomes: Iterable[Outcome]) -> dict[str, Any]:
        """Write the summary, a page, and those that failed as a list that a next batch can take, of
        all clips of which the ledger tells; the summary of some `outcomes`, this run's.
        """
        from samotion.results.report.index import write_summary

        some = list(outcomes)
        latest = self.outcomes | {os.path.abspath(one.clip): one for one in some}
        told = list(latest.values())
        summary = summarise(told)
        failed = [one for one in told if one.status == FAILED]
        lines = [f"# {one.error}\n{_listed(one.clip)}\n" for one in failed]
        with disk_errors(self.path.parent):
            write_json(self.summary_path, summary, indent=2)
            text = "".join(lines).encode("utf-8", PATH_BYTES)
            if lines or self.failed_path.exists():
                write_atomically(self.failed_path, text)
        write_summary(self.page_path.parent, [_row(one) for one in told], self.page_path.name)
        return summarise(some)

    @staticmethod
    def _is_cut(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) != b"\n")


def known_folders(out: Path) -> dict[str, str]:
    """The folder below `out` of each clip, by its whole path, that some ledger there tells of; no
    two have the same, and clips that are done come before those that failed.
    """
    told = [one for path in sorted(out.glob("ledger*.jsonl")) for one in _read(path).values()]
    told.sort(key=lambda outcome: outcome.status != FAILED)
    owners = {same_file(one.folder): one for one in told}
    return {os.path.abspath(one.clip): one.folder for one in owners.values()}


def _put(outcomes: dict[str, Outcome], outcome: Outcome) -> None:
    """Add one as the latest, by its clip's whole path."""
    path = os.path.abspath(outcome.clip)
    outcomes.pop(path, None)
    outcomes[path] = outcome


def summarise(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Counts, sums and the reasons of failures, those that come most often first."""
    some = list(outcomes)
    count = Counter(one.status for one in some)
    reasons = Counter(_reason(one) for one in some if one.status == FAILED)
    return {
        "clips": len(some),
        **{status: count[status] for status in STATES},
        "frames": sum(one.frames for one in some),
        "objects": sum(one.objects for one in some),
        "seconds": round(sum(one.seconds for one in some), 3),
        "reasons": dict(reasons.most_common()),
    }


def changed_ns(clip: str) -> int:
    """When a clip was changed last, in ns; of a folder of frames, it or a file in it. 0 where one
    is not there.
    """
    try:
        inside = (
            [os.path.join(clip, name) for name in os.listdir(clip)] if os.path.isdir(clip) else []
        )
        return max(os.stat(path).st_mtime_ns for path in (clip, *inside))
    except (OSError, ValueError):
        return 0


def _row(outcome: Outcome) -> Row:
    """As a page shows it."""
    from samotion.results.report.index import Row

    reason = outcome.error.removeprefix("error: ") if outcome.status == FAILED else ""
    return Row(outcome.folder, outcome.status, outcome.frames, outcome.objects, reason)


def _reason(outcome: Outcome) -> str:
    """Why it failed, without what differs from clip to clip: its path and its result's."""
    text = outcome.error.removeprefix("error: ")
    for form in (repr(outcome.clip), outcome.clip, repr(shown(outcome.clip))):
        text = text.replace(form, "the clip")
    result = rf"'(?:[^']*/)?{re.escape(outcome.folder)}(?:/[^']*)?'"
    return re.sub(result, "the result", text)


def _listed(clip: str) -> str:
    """A clip's line in a list; a remark for a name that no list can hold."""
    is_line = clip == clip.strip() and not clip.startswith("#") and not {"\n", "\r"} & {*clip}
    return clip if is_line else f"# {clip!r} cannot stand in a list"


def is_below(folder: str) -> bool:
    """Whether a folder that a ledger names lies where a batch puts results."""
    return all(map(is_plain, folder.split("/")))


def _read(path: Path) -> dict[str, Outcome]:
    """The last outcome of each clip, by its whole path."""
    outcomes: dict[str, Outcome] = {}
    for line in _bytes_of(path).splitlines():
        if (outcome := _parse(line)) is not None:
            _put(outcomes, outcome)
    return outcomes


def _bytes_of(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{str(path)!r} is not a regular file; choose another folder with -o")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise OutputError(f"cannot read {str(path)!r}: {error.strerror}") from error


def _is_begun(path: Path) -> bool:
    """Whether a ledger holds nothing, or a first line of ours that was cut."""
    data = _bytes_of(path)
    start = b'{"clip": '
    return b"\n" not in data and data[: len(start)] == start[: len(data)]


def _is_summary(path: Path) -> bool:
    """Whether a file holds sums as we write them, or nothing."""
    data = _bytes_of(path)
    try:
        table = json.loads(data or "{}")
    except (ValueError, RecursionError):
        return False
    return not data or (isinstance(table, dict) and table.keys() == summarise(()).keys())


def _parse(line: bytes) -> Outcome | None:
    """An outcome; None for a line that was cut or is not ours."""
    try:
        table = json.loads(line)
        outcome = Outcome(**{field.name: table[field.name] for field in fields(Outcome)})
        return _found(outcome, table.get("path")) if _is_sound(outcome) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _found(outcome: Outcome, path: object) -> Outcome:
    """The outcome, with the whole path of its clip where that was named from another folder than
    this one.
    """
    clip = outcome.clip
    if not isinstance(path, str) or path == os.path.abspath(clip) or not os.path.lexists(path):
        return outcome
    return replace(outcome, clip=path, error=outcome.error.replace(repr(clip), repr(path)))


def _is_sound(outcome: Outcome) -> bool:
    """Whether every field is of its kind, and can be written down again. Raises ValueError for a
    text that no file can hold.
    """
    for field in fields(Outcome):
        value = getattr(outcome, field.name)
        if not isinstance(value, KINDS[field.type]):
            return False
        if isinstance(value, str):
            value.encode("utf-8", "surrogateescape")
        elif not abs(value) < MOST:
            return False
    return outcome.status in STATES and is_below(outcome.folder)
