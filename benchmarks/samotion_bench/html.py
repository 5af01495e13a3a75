"""The benchmark report as one page that needs nothing else: no network, no scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from samotion.contract import DYNAMIC

from samotion_bench import svg
from samotion_bench.bench_table import BESIDE, baseline_lines, curve_line, headline, share_of_peak
from samotion_bench.svg import number

STYLE = """
:root { color-scheme: light dark; --ink: #1b1e23; --soft: #667; --line: #dde; --page: #fff; --card: #f5f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ee; --soft: #9aa3b2; --line: #333a46; --page: #14171c; --card: #1e232b; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1040px;
  margin: 32px auto; padding: 0 20px; }
h1 { font-size: 24px; margin: 0 0 4px } h2 { font-size: 18px; margin: 36px 0 8px } p { margin: 6px 0 }
.soft { color: var(--soft) } .cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 }
.card { background: var(--card); border-radius: 8px; padding: 12px 18px; flex: 1 1 150px }
.card b { display: block; font-size: 22px } .pair { display: flex; flex-wrap: wrap; gap: 24px 32px }
figure { margin: 0; flex: 1 1 380px } figcaption { color: var(--soft); font-size: 13px }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: var(--ink) }
svg text.on { fill: #10131a; font-weight: 600 } .grid { stroke: var(--line) }
.mark { stroke: var(--ink); stroke-width: 2 }
.fit { stroke: var(--soft); stroke-dasharray: 5 4 } .wide { overflow-x: auto }
.wide > svg { min-width: 720px }
table { border-collapse: collapse; font-size: 13px; width: 100% } td, th { padding: 4px 8px; text-align: right;
  white-space: nowrap; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left } code { font-size: 12px; overflow-wrap: anywhere }
details { margin: 12px 0 }
"""


def to_html(report: Mapping[str, Any]) -> str:
    """The whole page."""
    body = "".join(
        (_head(report), _stages(report), _engines(report), _curves(report), _conditions(report))
    )
    title = f"samotion-bench: {escape(report['preset'])} on {escape(report['device'])}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _head(report: Mapping[str, Any]) -> str:
    whole, baselines = report["end_to_end"], report.get("baselines", {})
    cards = [
        (f"{whole['frames_per_s']:.2f}", "frames per second, file to masks"),
        (f"{whole['wall']['median_ms'] / 1000:.2f} s", f"for {whole['frames']} frames, median"),
        (f"{report['memory']['host_peak_mib']:.0f} MiB", "host memory at its peak"),
    ]
    if torch := baselines.get("torch"):
        cards.append((f"{torch['ratio']:.2f}x", "PyTorch's time over ours, same schedule"))
    if schedule := baselines.get("reference_schedule"):
        cards.append((f"{schedule['ratio']:.1f}x", "what the schedule alone is worth"))
    boxes = "".join(
        f'<div class="card"><b>{escape(big)}</b>{escape(small)}</div>' for big, small in cards
    )
    lines = "".join(
        f"<p>{escape(line)}</p>" for line in (*headline(report), *baseline_lines(baselines))
    )
    when = f'<p class="soft">{escape(report["created"])} · <code>{escape(report["command"])}</code></p>'
    return f"<h1>samotion-bench</h1>{when}<div class=cards>{boxes}</div>{lines}"


def _stages(report: Mapping[str, Any]) -> str:
    whole = report["end_to_end"]
    bar = svg.stacked_bar({name: found["median_ms"] for name, found in whole["stages"].items()})
    rows = [
        [name, *(number(found[k]) for k in ("median_ms", "p90_ms", "p99_ms", "first_ms"))]
        for name, found in (*whole["stages"].items(), ("end to end", whole["wall"]))
    ]
    table = _table(["stage", "median ms", "p90", "p99", "first run"], rows)
    return f'<h2>Where the time goes</h2><div class="wide">{bar}</div>{table}'


def _engines(report: Mapping[str, Any]) -> str:
    engines = report["engine_times"]
    samples = {
        name: [ms for block in found["blocks_ms"] for ms in block]
        for name, found in engines.items()
    }
    marks = {
        name: [found[k] for k in ("median_ms", "p90_ms", "p99_ms")]
        for name, found in engines.items()
    }
    columns = ["engine", "sizes", "runs", "median ms", "p90", "p99", "first"]
    columns += ["noise", "per second", "MB in / out"]
    table = _table(columns, [_engine_row(name, found) for name, found in engines.items()])
    return (
        "<h2>Engines</h2><p class=soft>Host to host: copies in and out are in the times, building is not. Dots are"
        " single calls; ticks are the median (long), p90 and p99. Noise is the spread between blocks of calls.</p>"
        f'<div class="wide">{svg.strips(samples, marks)}</div>{table}{_beside(report)}'
    )


def _engine_row(name: str, found: Mapping[str, Any]) -> list[str]:
    moved = found["transfers_mb"]
    return [
        name,
        " ".join(f"{k}={v}" for k, v in found["sizes"].items() if k in DYNAMIC),
        str(found["runs"]),
        *(number(found[k]) for k in ("median_ms", "p90_ms", "p99_ms", "first_ms")),
        "-" if found["noise"] is None else f"{100 * found['noise']:.1f} %",
        f"{number(found['items_per_s'])} {found['unit']}",
        f"{number(moved['to_engine'])} / {number(moved['from_engine'])}",
    ]


def _beside(report: Mapping[str, Any]) -> str:
    """The GPU alone and PyTorch beside the engines, and FLOPs, where they are known."""
    engines, machine = report["engine_times"], report["machine"]
    kinds = [kind for kind in BESIDE if any(kind in found for found in engines.values())]
    if not kinds:
        return ""
    rows = []
    for name, found in engines.items():
        others = [found.get(kind) for kind in kinds]
        row = [name, number(found["median_ms"])]
        row += [f"{number(o['median_ms'])} ({o['ratio']:.2f}x)" if o else "-" for o in others]
        row += (
            ["-", "-"]
            if found["gflop"] is None
            else [f"{found['gflops']:.1f}", share_of_peak(report, name)]
        )
        rows.append(row)
    peaks = {"float32": machine["peak_gflops"], "half-precision": machine.get("peak_half_gflops")}
    said = "; ".join(f"{kind} {gflops:.0f} GFLOP/s" for kind, gflops in peaks.items() if gflops)
    note = (
        f"<p class=soft>The peak is a matrix product on the same device: {said}.</p>"
        if said
        else ""
    )
    columns = [
        "engine",
        "median ms",
        *(f"{BESIDE[kind]} (ratio)" for kind in kinds),
        "GFLOP/s",
        "of peak",
    ]
    return f"<h2>Beside other ways to run the same nets</h2>{_table(columns, rows)}{note}"


def _curves(report: Mapping[str, Any]) -> str:
    figures = []
    for found in report["curves"].values():
        picture = svg.curve(
            found["x"], found["median_ms"], found["slope_ms"], found["intercept_ms"], found["unit"]
        )
        figures.append(
            f"<figure>{picture}<figcaption>{escape(curve_line(found))}</figcaption></figure>"
        )
    missing = ""
    if report.get("left_out"):
        missing = f"<p class=soft>No time was left for {', '.join(report['left_out'])}: raise --time-limit.</p>"
    return f"<h2>What it costs as clips grow</h2><div class=pair>{''.join(figures)}</div>{missing}"


def _conditions(report: Mapping[str, Any]) -> str:
    machine, engines = report["machine"], report["engines"]
    rows = [
        [
            name,
            found["precision"],
            found["sha256"][:16],
            ", ".join(f"{out} {figures['max_abs']:.1g}" for out, figures in found["parity"].items())
            or "-",
        ]
        for name, found in engines.items()
    ]
    table = _table(
        ["engine", "precision", "sha256", "largest difference from PyTorch at export"], rows
    )
    facts = json.dumps({"machine": machine, "settings": report["settings"]}, indent=1)
    more = f"<details><summary>Machine and settings</summary><pre>{escape(facts)}</pre></details>"
    return f"<h2>Conditions</h2>{table}{more}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
