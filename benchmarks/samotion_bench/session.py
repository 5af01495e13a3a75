"""One benchmark session: what is measured, in which order, and how the time is shared out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from samotion.backends.engines import EngineFolder, Engines
from samotion.commands.series import left
from samotion.pipeline import segment_clip

from samotion_bench import baselines
from samotion_bench.baselines import TorchEngines
from samotion_bench.machine import device_memory_mib, host_memory_mib
from samotion_bench.recorder import Note, Recorder, items, sizes
from samotion_bench.timing import Call, Samples, describe, fit_line, measure, one_a_round, timed
from samotion_bench.workload import Run, Workload, follow, propagate, rehearse, run_whole, spread

MAX_RUNS = 10  # of the whole pipeline
# of the time left when each begins; the curves get the rest
SHARES = {"whole": 0.4, "engines": 0.4, "device": 0.2}
CURVE_REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """What to measure: runs per engine, objects of the longest curve, seconds for all of it, and
    baselines.

    `baselines`: any of "torch", "torch-compile" and "reference-schedule".
    """

    runs: int
    objects: int
    time_limit_s: float
    baselines: frozenset[str] = frozenset()
    threads: int | None = None


class Clock:
    """The time that is left."""

    def __init__(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    def share(self, phase: str) -> float:
        """Seconds that a phase may take of what is left."""
        return self.left * SHARES[phase]


def run_session(
    engines: EngineFolder, load: Workload, plan: Plan, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure everything in `plan`; the parts of the report that are figures."""
    clock = Clock(plan.time_limit_s)
    opened = _open_each(engines)
    say(f"{len(opened)} engines opened; first run")
    recorder = Recorder(engines)
    first = run_whole(recorder, load)
    in_run = recorder.times()
    rehearse(recorder, load, plan.objects)
    notes = recorder.in_order()
    torch = baselines.open_torch(engines, plan.threads) if plan.baselines else None
    say(f"first run {first.wall_ms / 1000:.1f} s; whole runs")
    beside = torch if "torch" in plan.baselines else None
    whole, torch_runs = _whole_runs(engines, beside, load, first, clock.share("whole"))
    say(f"{len(whole)} whole runs; engines")
    calls = _engine_calls(engines, notes) | _torch_calls(torch, plan, notes, say)
    samples = measure(calls, plan.runs, clock.share("engines"))
    samples |= _device_times(engines, notes, plan.runs, clock.share("device"))
    gflop = baselines.count_gflop(torch, notes) if torch else {}
    report: dict[str, Any] = {
        "end_to_end": _describe_whole(whole, first, load),
        "engine_times": {
            name: _describe_engine(
                name, engines, note, samples, opened[name], gflop.get(name), in_run.get(name)
            )
            for name, note in notes.items()
        },
        "memory": _describe_memory(),
    }
    if torch:
        report["baselines"] = _describe_baselines(
            torch, torch_runs, whole, load, plan, samples, notes
        )
    report["curves"], report["left_out"] = _curves(engines, load, plan, clock, say)
    return report


def _open_each(engines: EngineFolder) -> dict[str, dict[str, float]]:
    """Open every engine of the folder: ms and the host memory that it takes. Nothing is built
    here.
    """
    found = {}
    for name in engines.manifest.engines:
        before = host_memory_mib()[0]
        ms = timed(lambda name=name: engines[name])  # type: ignore[misc]
        found[name] = {"open_ms": ms, "host_mib": host_memory_mib()[0] - before}
    return found


def _whole_runs(
    engines: Engines, torch: TorchEngines | None, load: Workload, first: Run, budget_s: float
) -> tuple[list[Run], list[Run]]:
    """Runs of the pipeline, alternating with PyTorch's, after one of each to warm up."""
    ours, theirs = [], []
    cost_ms = first.wall_ms
    if torch:
        start = time.perf_counter()
        theirs.append(run_whole(torch, load))
        cost_ms += (time.perf_counter() - start) * 1000
    count = min(MAX_RUNS, max(1, int(budget_s * 1000 / cost_ms)))
    for _ in range(count):
        ours.append(run_whole(engines, load))
        if torch and len(ours) * cost_ms < budget_s * 1000:
            theirs.append(run_whole(torch, load))
    return ours, theirs[1:] or theirs


def _engine_calls(engines: Engines, notes: Mapping[str, Note]) -> dict[str, Call]:
    return {name: partial(engines[name], **note.inputs) for name, note in notes.items()}


