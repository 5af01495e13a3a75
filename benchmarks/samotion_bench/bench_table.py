"""The benchmark report in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from samotion_bench.svg import number
from samotion_bench.tables import make_table

# What an engine's times from host to host are compared with: CUDA events without the copies, and
# PyTorch.
BESIDE = {"device": "GPU alone ms", "torch": "PyTorch ms", "compiled": "compiled ms"}


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Stages, engines, curves and baselines, with the conditions above."""
    for line in headline(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_stages(report["end_to_end"], console))
    console.print(_engines(report, console))
    for line in (*curve_lines(report), *baseline_lines(report.get("baselines", {}))):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def headline(report: Mapping[str, Any]) -> list[str]:
    """What was run on what, and the figures most asked for."""
    machine, whole, memory = report["machine"], report["end_to_end"], report["memory"]
    height, width = whole["size_hw"]
    gpu = "".join(f", {g['name']}" for g in machine["gpus"])
    lines = [
        f"preset {report['preset']} on {report['device']}: {machine['cpu']}, {machine['cores']}"
        f" cores{gpu}",
        f"{whole['frames']} frames of {width}x{height}, {whole['tracks']} tracks,"
        f" {whole['objects']} objects found:"
        f" {whole['wall']['median_ms'] / 1000:.2f} s, {whole['frames_per_s']:.2f} frames/s",
        f"stages add up to {100 * whole['stage_sum_share']:.1f} % of that; the first run took"
        f" {whole['wall']['first_ms'] / 1000:.2f} s; host memory at its peak"
        f" {memory['host_peak_mib']:.0f} MiB",
    ]
    if whole["first_mask_ms"] is not None:
        lines.append(
            f"first mask after {whole['first_mask_ms'] / 1000:.2f} s,"
            f" then {whole['steady_mask_ms_per_frame']:.1f} ms per frame"
        )
    if max(machine["load_before"][:1]) > machine["cores"] / 2:
        lines.append(
            f"the machine was busy (load {machine['load_before'][0]}): do not trust these figures"
        )
    return lines


def curve_lines(report: Mapping[str, Any]) -> list[str]:
    """The slopes, and which curves the time was too short for."""
    curves, left_out = report["curves"], report.get("left_out")
    missing = (
        [f"no time was left for cost against {', '.join(left_out)}: raise --time-limit"]
        if left_out
        else []
    )
    return missing + [curve_line(c) for c in curves.values() if c["slope_ms"] is not None]


def curve_line(curve: Mapping[str, Any]) -> str:
    """What a curve is of, and its slope where it has one."""
    if curve["slope_ms"] is None:
        return str(curve["what"])
    slope = f"{number(curve['slope_ms'])} ms per {curve['unit'].removesuffix('s')}"
    return f"{curve['what']}: {slope} + {number(curve['intercept_ms'])} ms"


def baseline_lines(found: Mapping[str, Any]) -> list[str]:
    """What the engines and the schedule are worth."""
    lines = []
    if torch := found.get("torch"):
        lines.append(
            f"PyTorch (eager, {found['torch_device']}), same schedule, interleaved:"
            f" {torch['median_ms'] / 1000:.2f} s,"
            f" {torch['ratio']:.2f}x the time of the engines"
        )
    if schedule := found.get("reference_schedule"):
        lines.append(
            f"the reference's schedule in PyTorch, tracks and propagation:"
            f" {schedule['reference_ms'] / 1000:.1f} s for"
            f" {schedule['points']} points and {schedule['objects']} objects (calls x time of"
            f" one call);"
            f" samotion's with {schedule['tracks']} tracks, run in PyTorch:"
            f" {schedule['samotion_ms'] / 1000:.1f} s,"
            f" {schedule['ratio']:.1f}x less"
        )
    return lines


def _stages(whole: Mapping[str, Any], console: Console) -> Table:
    title = f"end to end, {whole['wall']['runs']} runs after the first"
    table = make_table(title, ("stage", "median ms", "p90", "p99", "share"), console)
    total = whole["wall"]["median_ms"]
    for name, found in (*whole["stages"].items(), ("all", whole["wall"])):
        share = f"{100 * found['median_ms'] / total:.1f} %"
        table.add_row(name, *(f"{found[k]:.1f}" for k in ("median_ms", "p90_ms", "p99_ms")), share)
    return table


def share_of_peak(report: Mapping[str, Any], name: str) -> str:
    """An engine's part of the device's peak in its own precision; `-` where either is not known."""
    machine, half = report["machine"], report["engines"][name]["precision"] == "fp16"
    peak = (half and machine.get("peak_half_gflops")) or machine["peak_gflops"]
    gflops = report["engine_times"][name]["gflops"]
    return "-" if peak is None or gflops is None else f"{100 * gflops / peak:.0f} %"


def _engines(report: Mapping[str, Any], console: Console) -> Table:
    engines = report["engine_times"]
    with_flops = any(found["gflop"] is not None for found in engines.values())
    columns = ["engine", "runs", "median ms", "p90", "p99", "noise", "per second"]
    beside = {
        kind: title
        for kind, title in BESIDE.items()
        if any(kind in found for found in engines.values())
    }
    columns += ["GFLOP/s", "of peak"] * with_flops
    for title in beside.values():
        columns += [title, "ratio"]
    title = "engines, host to host (copies in and out included, nothing built)"
    table = make_table(title, columns, console)
    for name, found in engines.items():
        noise = "-" if found["noise"] is None else f"{100 * found['noise']:.0f} %"
        row = [
            name,
            str(found["runs"]),
            *(f"{found[k]:.2f}" for k in ("median_ms", "p90_ms", "p99_ms")),
            noise,
        ]
        row += [f"{number(found['items_per_s'])} {found['unit']}"]
        if with_flops:
            gflops = found["gflops"]
            row += ["-" if gflops is None else f"{gflops:.1f}", share_of_peak(report, name)]
        for kind in beside:
            other = found.get(kind)
            row += (
                ["-", "-"]
                if other is None
                else [f"{other['median_ms']:.2f}", f"{other['ratio']:.2f}"]
            )
        table.add_row(*row)
    return table
