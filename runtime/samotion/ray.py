"""Clips on a Ray cluster: Ray Data hands them out, retries what a lost worker had, and gathers
what became of them.

import os, ray, samotion.ray
paths = [os.path.abspath(path) for path in paths]
clips = ray.data.from_items([{"clip": path} for path in paths], override_num_blocks=len(paths))
segmenter = samotion.ray.ClipSegmenter
rows = clips.map(segmenter, fn_constructor_kwargs={"out": "/data/masks"}, concurrency=8, num_gpus=1)
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from samotion.backends.folder import engine_folder
from samotion.checks.arguments import instance_of, path_of
from samotion.commands.clip_job import ClipJob, worker
from samotion.commands.exits import explain
from samotion.commands.ledger import FAILED, Outcome, changed_ns, is_below
from samotion.commands.listing import Item
from samotion.commands.ray_cluster import connected, lack, room, threads
from samotion.commands.workers import ATTEMPTS, WorkerError, lost
from samotion.errors import InputError, OutputError, SamotionError, UsageError
from samotion.manifest import BUNDLED
from samotion.results.finished import other_clip
from samotion.results.folder import IN_USE, check_options, locate
from samotion.settings import Settings

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder

CLIP_COLUMNS = ("clip", "path", "item")  # the last two as Ray's own readers name them
MOST_BLOCKS = 10_000
PATIENCE_S, PAUSE_S = 300.0, 2.0  # with a clip that a lost worker still holds

__all__ = ["ClipSegmenter", "run"]


class ClipSegmenter:
    """A callable for `ray.data.Dataset.map`: a row that names a clip in, a row with what became of
    it out, its results below `out`.

    A row has the clip's path in `clip`, `path` or `item`, and may have `folder`, where its results
    go below `out` (None: the clip's name). The answer has the fields of
    `samotion.commands.ledger.Outcome`: a clip that fails is a row too, with its `exit_code` and
    `error`; `worker` is empty where no engines can be opened. One that is done already is passed
    over, so that what a lost worker had can be handed out again; one that another process is at is
    waited for, 5 minutes at most. It can be pickled; the engines are opened once, where the first
    row comes.

    On Ray all paths are absolute, for each worker has a working directory of its own: raises
    UsageError for an `out` or `engine_dir` that is not; a clip that is not has failed.
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
        folder = None if engine_dir is None else _absolute(engine_dir, "engine_dir")
        chosen = Settings() if settings is None else settings
        instance_of(chosen, Settings, "settings", "samotion.Settings(...)")
        place = _absolute(out, "out")
        self.job = ClipJob(place, folder, device, threads, chosen, kinds, overwrite)
        self._engines: EngineFolder | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Segment the clip of one row."""
        clip, folder = _named(row)
        if self._engines is not None and self._engines.is_lost:
            os._exit(1)  # Ray starts another actor, with a GPU that answers, and hands it the row
        try:
            item = _item(clip, folder)
        except SamotionError as error:
            return asdict(_failed(clip, str(folder or ""), error, worker()))
        try:
            if self._engines is None:
                self._engines = self.job.open_engines()
        except Exception as error:  # of one that is raised Ray keeps the text alone
            return asdict(_failed(clip, item.folder, error, ""))
        return asdict(self._do(item, self._engines, is_chosen=bool(folder)))

    def _do(self, item: Item, engines: EngineFolder, is_chosen: bool) -> Outcome:
        """Segment one clip; where a lost worker's process still holds it, when that has ended."""
        until = time.monotonic() + PATIENCE_S
        while True:
            if self.job.overwrite and not is_chosen and (other := self._other_clip(item)):
                return _failed(item.clip, item.folder, other, worker())
            outcome = self.job.do(item, engines)
            if IN_USE not in outcome.error or time.monotonic() > until:
                return outcome
            time.sleep(PAUSE_S)

    def _other_clip(self, item: Item) -> OutputError | None:
        """Why a clip may not overwrite what has its name: two of one name would do so in turn."""
        target = locate(self.job.out, item.folder)
        other = other_clip(target, item.clip)
        if not other:
            return None
        return OutputError(
            f"{str(target.tree)!r} holds a result of another clip, {other!r}; give its row a"
            " 'folder'"
        )

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
    `workers` None: as many as the cluster has room for. A clip that ends its worker is tried once
    more, and then has failed. Raises EngineError where there is no engine folder, DeviceError where
    Ray is missing, does not answer or has no such GPUs, WorkerError where engines cannot be opened.
    """
    engine_dir = _engine_dir(job)
    ray = connected(address)
    left = {os.path.abspath(item.clip): item for item in items}
    given = {path: item.clip for path, item in left.items()}
    count = workers or room(ray, gpus_per_worker)
    if missing := lack(ray, gpus_per_worker):
        logging.getLogger(__name__).warning("%s; waiting for some", missing)
    settings = {
        "out": os.path.abspath(job.out),
        "engine_dir": engine_dir,
        "device": job.device,
        "threads": job.threads or (None if gpus_per_worker else threads(ray, count)),
        "settings": job.settings,
        "save": job.save,
        "overwrite": job.overwrite,
    }
    before = 0
    while left and before != len(left):
        before = len(left)
        for outcome in _passed(ray, left, settings, count, gpus_per_worker):
            if not outcome.worker:
                raise WorkerError(outcome.error, outcome.exit_code)
            yield _as_given(outcome, given)
            del left[outcome.clip]
        if before <= MOST_BLOCKS:
            break  # else clips went down with another of their block
    for item in left.values():
        yield lost(item, f"no Ray worker came to the end of it in {ATTEMPTS} attempts")


def _passed(
    ray: Any,
    items: Mapping[str, Item],
    settings: Mapping[str, Any],
    count: int,
    gpus_per_worker: float,
) -> Iterator[Outcome]:
    """The outcomes of one pass through all items; none of blocks whose workers died too often."""
    rows = [{"clip": path, "folder": item.folder} for path, item in items.items()]
    blocks = min(len(rows), MOST_BLOCKS)  # one clip each, so that a lost worker costs one clip
    clips = ray.data.from_items(rows, override_num_blocks=blocks)
    # one block at a time, so that a worker that dies costs no other one of its attempts
    pool = ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of max_task_retries, from 2.60 on
        done = clips.map(
            ClipSegmenter,
            fn_constructor_kwargs=settings,
            compute=pool,
            num_gpus=gpus_per_worker or None,
            max_task_retries=ATTEMPTS - 1,
        )
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return (Outcome(**row) for row in _rows(done))


def _rows(dataset: Any) -> Iterator[dict[str, Any]]:
    """Each row when it comes; `iter_rows` keeps one back until there is another."""
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        yield from batch.to_pylist()


def _failed(clip: str, folder: str, error: Exception, by: str) -> Outcome:
    code, line = explain(error)
    changed = changed_ns(clip)
    return Outcome(clip, folder, FAILED, exit_code=code, error=line, worker=by, changed=changed)


def _as_given(outcome: Outcome, given: Mapping[str, str]) -> Outcome:
    """With the clip's path as it was given, in what went wrong too."""
    clip = given[outcome.clip]
    error = outcome.error.replace(repr(outcome.clip), repr(clip)).replace(outcome.clip, clip)
    return replace(outcome, clip=clip, error=error)


def _named(row: Mapping[str, Any]) -> tuple[str, Any]:
    """The clip's path and the folder that a row names."""
    clip = next((row[name] for name in CLIP_COLUMNS if name in row), None)
    if not isinstance(clip, (str, os.PathLike)):
        raise UsageError(
            f"a row has {', '.join(row) or 'nothing'}; expected the clip's path in 'clip'"
        )
    return os.fsdecode(clip), row.get("folder")


def _item(clip: str, folder: Any) -> Item:
    """Raises InputError or UsageError for what a worker cannot or must not go to."""
    from samotion.clips.video import clip_name

    if "\0" in clip:
        raise InputError(f"{clip!r} is no path; expected the clip's path in 'clip'")
    if _on_ray() and not os.path.isabs(clip):
        raise InputError(
            f"{clip!r} is a relative path, and each worker has a working directory of its own;"
            " give os.path.abspath of it"
        )
    if folder and not (isinstance(folder, str) and is_below(folder)):
        raise UsageError(f"folder {folder!r} is not below 'out'; expected a name as in 'day1/a'")
    return Item(clip, folder or clip_name(clip))


def _on_ray() -> bool:
    """Whether this process belongs to a Ray cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _absolute(path: str | os.PathLike[str], what: str) -> str:
    """The path as text. Raises UsageError for a relative one on Ray."""
    given = str(path_of(path, what))
    if _on_ray() and not os.path.isabs(given):
        raise UsageError(
            f"{what} is {given!r}, a relative path, and each worker has a working directory of its"
            f" own; give os.path.abspath({given!r})"
        )
    return given


def _engine_dir(job: ClipJob) -> str | None:
    """The engine folder that is meant here, for all workers; None for the bundled one, which may
    lie elsewhere on other machines.
    """
    folder = engine_folder(job.engine_dir)
    return None if folder == BUNDLED else os.path.abspath(folder)