def _torch_calls(
    torch: TorchEngines | None, plan: Plan, notes: Mapping[str, Note], say: Callable[[str], None]
) -> dict[str, Call]:
    """The same calls in PyTorch, compiled ones where it can compile them."""
    if torch is None:
        return {}
    calls: dict[str, Call] = {
        f"{name} torch": partial(torch[name], **note.inputs) for name, note in notes.items()
    }
    if "torch-compile" in plan.baselines:
        compiled = replace(torch, compiled=True)
        for name, note in notes.items():
            say(f"PyTorch compiles {name}")
            call = partial(compiled[name], **note.inputs)
            try:
                call()
                calls[f"{name} compiled"] = call
            # of any kind: a missing compiler, an operator it does not know
            except Exception as error:
                say(f"PyTorch cannot compile {name}: {str(error).splitlines()[0][:200]}")
    return calls


def _device_times(
    engines: Engines, notes: Mapping[str, Note], runs: int, budget_s: float
) -> dict[str, Samples]:
    """Runs between CUDA events, data in place, of the engines that can tell."""
    calls: dict[str, Call] = {}
    for name, note in notes.items():
        if device_ms := getattr(engines[name], "device_ms", None):
            calls[f"{name} device"] = partial(device_ms, **note.inputs)
    return measure(calls, runs, budget_s, timed=lambda call: float(call())) if calls else {}


def _describe_whole(runs: list[Run], first: Run, load: Workload) -> dict[str, Any]:
    wall = one_a_round(first.wall_ms, (r.wall_ms for r in runs))
    stages = {
        stage: describe(one_a_round(first.stages[stage], (r.stages[stage] for r in runs)))
        for stage in first.stages
    }
    masks = [r for r in runs if r.first_mask_ms is not None and r.steady_frame_ms is not None]
    return {
        "frames": len(load.frames),
        "size_hw": list(load.hw),
        "objects": runs[0].objects,
        "tracks": runs[0].tracks,
        "wall": describe(wall),
        "frames_per_s": 1000 * len(load.frames) / wall.median,
        "first_mask_ms": float(np.median([r.first_mask_ms for r in masks])) if masks else None,
        "steady_mask_ms_per_frame": float(np.median([r.steady_frame_ms for r in masks]))
        if masks
        else None,
        "stages": stages,
        "stage_sum_share": sum(s["median_ms"] for s in stages.values()) / wall.median,
    }


def _describe_engine(
    name: str,
    engines: Engines,
    note: Note,
    samples: Mapping[str, Samples],
    opened: Mapping[str, float],
    gflop: float | None,
    in_run: Mapping[str, float] | None,
) -> dict[str, Any]:
    unit, count = items(name, note.inputs)
    mine = samples[name]
    outputs = engines[name](**note.inputs)
    found = {
        **describe(mine),
        **opened,
        "sizes": sizes(name, note.inputs),
        "unit": unit,
        "items_per_call": count,
        "items_per_s": 1000 * count / mine.median,
        "transfers_mb": {
            "to_engine": sum(a.nbytes for a in note.inputs.values()) / 1e6,
            "from_engine": sum(a.nbytes for a in outputs.values()) / 1e6,
        },
        "gflop": gflop,
        "gflops": None if gflop is None else gflop / mine.median * 1000,
        "in_first_run": in_run,
    }
    for kind in ("torch", "compiled", "device"):
        if other := samples.get(f"{name} {kind}"):
            found[kind] = {**describe(other), "ratio": other.median / mine.median}
    return found


def _describe_memory() -> dict[str, Any]:
    now, peak = host_memory_mib()
    return {"host_mib": now, "host_peak_mib": peak, "device_mib": device_memory_mib()}


def _describe_baselines(
    torch: TorchEngines,
    runs: list[Run],
    ours: list[Run],
    load: Workload,
    plan: Plan,
    samples: Mapping[str, Samples],
    notes: Mapping[str, Note],
) -> dict[str, Any]:
    found: dict[str, Any] = {"same_weights": list(torch.same_weights), "torch_device": torch.device}
    if "torch" in plan.baselines:
        wall = one_a_round(runs[0].wall_ms, (r.wall_ms for r in runs))
        ratio = wall.median / float(np.median([r.wall_ms for r in ours]))
        found["torch"] = {**describe(wall), "objects": runs[0].objects, "ratio": ratio}
    if "reference-schedule" in plan.baselines:
        found["reference_schedule"] = reference_schedule(torch, load, plan, notes)
    return found


