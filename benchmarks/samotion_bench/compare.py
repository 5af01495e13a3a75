"""Two benchmark reports side by side, with a verdict only where the difference is beyond the
noise of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from samotion.errors import InputError

from samotion_bench.tables import make_table

KIND = "samotion-bench"
NOISE_FACTOR = 2.0  # standard deviations of the ratio that a difference must exceed
SAME_CONDITIONS = ("preset", "device", "clip", "settings")


@dataclass(frozen=True)
class Change:
    """One figure in both reports. `ratio` = before / after, above 1 is faster; `bound` = the
    ratio noise can make.
    """

    name: str
    before_ms: float
    after_ms: float
    bound: float | None

    @property
    def ratio(self) -> float:
        """Above 1 where it became faster."""
        return self.before_ms / self.after_ms

    @property
    def verdict(self) -> str:
        """In words, and none for what may be noise."""
        if self.bound is None:
            return "too few runs to tell"
        if max(self.ratio, 1 / self.ratio) <= self.bound:
            return "no difference beyond noise"
        return f"{self.ratio:.2f}x faster" if self.ratio > 1 else f"{1 / self.ratio:.2f}x slower"


def read_report(path: Path) -> dict[str, Any]:
    """A report of samotion-bench. Raises InputError for anything else."""
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}; expected a file of samotion-bench --json"
        ) from error
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise InputError(
            f"{str(path)!r} is not a report of samotion-bench; make one with samotion-bench"
            f" --json FILE"
        )
    return report


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every figure that both reports hold."""
    old, new = figures(before), figures(after)
    return [_change(name, old[name], new[name]) for name in old if name in new]


def figures(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The times of a report by name: the whole, stages, engines."""
    whole = report["end_to_end"]
    return {
        "end to end": whole["wall"],
        **{f"stage {name}": found for name, found in whole["stages"].items()},
        **{f"engine {name}": found for name, found in report["engine_times"].items()},
    }


def caveats(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Why the two may not be comparable."""
    found = [
        f"{key} differs: {before[key]} and {after[key]}"
        for key in SAME_CONDITIONS
        if before[key] != after[key]
    ]
    for key in ("cpu", "cores"):
        if (old := before["machine"][key]) != (new := after["machine"][key]):
            found.append(f"{key} differs: {old} and {new}")
    old, new = ({n: e["sha256"] for n, e in r["engines"].items()} for r in (before, after))
    if changed := [name for name in old if new.get(name) not in (None, old[name])]:
        found.append(f"engines differ: {', '.join(changed)}")
    return found


def print_changes(changes: list[Change], warnings: list[str], console: Console) -> None:
    """A table of the changes, warnings below it."""
    columns = "figure", "before ms", "after ms", "ratio", "noise", "verdict"
    table = make_table("samotion-bench, before and after", columns, console, left=["verdict"])
    for change in changes:
        bound = "-" if change.bound is None else f"±{100 * (change.bound - 1):.0f} %"
        times = f"{change.before_ms:.2f}", f"{change.after_ms:.2f}", f"{change.ratio:.2f}"
        table.add_row(change.name, *times, bound, change.verdict)
    console.print(table)
    for warning in warnings:
        console.print(f"note: {warning}", highlight=False, markup=False)


def _change(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    known = before["noise"] is not None and after["noise"] is not None
    bound = math.exp(NOISE_FACTOR * math.hypot(before["noise"], after["noise"])) if known else None
    return Change(name, before["median_ms"], after["median_ms"], bound)
