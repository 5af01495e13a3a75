"""Jobs that a batch's processes do without engines: what happens to a clip is in its name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samotion.commands.clip_job import ClipJob, worker
from samotion.commands.ledger import FAILED, Outcome, changed_ns
from samotion.commands.listing import Item
from samotion.errors import EngineError
from samotion.results.record import DONE


@dataclass
class OpenedNothing:
    """What stands for open engines."""

    device: str
    is_lost: bool = False

    def __enter__(self) -> OpenedNothing:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class NamedJob(ClipJob):
    """Counts in a file how often a clip was begun; `dies` kills the process, `dies_once` the first
    time only. The GPU meets a fault at `faulty`, at `faulty_once` the first time only; nothing that
    comes after it in the same process can be done. `waits` waits for a file `told`.
    """

    def open_engines(self) -> Any:
        if self.engine_dir == "missing":
            raise EngineError("no engines in 'missing'")
        return OpenedNothing("cuda" if self.device == "auto" else self.device)

    def do(self, item: Item, engines: Any, progress: Any = None) -> Outcome:
        begun = Path(self.out, f"{item.folder}.begun")
        times = int(begun.read_text()) + 1 if begun.exists() else 1
        begun.write_text(str(times))
        name = Path(item.clip).stem
        if name == "dies" or (name == "dies_once" and times == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "waits" and not _comes(Path(self.out, "told")):
            return Outcome(item.clip, item.folder, FAILED, error="error: late", worker=worker())
        engines.is_lost |= name == "faulty" or (name == "faulty_once" and times == 1)
        if name == "bad" or engines.is_lost:
            changed = changed_ns(item.clip)
            return Outcome(
                item.clip, item.folder, FAILED, exit_code=3, error="error: bad", changed=changed
            )
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        return Outcome(item.clip, item.folder, DONE, 1.0, 4, 1, worker=f"{worker()} {gpu}")


def _comes(path: Path, within_s: float = 30.0) -> bool:
    until = time.monotonic() + within_s
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return path.exists()
