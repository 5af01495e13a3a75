"""Searches of the last frames of a live source: the method of the engines' preset finds in them
what moves, at once or on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.backends.threads import give_way, one_thread_for_numpy
from samotion.checks.stages import Stages
from samotion.results.result import Carried, Found, ObjectResult
from samotion.sam2.features import Features
from samotion.sam2.flow import Flow, Leap, joined
from samotion.sam2.forward import Follower, follower
from samotion.settings import Numbers

SAME_SHARE = 0.3  # of what is followed, inside what is found: masks dwindle between searches
FAR_FRAMES, LONGEST_LEAP = 8, 4  # so far behind, an answer catches up by longer leaps
MOST_LEAPS = 50  # that it takes; the rest is one
MOST_HELD = 100  # frames and their flow
PATIENCE_S = 0.2  # of each frame, while an answer catches up
PART_SHARE = 0.7  # of a mask inside another one, whose part it is
TOUCH_PX = 4  # between masks that touch
MANY_FRAMES = 24  # that move enough from one to the next but one


@dataclass
class Search:
    """A search of `frames` (T,H,W,3) uint8, the newest of which is the source's frame `number`.

    `masks` (H,W) bool: of the objects followed in that frame, by id; `since`: the way from there to
    the source's newest frame, in leaps.
    """

    number: int
    frames: np.ndarray
    carried: Carried
    masks: Mapping[int, np.ndarray]
    since: list[Leap] = field(default_factory=list)

    def pass_by(self, frame: np.ndarray, flow: Flow) -> None:
        """One more frame (H,W,3) has come since; `flow` leads back from it."""
        leap = Leap(frame, flow.back)
        if len(self.since) < MOST_HELD:
            self.since.append(leap)
        else:
            self.since[-1] = joined([self.since[-1], leap])


class Seen(NamedTuple):
    """An object that was found, its mask (H,W) bool in the frame that was searched, and `now`."""

    result: ObjectResult
    then: np.ndarray
    now: np.ndarray


class Answer(NamedTuple):
    """What was found, the objects' masks (H,W) bool in the frame that was searched, and what has
    followed them for `done` frames since, to where they are `later`.
    """

    found: Found
    masks: list[np.ndarray]
    followers: list[Follower]
    later: list[np.ndarray]
    done: int

    def arrive(self, search: Search, images: Features) -> list[Seen]:
        """The objects in the source's newest frame, the only one of `images`, largest first."""
        now, rest = self.later, search.since[self.done :]
        if rest:
            now = [one.follow(images, joined(rest)) for one in self.followers]
        return [Seen(*each) for each in zip(self.found.scored(), self.masks, now)]


class Stopped(Exception):
    """A search whose answer nobody wants any more."""