def reference_schedule(
    torch: TorchEngines, load: Workload, plan: Plan, notes: Mapping[str, Note]
) -> dict[str, Any]:
    """The reference's schedule in PyTorch: its number of calls times the time of one, both stated.

    Running all of it would take minutes to hours; every kind of call is run and timed, none is
    guessed. samotion's schedule is run whole, with as many objects clicked on the first frame; the
    search for prompts is in neither.
    """
    frames, step = len(load.frames), load.settings.step or torch.preset.query_step_frames
    inputs = baselines.reference_inputs(notes)
    counts = baselines.reference_calls(load.hw, frames, step, plan.objects)
    # nano's motion map has no like there
    calls = {name: partial(torch[name], **inputs[name]) for name in inputs if name in counts}
    cost = measure(calls, runs=5, budget_s=plan.time_limit_s * 0.1)
    shares = {
        name: {"calls": counts[name], "call_ms": c.median, "total_ms": counts[name] * c.median}
        for name, c in cost.items()
    }
    recorder = Recorder(torch)
    tracks = load.settings.max_tracks or torch.preset.max_tracks
    start = time.perf_counter()
    follow(recorder, load, tracks)()
    propagate(recorder, load.frames, plan.objects)()
    wall = (time.perf_counter() - start) * 1000
    mine = recorder.times()
    compared = [name for name in mine if name in shares]
    theirs_ms = sum(shares[name]["total_ms"] for name in compared)
    ours_ms = sum(mine[name]["total_ms"] for name in compared)
    return {
        "points": baselines.reference_points(load.hw, frames, step),
        "tracks": tracks,
        "objects": plan.objects,
        "reference": shares,
        "samotion": mine,
        "samotion_wall_ms": wall,
        "compared": compared,
        "reference_ms": theirs_ms,
        "samotion_ms": ours_ms,
        "ratio": theirs_ms / ours_ms,
    }


def _curves(
    engines: Engines, load: Workload, plan: Plan, clock: Clock, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Cost against frames, tracks, objects and size, each with its line; those that the time is
    left for, and what it is not left for.
    """
    frames, settings = load.frames, load.settings
    short = frames[: max(4, len(frames) // 2)]
    lengths = spread(len(frames), least=4)
    counts = spread(settings.max_tracks or engines.preset.max_tracks)
    objects = spread(plan.objects, (0, 0.5, 1.0))
    smaller = [short[:, :: 1 << k, :: 1 << k] for k in (2, 1, 0)]
    jobs: dict[str, dict[float, Call]] = {
        "frames": {n: partial(segment_clip, frames[:n], engines, settings) for n in lengths},
        "tracks": {n: follow(engines, load, n) for n in counts},
        "objects": {n: propagate(engines, short, n) for n in objects},
        "megapixels": {
            f[0, ..., 0].size / 1e6: partial(
                segment_clip, np.ascontiguousarray(f), engines, settings
            )
            for f in smaller
        },
    }
    what = {
        "frames": "the whole pipeline, frames in memory",
        "tracks": f"the tracks stage, {len(frames)} frames",
        "objects": f"SAM 2 propagation, {len(short)} frames, image features included",
        "megapixels": f"the whole pipeline by frame size, {len(short)} frames in memory",
    }
    found, left_out = {}, []
    for behind, (name, points) in enumerate(jobs.items()):
        say(f"cost by {name}{left(clock.left or None)}")
        curve = _curve(what[name], name, points, clock.left / (len(jobs) - behind))
        if curve is None:
            left_out.append(name)
            continue
        found[name] = curve
        if missing := len(points) - len(curve["x"]):
            left_out.append(f"{name} ({missing} of {len(points)} points)")
    return found, left_out


def _curve(
    what: str, unit: str, points: Mapping[float, Call], budget_s: float
) -> dict[str, Any] | None:
    """Time every point once to warm up, then up to three times in turn, as far as the budget
    goes; points that are not timed after that are left out. None if all are.
    """
    end = time.monotonic() + budget_s
    calls: dict[float, list[float]] = {}
    for x, call in list(points.items()) * (1 + CURVE_REPEATS):
        if time.monotonic() < end:
            calls.setdefault(x, []).append(timed(call))
    found = {x: times[1:] for x, times in calls.items() if times[1:]}
    if not found:
        return None
    medians = [float(np.median(times)) for times in found.values()]
    slope, intercept = fit_line(list(found), medians) if len(found) > 1 else (None, None)
    return {
        "what": what,
        "unit": unit,
        "x": list(found),
        "median_ms": medians,
        "runs": min(map(len, found.values())),
        "slope_ms": slope,
        "intercept_ms": intercept,
    }
