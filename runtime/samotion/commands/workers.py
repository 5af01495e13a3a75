"""Processes that do the clips of a batch: one a GPU, or several on a CPU.

Each opens its engines once. One that dies, of a crash or for lack of memory, takes no other with
it: a new one takes its place and its clip is tried once more. So it is with one whose GPU met a
fault, after which CUDA answers nothing in that process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from samotion.commands import exits
from samotion.commands.clip_job import ClipJob
from samotion.commands.ledger import FAILED, Outcome, changed_ns
from samotion.commands.listing import Item
from samotion.contract import ON_GPU
from samotion.errors import DeviceError, SamotionError

ATTEMPTS = 2  # at a clip whose process dies
PATIENCE_S = 10.0  # for all processes to take their locks and half files along
VISIBLE = "CUDA_VISIBLE_DEVICES"
_SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork


class WorkerError(SamotionError):
    """No process can open the engines."""

    def __init__(self, line: str, code: int = 1) -> None:
        super().__init__(line.removeprefix("error: "))
        self.exit_code = code


class _Refusal(NamedTuple):
    """What a process says that cannot open the engines: the error's line and exit code."""

    line: str
    code: int


class _Fault(NamedTuple):
    """The last that is heard of a process: what became of a clip at which its GPU met a fault, or
    None where it just died.
    """

    outcome: Outcome | None


def run(job: ClipJob, items: Iterable[Item], places: Sequence[str | None]) -> Iterator[Outcome]:
    """The outcome of every item, as they come, from one process for each of `places`.

    A place is the GPU that a process sees (None: all that there are). Raises WorkerError where
    engines cannot be opened. Whatever ends the loop ends the processes.
    """
    waiting = deque((item, 1) for item in items)
    workers = [_Worker(job, place) for place in places[: max(1, len(waiting))]]
    try:
        while waiting or any(worker.task for worker in workers):
            for worker in _ready(workers):
                yield from _attend(worker, waiting)
    finally:
        for worker in workers:
            worker.end()
        until = time.monotonic() + PATIENCE_S
        for worker in workers:
            worker.wait(until)


class _Worker:
    """A process and the pipe to it; `task`: the item that it is at, and which attempt this is;
    `ready`: whether its engines are open.
    """

    def __init__(self, job: ClipJob, place: str | None) -> None:
        self.job, self.place = job, place
        self.task: tuple[Item, int] | None = None
        self.start()

    def start(self) -> None:
        """Begin with a new process."""
        self.ready = False
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(
            target=_work, args=(theirs, self.job, self.place), daemon=True
        )
        with exits.handled({signal.SIGINT: signal.SIG_IGN}):  # so it ignores Ctrl-C from the start
            self.process.start()
        theirs.close()

    def send(self, task: tuple[Item, int]) -> None:
        """Give it its next item."""
        self.task = task
        with suppress(OSError):  # it died: the next look at it tells
            self.pipe.send(task[0])

    def end(self) -> None:
        """Ask it to end, whatever it is at. One that waits for more to do ends with its pipe."""
        self.pipe.close()
        if self.task or not self.ready:
            self.process.terminate()

    def wait(self, until_s: float) -> None:
        """Wait for its end up to a time of `time.monotonic`; then it has to."""
        self.process.join(max(0.0, until_s - time.monotonic()))
        self.process.kill()
        self.process.join()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Those that have said something or died."""
    there = set(wait([worker.pipe for worker in workers]))
    return [worker for worker in workers if worker.pipe in there]


def _attend(worker: _Worker, waiting: deque[tuple[Item, int]]) -> Iterator[Outcome]:
    """Hear what a worker says, and give it more to do."""
    said: Any
    try:
        said = worker.pipe.recv()
    except (EOFError, OSError):
        said = _Fault(None)
    if isinstance(said, _Fault):
        yield from _bury(worker, waiting, said.outcome)
        worker.start()
        return
    if isinstance(said, _Refusal):
        raise WorkerError(*said)
    worker.task, worker.ready = None, True
    if isinstance(said, Outcome):
        yield said
    if waiting:
        worker.send(waiting.popleft())


def _bury(
    worker: _Worker, waiting: deque[tuple[Item, int]], told: Outcome | None
) -> Iterator[Outcome]:
    """Its item goes back into the row, or has failed if it ended so before. One that waited for
    more to do had none.
    """
    worker.process.join()
    task, worker.task = worker.task, None
    how = _death(worker.process.exitcode)
    if task is None:
        if worker.ready:
            return
        raise WorkerError(f"a process {how} while it opened the engines; run samotion-check")
    item, attempt = task
    if attempt < ATTEMPTS:
        waiting.appendleft((item, attempt + 1))
        return
    yield told or lost(item, f"the process {how}, {attempt} times")


def lost(item: Item, how: str) -> Outcome:
    """Of a clip that no process came to the end of; `how` says what became of them."""
    return Outcome(
        item.clip,
        item.folder,
        FAILED,
        exit_code=1,
        error=f"error: {how}; is there memory enough? try it alone with samotion-run, or a smaller"
        " --max-tracks",
        changed=changed_ns(item.clip),
    )


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _work(pipe: Connection, job: ClipJob, place: str | None) -> None:
    """A worker's life: open the engines, then one item after the other until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the batch ends its workers
    _die_with_parent()
    try:
        if place is not None:
            os.environ[VISIBLE] = _visible(place)  # before anything of CUDA is loaded
        engines = job.open_engines()
        if place is not None and engines.device not in ON_GPU:
            raise DeviceError(
                f"--gpus {place}: the engines would run on the CPU; samotion-check tells why, or"
                " leave out --gpus"
            )
    except Exception as error:
        code, line = exits.explain(error)
        pipe.send(_Refusal(line, code))
        return
    try:
        terminates = exits.handled({signal.SIGTERM: exits.terminate})
        with engines, suppress(EOFError, BrokenPipeError), terminates:
            pipe.send(None)  # ready
            while True:
                outcome = job.do(pipe.recv(), engines)
                if outcome.status == FAILED and engines.is_lost:
                    pipe.send(_Fault(outcome))
                    os._exit(1)  # closing would ask the GPU
                pipe.send(outcome)
    except exits.Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it came where it may still be raised
        signal.raise_signal(signal.SIGTERM)  # now it ends the process


def _visible(place: str) -> str:
    """A GPU of --gpus for CUDA_VISIBLE_DEVICES. Where that is set already, as by a scheduler, CUDA
    counts those that it names alone, and so does --gpus.
    """
    allowed = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    if not allowed or not place.isdecimal():
        return place
    if int(place) >= len(allowed):
        raise DeviceError(
            f"--gpus {place}: {VISIBLE}={os.environ[VISIBLE]} shows {len(allowed)} of them, counted"
            " from 0"
        )
    return allowed[int(place)]


def _die_with_parent() -> None:
    """End at once when the batch is killed: the next one wants the clip that this is at."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
