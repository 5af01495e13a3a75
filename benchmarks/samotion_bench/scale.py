"""What a million clips a day ask for: machines, money, bytes and files, by simulation.

    python -m samotion_bench.scale
    python -m samotion_bench.scale --clips 50000

Clips of random lengths are handed to workers that are now and then lost, as spot machines are. The
numbers that go in are below, each with where it is from; docs/scale.md shows what comes out.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import typer

from samotion_bench.pages import table

DAY_S = 86_400
MILLION = 1_000_000
FILL = 0.85  # of a day that workers are planned to be busy: the rest is for losses and the tail

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Clips:
    """An archive: lengths are log-normal, `sigma` in natural logarithms."""

    median_frames: float = 200
    sigma: float = 0.8
    bytes_per_frame: float = 40_000  # 8 Mbit/s at 25 frames/s


@dataclass(frozen=True)
class Worker:
    """One process on its part of a machine.

    `frame_s`: seconds a frame of 854x480 with a few objects; `clip_s`: those that every clip costs;
    `start_s`: from nothing to opened engines; `hour_cost` in US dollars; `losses`: an hour.
    """

    name: str
    frame_s: float
    hour_cost: float
    source: str
    clip_s: float = 0.3
    start_s: float = 30
    losses: float = 0.05


WORKERS = (
    Worker("nano, 2 CPU cores", 0.40, 0.08, "measured: 0.40 s a frame, 0.9 s a clip", 0.9),
    Worker("fast, L4", 0.17, 0.70, "arithmetic at 60 TFLOP/s"),
    Worker("fast, RTX 4090", 0.062, 0.40, "arithmetic at 165 TFLOP/s"),
    Worker("fast, H200", 0.014, 3.50, "the goal for a clip of 100 frames"),
    Worker("reference, H200", 0.024, 3.50, "the goal for a clip of 100 frames"),
)


@dataclass(frozen=True)
class Saved:
    """What `--save` leaves behind."""

    name: str
    frame_bytes: float
    clip_bytes: float
    frame_files: float
    clip_files: float


# of the demo clip, 480x270, times 3.2 pixels where the size of pictures counts
SAVED = (
    Saved("what is always written: objects.json, run.json", 2_800, 12_000, 0, 2),
    Saved("masks", 8_500, 12_000, 1, 2),
    Saved("as samotion-run leaves it", 42_000, 60_000, 1, 5),
)


@dataclass(frozen=True)
class Outcome:
    """A simulated day. `tail_s`: from 99 % of the clips to the last one; `lost`: part of the work
    done twice.
    """

    workers: int
    hours: float
    tail_s: float
    busy: float
    lost: float
    cost_per_1000: float
    retried: int


def lengths(clips: Clips, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of each clip."""
    return np.maximum(2, np.round(clips.median_frames * np.exp(rng.normal(0, clips.sigma, count))))


def workers_for(work_s: float, clips: float, per_day: float = MILLION) -> int:
    """How many workers do `per_day` clips a day, of which `clips` take one `work_s`."""
    return max(1, math.ceil(work_s / clips * per_day / (DAY_S * FILL)))


def simulate(
    worker: Worker, frames: np.ndarray, count: int, rng: np.random.Generator, shards: bool = False
) -> Outcome:
    """Give all clips to `count` workers: from one queue, or in equal parts from the start."""
    seconds = worker.clip_s + worker.frame_s * frames
    queues = [list(seconds[k::count]) for k in range(count)] if shards else [list(seconds)]
    free = [(worker.start_s, k) for k in range(count)]
    heapq.heapify(free)
    ends, lost_s, retried = [], 0.0, 0
    next_in_queue = [0] * len(queues)
    next_loss = rng.exponential(3600 / worker.losses, count)
    while free:
        now, k = heapq.heappop(free)
        queue = k if shards else 0
        if next_in_queue[queue] == len(queues[queue]):
            continue
        end = now + queues[queue][next_in_queue[queue]]
        if end > next_loss[k]:  # the clip stays in its queue, the machine comes again
            lost_s += max(0.0, next_loss[k] - now)
            retried += next_loss[k] > now
            back = max(now, float(next_loss[k])) + worker.start_s
            next_loss[k] = back + rng.exponential(3600 / worker.losses)
            heapq.heappush(free, (back, k))
            continue
        next_in_queue[queue] += 1
        ends.append(end)
        heapq.heappush(free, (end, k))
    return _outcome(worker, count, np.sort(ends), float(seconds.sum()), lost_s, retried)


