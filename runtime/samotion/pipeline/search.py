"""Searches of the last frames of a live source: the method of the engines' preset finds in them
what moves, at once or on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.stages import Stages
from samotion.results.result import Carried, Found
from samotion.sam2.flow import Flow, chained
from samotion.settings import Numbers

Array = np.ndarray[Any, Any]
SAME_IOU = 0.3  # of what is followed and what is found
MANY_FRAMES = 24  # that move enough from one to the next but one


@dataclass
class Search:
    """A search of `frames` (T,H,W,3) uint8, the newest of which is the source's frame `number`.

    `masks` (H,W) bool: of the objects followed in that frame, by id; `back`: the flow from the
    newest frame since then back to it, None in that frame itself.
    """

    number: int
    frames: Array
    carried: Carried
    masks: Mapping[int, Array]
    back: Array | None = None

    def pass_by(self, flow: Flow) -> None:
        """One more frame has come since."""
        self.back = chained(flow.back, self.back)


class Stopped(Exception):
    """A search whose answer nobody wants any more."""


class Searcher:
    """Searches, one at a time: each waited for, or in the `background`."""

    def __init__(self, engines: Engines, numbers: Numbers, background: bool) -> None:
        self.pending: Search | None = None
        self._engines, self._numbers = engines, numbers
        self._pool = ThreadPoolExecutor(1) if background else None
        self._answer: Future[Found] | None = None
        self._stopped = False

    def begin(self, search: Search) -> None:
        """Begin a search; none may be pending."""
        self.pending, self._answer, self._stopped = search, Future(), False
        if self._pool is None:
            self._answer.set_result(self._find(search))
        else:
            self._answer = self._pool.submit(self._find, search)

    def take(self) -> tuple[Search, Found] | None:
        """The pending search with what it found, if it has ended. Raises what it raised."""
        search, answer = self.pending, self._answer
        if search is None or answer is None or not answer.done():
            return None
        self.pending = self._answer = None
        return None if self._stopped else (search, answer.result())

    def drop(self) -> None:
        """Want the answer of the pending search no more."""
        self._stopped = True

    def close(self) -> None:
        """Search no further. Waits for the end of the pending search, which is broken off."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown()

    def _find(self, search: Search) -> Found:
        with one_thread_for_numpy():
            stages = Stages(self._go_on)
            return pipeline.find(
                self._engines, search.frames, self._numbers, stages, search.carried
            )

    def _go_on(self, *_: object) -> None:
        if self._stopped:
            raise Stopped


def thinned(frames: Sequence[Array]) -> list[Array]:
    """Every second of many frames, and the last one: objects are found as well in half the time."""
    return [*frames] if len(frames) < MANY_FRAMES else [*frames][::-2][::-1]


def last_masks(found: Found) -> list[Array]:
    """Where each object found is, (H,W) bool."""
    return [np.equal(found.labels[-1], label) for label in range(1, len(found.objects) + 1)]


def find_same(mask: Array, followed: Mapping[int, Array]) -> int | None:
    """The object that is followed, by its mask, where one has been found."""
    ious = {number: iou(mask, other) for number, other in followed.items()}
    best = max(ious, key=ious.__getitem__, default=None)
    return best if best is not None and ious[best] > SAME_IOU else None


def iou(a: Array, b: Array) -> float:
    """Of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))
