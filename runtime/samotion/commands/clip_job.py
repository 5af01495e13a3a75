"""One clip through to its files: what a process, a worker of a batch or of a cluster does."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from samotion.checks.stages import Progress, silent
from samotion.commands import exits
from samotion.commands.again import run_info
from samotion.commands.ledger import FAILED, SKIPPED, Outcome, changed_ns
from samotion.commands.listing import Item
from samotion.results.record import DONE
from samotion.settings import Settings

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder


@dataclass(frozen=True)
class ClipJob:
    """What is done with every clip of a batch. It can be pickled; engines are opened where it runs.

    `save` None: all that layout `clip` holds. `threads` None: all cores.
    """

    out: str
    engine_dir: str | None = None
    device: str = "auto"
    threads: int | None = None
    settings: Settings = field(default_factory=Settings)
    save: tuple[str, ...] | None = None
    overwrite: bool = False

    def open_engines(self) -> EngineFolder:
        """The engines, every one of them opened, so that what is missing shows at once."""
        from samotion.backends.engines import open_engines
        from samotion.settings import resolve

        engines = open_engines(self.engine_dir, self.device, self.threads, for_clips=True)
        try:
            resolve(self.settings, engines.preset)
            engines.open_all()
        except BaseException:
            engines.close()
            raise
        return engines

    def do(self, item: Item, engines: EngineFolder, progress: Progress = silent) -> Outcome:
        """Segment one clip into its folder, unless that is done already. A failure is an outcome
        too.
        """
        start = time.perf_counter()
        outcome = Outcome(
            item.clip, item.folder, FAILED, worker=worker(), changed=changed_ns(item.clip)
        )
        try:
            status, found = self._segment(item, engines, progress)
        except Exception as error:
            code, line = exits.explain(error)
            outcome = replace(outcome, exit_code=code, error=line)
        else:
            outcome = replace(outcome, status=status, frames=found[0], objects=found[1])
        return replace(outcome, seconds=round(time.perf_counter() - start, 3))

    def _segment(
        self, item: Item, engines: EngineFolder, progress: Progress
    ) -> tuple[str, tuple[int, int]]:
        """Done or skipped, and how many frames and objects the result has."""
        from samotion import pipeline
        from samotion.results.finished import make_request
        from samotion.results.folder import is_finished, locate, refuse_links, reserve
        from samotion.results.record import counts, read_record

        place = PurePosixPath(item.folder)
        refuse_links(*(Path(self.out, between) for between in place.parents[:-1]))
        target = locate(Path(self.out, *place.parts[:-1]), place.name, self.save)
        request = make_request(item.clip, target, self.settings, engines)
        if not self.overwrite and is_finished(target, request):
            return SKIPPED, counts(read_record(target))
        with reserve(target, self.overwrite, request):
            info = run_info(self, item.clip, target, request, engines)
            result = pipeline.segment_to(target, item.clip, engines, self.settings, progress, info)
        return DONE, (len(result.labels), len(result.objects))


def worker() -> str:
    """This process, as a ledger names it."""
    return f"{socket.gethostname()}:{os.getpid()}"