def _outcome(
    worker: Worker, count: int, ends: np.ndarray, work_s: float, lost_s: float, retried: int
) -> Outcome:
    span_s = float(ends[-1])
    hours = span_s / 3600
    return Outcome(
        workers=count,
        hours=hours,
        tail_s=span_s - float(ends[int(0.99 * (len(ends) - 1))]),
        busy=work_s / (span_s * count),
        lost=lost_s / work_s,
        cost_per_1000=worker.hour_cost * hours * count / len(ends) * 1000,
        retried=retried,
    )


def machine_rows(clips: Clips, count: int, seed: int = 0) -> list[list[str]]:
    """A row per kind of worker: what a million clips a day need of it.

    `count` clips are simulated, with as many workers less than for a million.
    """
    rows = []
    for worker in WORKERS:
        rng = np.random.default_rng(seed)
        frames = lengths(clips, count, rng)
        work_s = float((worker.clip_s + worker.frame_s * frames).sum())
        needed = workers_for(work_s, count)
        simulated = max(2, round(needed * count / MILLION))
        queue = simulate(worker, frames, simulated, rng)
        shards = simulate(worker, frames, simulated, rng, shards=True)
        rows.append(
            [
                worker.name,
                f"{work_s / count:.1f}",
                f"{needed}",
                f"{queue.cost_per_1000:.2f}",
                f"{100 * queue.lost:.2f}",
                f"{queue.tail_s:.0f}",
                f"{shards.tail_s:.0f}",
                worker.source,
            ]
        )
    return rows


def byte_rows(clips: Clips, count: int, seed: int = 0) -> list[list[str]]:
    """A row per choice of results: what a million clips a day read and write."""
    frames = float(lengths(clips, count, np.random.default_rng(seed)).mean())
    read = frames * clips.bytes_per_frame * MILLION / DAY_S
    rows = []
    for saved in SAVED:
        written = (frames * saved.frame_bytes + saved.clip_bytes) * MILLION
        files = (frames * saved.frame_files + saved.clip_files) * MILLION
        rows.append(
            [
                saved.name,
                f"{read / 1e6:.0f}",
                f"{written / DAY_S / 1e6:.0f}",
                f"{written / 1e12:.1f}",
                f"{files / DAY_S:.0f}",
                f"{files / 1e6:.0f}",
            ]
        )
    return rows


def loss_rows(clips: Clips, count: int, seed: int = 0) -> list[list[str]]:
    """A row per rate of lost machines, for nano: what losses cost."""
    rows = []
    for losses in (0.0, 0.05, 0.5, 2.0):
        rng = np.random.default_rng(seed)
        worker = replace(WORKERS[0], losses=max(losses, 1e-9))
        frames = lengths(clips, count, rng)
        work_s = float((worker.clip_s + worker.frame_s * frames).sum())
        simulated = max(2, round(workers_for(work_s, count) * count / MILLION))
        day = simulate(worker, frames, simulated, rng)
        rows.append(
            [f"{losses:g}", f"{day.hours:.1f}", f"{100 * day.lost:.2f}", f"{day.cost_per_1000:.2f}"]
        )
    return rows


def tables(count: int) -> str:
    """All of docs/scale.md's tables."""
    clips = Clips()
    machines = (
        *("worker", "s a clip", "workers for 1,000,000 a day", "$ per 1000 clips"),
        *("% done twice", "last 1 % takes, s", "with --shard, s", "seconds from"),
    )
    size = (
        *("--save", "read MB/s", "written MB/s", "written TB/day"),
        *("files/s", "million files/day"),
    )
    losses = ("losses an hour", "hours", "% done twice", "$ per 1000 clips")
    found = (
        table(machines, machine_rows(clips, count)),
        table(size, byte_rows(clips, count)),
        table(losses, loss_rows(clips, count)),
    )
    return "\n\n".join("\n".join(lines) for lines in found)


@app.command()
def main(clips: Annotated[int, typer.Option(help="Clips to simulate.", min=1000)] = 20_000) -> None:
    """Print what a million clips a day need."""
    print(tables(clips))


if __name__ == "__main__":
    app()
