"""Jobs of a batch that really segment clips, with the engines of the long scene."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from samotion.commands.clip_job import ClipJob, worker
from samotion.commands.ledger import Outcome
from samotion.commands.listing import Item

from helpers import long_scene


@dataclass(frozen=True)
class SceneJob(ClipJob):
    """Notes each clip in a file of `out` when it is begun; the first process that comes to clip
    `dies_once` is killed in the middle of it.
    """

    def open_engines(self) -> Any:
        engines = long_scene.engines()
        engines.manifest, engines.folder = SimpleNamespace(engines={}), Path("scene")
        engines.close, engines.is_lost = lambda: None, False
        return engines

    def do(self, item: Item, engines: Any, progress: Any = None) -> Outcome:
        with Path(self.out, f"{item.folder}.begun").open("a") as begun:
            begun.write(f"{worker()}\n")
        times = len(Path(begun.name).read_text().splitlines())
        if item.folder == "dies_once" and times == 1:
            engines["depth"] = _die
        return super().do(item, engines)


def _die(**_: np.ndarray) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
