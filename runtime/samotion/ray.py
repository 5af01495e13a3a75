"""Clips on a Ray cluster: Ray Data hands them out, retries what a lost worker had, and gathers
what became of them.

import ray, samotion.ray
clips = ray.data.from_items([{"clip": path} for path in paths], override_num_blocks=len(paths))
segmenter = samotion.ray.ClipSegmenter
rows = clips.map(segmenter, fn_constructor_kwargs={"out": "/data/masks"}, concurrency=8, num_gpus=1)
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from samotion.checks.arguments import instance_of, path_of
from samotion.commands.clip_job import ClipJob
from samotion.commands.exits import explain
from samotion.commands.ledger import FAILED, Outcome
from samotion.commands.listing import Item
from samotion.commands.workers import WorkerError
from samotion.errors import DeviceError, SamotionError, UsageError
from samotion.results.folder import check_options
from samotion.settings import Settings

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder

INSTALL = "pip install 'samotion[ray]'"
CLIP_COLUMNS = ("clip", "path", "item")  # the last two as Ray's own readers name them
MOST_BLOCKS = 10_000
LOCAL = "local"

__all__ = ["ClipSegmenter", "run"]


class ClipSegmenter:
    """A callable for `ray.data.Dataset.map`: a row that names a clip in, a row with what became of
    it out, its results below `out`.

    A row has the clip's path in `clip`, `path` or `item`, and may have `folder`, where its results
    go below `out` (None: the clip's name). The answer has the fields of
    `samotion.commands.ledger.Outcome`: a clip that fails is a row too, with its `exit_code` and
    `error`; `worker` is empty where no engines can be opened. One that is done already is passed
    over, so that what a lost worker had can be handed out again. It can be pickled; the engines are
    opened once, where the first row comes.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        engine_dir: str | os.PathLike[str] | None = None,
        device: str = "auto",
        threads: int | None = None,
        settings: Settings | None = None,
        save: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> None:
        kinds = None if save is None else check_options(save, "clip")
        folder = None if engine_dir is None else str(path_of(engine_dir, "engine_dir"))
        chosen = Settings() if settings is None else settings
        instance_of(chosen, Settings, "settings", "samotion.Settings(...)")
        place = str(path_of(out, "out"))
        self.job = ClipJob(place, folder, device, threads, chosen, kinds, overwrite)
        self._engines: EngineFolder | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Segment the clip of one row."""
        item = _item(row)
        if self._engines is not None and self._engines.is_lost:
            os._exit(1)  # Ray starts another actor, with a GPU that answers, and hands it the row
        try:
            if self._engines is None:
                self._engines = self.job.open_engines()
        except SamotionError as error:  # of one that is raised Ray keeps the text alone
            code, line = explain(error)
            return asdict(Outcome(item.clip, item.folder, FAILED, exit_code=code, error=line))
        return asdict(self.job.do(item, self._engines))

    def __getstate__(self) -> dict[str, Any]:
        """Engines stay where they were opened."""
        return {"job": self.job, "_engines": None}

    def close(self) -> None:
        """Give the engines back."""
        if self._engines is not None:
            self._engines.close()
            self._engines = None


def run(
    job: ClipJob,
    items: Sequence[Item],
    address: str,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
) -> Iterator[Outcome]:
    """The outcome of every item, as they come, from the Ray cluster at `address`.

    `auto` is the cluster that this machine belongs to, `local` a new one on this machine alone.
    `workers` None: as many as the cluster has room for. Raises DeviceError where Ray is missing or
    does not answer, WorkerError where engines cannot be opened.
    """
    ray = _connected(address)
    rows = [{"clip": os.path.abspath(item.clip), "folder": item.folder} for item in items]
    given = {os.path.abspath(item.clip): item.clip for item in items}
    count = workers or _room(ray, gpus_per_worker)
    blocks = min(len(rows), MOST_BLOCKS)  # one clip each, so that a lost worker costs one clip
    clips = ray.data.from_items(rows, override_num_blocks=blocks)
    settings = {
        "out": os.path.abspath(job.out),
        "engine_dir": job.engine_dir and os.path.abspath(job.engine_dir),
        "device": job.device,
        "threads": job.threads or (None if gpus_per_worker else _threads(ray, count)),
        "settings": job.settings,
        "save": job.save,
        "overwrite": job.overwrite,
    }
    done = clips.map(
        ClipSegmenter,
        fn_constructor_kwargs=settings,
        concurrency=count,
        num_gpus=gpus_per_worker or None,
    )
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for row in done.iter_rows():
        outcome = Outcome(**row)
        if not outcome.worker:
            raise WorkerError(outcome.error, outcome.exit_code)
        yield _as_given(outcome, given)


def _as_given(outcome: Outcome, given: Mapping[str, str]) -> Outcome:
    """With the clip's path as it was given, in what went wrong too."""
    clip = given[outcome.clip]
    error = outcome.error.replace(repr(outcome.clip), repr(clip)).replace(outcome.clip, clip)
    return replace(outcome, clip=clip, error=error)


def _item(row: Mapping[str, Any]) -> Item:
    from samotion.clips.video import clip_name

    clip = next((row[name] for name in CLIP_COLUMNS if name in row), None)
    if not isinstance(clip, (str, os.PathLike)):
        raise UsageError(
            f"a row has {', '.join(row) or 'nothing'}; expected the clip's path in 'clip'"
        )
    clip = os.fsdecode(clip)
    return Item(clip, row.get("folder") or clip_name(clip))


def _connected(address: str) -> Any:
    """Ray, with a cluster."""
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise DeviceError(f"Ray is not installed ({error}); {INSTALL}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # samotion-batch tells of each clip
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send them
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DeviceError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with: ray start --head,"
            " or give --ray local"
        ) from error
    finally:
        # Ray puts its own in its place
        if sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)
    return ray


def _room(ray: Any, gpus_per_worker: float) -> int:
    """How many workers the cluster has room for."""
    there = ray.cluster_resources()
    if gpus_per_worker:
        return max(1, int(there.get("GPU", 0) / gpus_per_worker))
    return max(1, int(there.get("CPU", 1)))


def _threads(ray: Any, workers: int) -> int:
    """CPU threads of each of so many workers: their share of the cluster's cores."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
