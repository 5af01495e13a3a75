"""What an evaluation found, as JSON, CSV and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console

from samotion_bench.scores import ObjectScores, statistics
from samotion_bench.tables import make_table

MEASURES = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay")
CSV_COLUMNS = ("J-Mean", "F-Mean", "J&F-Mean", "J-Recall", "J-Decay", "F-Recall", "F-Decay")


@dataclass(frozen=True)
class Published:
    """A figure from the literature, J and F means in [0,1]."""

    method: str
    data: str
    task: str
    j_mean: float
    f_mean: float | None
    source: str


PAPER = "Segment Any Motion in Videos, CVPR 2025"
CLASSICAL = "classical, no learning; figures as published on DAVIS 2016"
PUBLISHED = (
    Published("SAMotion", "DAVIS16-Moving", "mos", 0.890, 0.892, PAPER),
    Published("SAMotion", "DAVIS17-Moving", "fine", 0.774, 0.836, PAPER),
    Published("FST", "DAVIS16 val", "mos", 0.558, None, CLASSICAL),
    Published("CUT", "DAVIS16 val", "mos", 0.552, None, CLASSICAL),
    Published("NLC", "DAVIS16 val", "mos", 0.551, None, CLASSICAL),
    Published("MSG", "DAVIS16 val", "mos", 0.533, None, CLASSICAL),
    Published("CVOS", "DAVIS16 val", "mos", 0.482, None, CLASSICAL),
)

PROTOCOLS = {
    "mos": "moving against static (DAVIS 2016 style), void counts as moving",
    "fine": "DAVIS 2017 unsupervised, void left out",
    "fbms": "moving against static (FBMS-59 style: not black, or not white where nothing is black)",
}
Scored = Mapping[str, Sequence[ObjectScores]]  # by sequence


def measures(scores: ObjectScores) -> dict[str, float]:
    """The six figures of one object."""
    found = {"J": statistics(scores.j), "F": statistics(scores.f)}
    return {name: getattr(found[name[0]], name[2:]) for name in MEASURES}


def average(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The six figures of several objects; None where there is none."""
    return {
        name: float(np.mean([f[name] for f in figures])) if figures else None for name in MEASURES
    }


def protocol(task: str, all_frames: bool, coloured: bool = False) -> str:
    """The name of what is measured; `coloured`: on clips drawn as FBMS-59."""
    name = PROTOCOLS["fbms" if coloured and task == "mos" else task]
    return f"{name}, {'all annotated frames' if all_frames else 'without first and last frame'}"


def summarise(
    scored: Scored, task: str, all_frames: bool, coloured: Collection[str] = (), **about: Any
) -> dict[str, Any]:
    """The report: over all (the mean over objects, as DAVIS averages), per sequence and per object.

    `coloured` names the sequences that are drawn as FBMS-59.
    """
    protocols = {name: protocol(task, all_frames, name in coloured) for name in scored}
    overall = "; ".join(dict.fromkeys(protocols.values()))
    objects = {name: {str(s.label): measures(s) for s in found} for name, found in scored.items()}
    return {
        "task": task,
        "protocol": overall,
        "all_frames": all_frames,
        **about,
        "overall": {
            "protocol": overall,
            **average([figures for found in objects.values() for figures in found.values()]),
        },
        "sequences": {
            name: {
                "protocol": protocols[name],
                **average(list(found.values())),
                "frames": len(scored[name][0].j) if found else 0,
                "objects": found,
            }
            for name, found in objects.items()
        },
        "published": [asdict(p) for p in PUBLISHED if p.task == task],
    }


def to_csv(report: Mapping[str, Any]) -> str:
    """One row per object and a last one over all; the first three columns are those of the
    official tool.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Sequence", *CSV_COLUMNS])
    for name, sequence in report["sequences"].items():
        for label, figures in sequence["objects"].items():
            writer.writerow([f"{name}_{label}", *_row(figures, ".6f")])
    writer.writerow(["Global", *_row(report["overall"], ".6f")])
    return text.getvalue()


def print_table(report: Mapping[str, Any], console: Console) -> None:
    """Per sequence and over all, with the published figures of the task below."""
    measures = [column.replace("-Mean", "").replace("-", " ") for column in CSV_COLUMNS]
    title = f"samotion-eval, task {report['task']}: {report['protocol']}"
    table = make_table(title, ["sequence", "objects", *measures], console)
    for name, sequence in report["sequences"].items():
        table.add_row(name, str(len(sequence["objects"])), *_row(sequence, ".3f"))
    table.add_section()
    count = sum(len(sequence["objects"]) for sequence in report["sequences"].values())
    table.add_row("all", str(count), *_row(report["overall"], ".3f"), style="bold")
    console.print(table)
    for known in report["published"]:
        f_mean = "" if known["f_mean"] is None else f", F {known['f_mean']:.3f}"
        console.print(
            f"published: {known['method']} on {known['data']}: J {known['j_mean']:.3f}{f_mean}",
            style="dim",
        )


def _row(figures: Mapping[str, Any], style: str) -> list[str]:
    both = None if figures["J_mean"] is None else (figures["J_mean"] + figures["F_mean"]) / 2
    values = {**figures, "J&F_mean": both}
    found = [
        values["_".join((column.split("-")[0], column.split("-")[1].lower()))]
        for column in CSV_COLUMNS
    ]
    return ["-" if value is None else format(value, style) for value in found]