class Searcher:
    """Searches, one at a time: each waited for, or in the `background`."""

    def __init__(self, engines: Engines, numbers: Numbers, background: bool) -> None:
        self.pending: Search | None = None
        self._engines, self._numbers = engines, numbers
        if background:  # threads of an engine keep the priority of the one that opens it
            getattr(engines, "open_all", lambda: None)()
        self._pool = ThreadPoolExecutor(1, initializer=give_way) if background else None
        self._answer: Future[Answer] | None = None
        self._stopped = self._catches_up = False

    def begin(self, search: Search) -> None:
        """Begin a search; none may be pending."""
        self._stopped = self._catches_up = False
        if self._pool is None:
            self._answer = Future()
            self._answer.set_result(self._find(search))
        else:
            self._answer = self._pool.submit(self._find, search)
        self.pending = search

    def take(self) -> tuple[Search, Answer] | None:
        """The pending search with what it found, if it has ended. Raises what it raised.

        An answer that catches up is waited for a little, for else new frames come as fast as it is.
        """
        search, answer = self.pending, self._answer
        if answer is not None and self._catches_up:
            wait([answer], PATIENCE_S)
        if search is None or answer is None or not answer.done():
            return None
        self.pending = self._answer = None
        try:
            return None if self._stopped else (search, answer.result())
        finally:
            del answer  # an error would hold it, and it the error with the search's frames

    def drop(self) -> None:
        """Want the answer of the pending search no more."""
        self._stopped = True

    def close(self) -> None:
        """Search no further. Waits for the end of the pending search, which is broken off."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown()

    def _find(self, search: Search) -> Answer:
        with one_thread_for_numpy():
            stages = Stages(self._go_on)
            found = pipeline.find(
                self._engines, search.frames, self._numbers, stages, search.carried
            )
            return self._catch_up(search, found)

    def _catch_up(self, search: Search, found: Found) -> Answer:
        """Follow what was found through the frames that have come since, but the last, which may
        still change. Each leap is shorter than what is left.
        """
        masks = later = last_masks(found)
        if self._pool is None:  # no frame comes meanwhile
            return Answer(found, masks, [], masks, 0)
        images = Features(self._engines, search.frames[-1:])
        refine = pipeline.refine_of(self._engines)
        followers = [follower(self._engines, refine) for _ in masks]
        for one, mask in zip(followers, masks):
            one.prompt(images, mask)
        done, self._catches_up = 0, True
        for number in range(MOST_LEAPS):
            behind = len(search.since) - done
            if behind < 2 or not masks:
                break
            self._go_on()
            length = min(1 + behind // FAR_FRAMES, LONGEST_LEAP)
            leap = joined(search.since[done : done + length], asks=number % 2 == 0)
            images = Features(self._engines, leap.frame[None])
            later = [one.follow(images, leap) for one in followers]
            done += length
        return Answer(found, masks, followers, later, done)

    def _go_on(self, *_: object) -> None:
        if self._stopped:
            raise Stopped


def thinned(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Every second of many frames, and the last one: objects are found as well in half the time."""
    return [*frames] if len(frames) < MANY_FRAMES else [*frames][::-2][::-1]


def with_parts(seen: Sequence[Seen], followed: Mapping[int, np.ndarray]) -> list[Seen]:
    """The same, but those that touch and lie in one object that is followed are one: what moved as
    one stays so until it comes apart.
    """
    kept: list[Seen] = []
    owners: list[int | None] = []
    for one in seen:
        owner = _owner(one.then, followed)
        whole = next(
            (k for k, other in enumerate(kept) if _is_part(one, owner, other, owners[k])), None
        )
        if whole is None:
            kept.append(one)
            owners.append(owner)
        else:
            larger = kept[whole]
            kept[whole] = Seen(larger.result, larger.then | one.then, larger.now | one.now)
    return kept


def _owner(mask: np.ndarray, followed: Mapping[int, np.ndarray]) -> int | None:
    """The object that is followed in which most of a mask lies."""
    area = max(1, int(mask.sum()))
    return next((i for i, own in followed.items() if (own & mask).sum() / area > PART_SHARE), None)


def _is_part(one: Seen, owner: int | None, other: Seen, others: int | None) -> bool:
    """Whether both lie in the same object, and touch."""
    if owner is None or owner != others:
        return False
    near = cv2.dilate(one.then.astype(np.uint8), np.ones((2 * TOUCH_PX + 1,) * 2, np.uint8))
    return bool((near & other.then).any())


def last_masks(found: Found) -> list[np.ndarray]:
    """Where each object found is, (H,W) bool."""
    return [np.equal(found.labels[-1], label) for label in range(1, len(found.objects) + 1)]


def find_same(mask: np.ndarray, followed: Mapping[int, np.ndarray]) -> int | None:
    """The object that is followed, by its mask, where one has been found."""
    inside = {number: int((own & mask).sum()) for number, own in followed.items()}
    same = [number for number, px in inside.items() if px > SAME_SHARE * followed[number].sum()]
    return max(same, key=inside.__getitem__, default=None)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))
