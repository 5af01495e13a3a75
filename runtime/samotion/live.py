"""What moves before a camera: masks frame by frame, with no look ahead.

with samotion.live.Session(engines) as session:
    for frame in frames:
        print(session.push(frame).objects)

Every so often the last frames go through the method of the engines' preset, as a clip would:
that finds objects. From frame to frame they are followed by SAM 2, forward only.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.arguments import whole_number
from samotion.checks.stages import Stages
from samotion.clips.live import Newest
from samotion.clips.sizes import check_size, resized, scaled_hw
from samotion.errors import InputError, UsageError
from samotion.results.result import Carried, Found
from samotion.sam2.features import Features
from samotion.sam2.forward import Follower, follower
from samotion.settings import MAX_LABELS, Settings, resolve
from samotion.tracks import history
from samotion.tracks.queries import sample_queries

__all__ = ["LiveObject", "LiveResult", "Newest", "Session"]

Array = np.ndarray[Any, Any]

WINDOW_FRAMES = 25  # that are looked at together
EVERY_FRAMES = 15  # they are looked at again
PROMPT_EVERY = 4  # frames of these, and so the last one
TRACKS_SHARE = 3  # one in so many of a clip's tracks
SURE = 0.5  # confidence of an object that is followed from then on
SAME_IOU = 0.3  # of what is followed and what is found
UNSEEN_FRAMES = 25  # an object without a mask for so long has gone
UNFOUND_LOOKS = 4  # one that so many looks did not find again has come to rest
LONG_SIDE_PX = 480


@dataclass(frozen=True)
class LiveObject:
    """An object that is followed: its label, the mean motion score of its tracks and the
    probability that it moves by itself when it was last found, and the frame that it was first
    found in.

    Labels of objects that have gone are given again when 255 have been used up.
    """

    id: int
    score: float
    confidence: float
    since: int


@dataclass(frozen=True)
class LiveResult:
    """What is known with one frame: its number among those pushed, its time in s, `labels` (H,W)
    uint8 at the processing size (0 = static), the objects in view, and the time it took.
    """

    frame: int
    time_s: float
    labels: Array
    objects: list[LiveObject]
    latency_s: float


@dataclass
class _Followed:
    """An object, what follows it, and how long it has not been seen, or found again."""

    known: LiveObject
    follower: Follower
    mask: Array
    unseen: int = 0
    unfound: int = 0


class Session:
    """One live source. Sessions may share engines; what is known of a source is its session's.

    `window_frames` are looked at together, again after `every_frames`. Memory does not grow.
    `numbers`: the settings as they have met the preset. Raises UsageError for numbers out of range,
    and EngineError for engines that fail.
    """

    def __init__(
        self,
        engines: Engines,
        settings: Settings | None = None,
        window_frames: int = WINDOW_FRAMES,
        every_frames: int = EVERY_FRAMES,
    ) -> None:
        for name, value in (("window_frames", window_frames), ("every_frames", every_frames)):
            if whole_number(value, name) < 2:
                raise UsageError(f"{name} is {value}; expected 2 or more")
        asked = settings or Settings()
        numbers = resolve(asked, engines.preset)
        self.engines = engines
        self.numbers = replace(
            numbers,
            max_tracks=asked.max_tracks or max(1, numbers.max_tracks // TRACKS_SHARE),
            long_side_px=asked.long_side_px or min(LONG_SIDE_PX, numbers.long_side_px),
            prompt_every=asked.prompt_every or max(PROMPT_EVERY, numbers.prompt_every),
        )
        self._every = every_frames
        self._frames: deque[Array] = deque(maxlen=window_frames)
        self._objects: dict[int, _Followed] = {}
        self._count, self._next_look, self._next_id = 0, window_frames, 1
        self._source_hw: tuple[int, int] | None = None
        self._window_frames = window_frames
        self._history: history.History | None = None
        self._points: Array | None = None
        self._closed = False

    def push(self, frame: Array, time_s: float | None = None) -> LiveResult:
        """What moves in the next frame (H,W,3) uint8 RGB; `time_s`: when it was taken (None: its
        number at 24 frames/s). Raises InputError for a frame of another kind or size.
        """
        start = time.perf_counter()
        small = self._checked(frame)
        self._frames.append(small)
        with one_thread_for_numpy():
            images = Features(self.engines, small[None])
            self._track(small)
            self._follow(images)
            if self._count + 1 >= self._next_look:
                self._look(images)
                self._next_look = self._count + 1 + self._every
        number, self._count = self._count, self._count + 1
        return LiveResult(
            number,
            number / 24 if time_s is None else float(time_s),
            self._labels(small.shape[:2]),
            [one.known for one in self._objects.values() if one.mask.any()],
            time.perf_counter() - start,
        )

    def _checked(self, frame: Array) -> Array:
        """A frame at the processing size."""
        if self._closed:
            raise UsageError("the session is closed; begin another one")
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            shape = f"{frame.dtype}{list(frame.shape)}"
            raise InputError(f"the frame is {shape}; expected uint8 [H,W,3] in RGB")
        hw = frame.shape[0], frame.shape[1]
        check_size(hw, "the live source")
        if self._source_hw is None:
            self._begin(hw)
        elif hw != self._source_hw:
            wanted = f"{self._source_hw[1]}x{self._source_hw[0]}"
            raise InputError(
                f"the frame is {hw[1]}x{hw[0]}, those before were {wanted}; begin another session"
            )
        return np.array(resized(frame, scaled_hw(hw, self.numbers.long_side_px)))

    def _begin(self, hw: tuple[int, int]) -> None:
        """What needs the size of the first frame."""
        self._source_hw = hw
        if self.engines.preset.tracks.causal:
            self._history = history.begin(self.engines, self._window_frames)
            small_hw, numbers = scaled_hw(hw, self.numbers.long_side_px), self.numbers
            self._points = sample_queries(1, small_hw, 1, numbers.max_tracks, numbers.seed)[
                :, :0:-1
            ]

    def _follow(self, images: Features) -> None:
        """Bring all objects to the newest frame; those that have gone expire."""
        for one in self._objects.values():
            one.mask = one.follower.follow(images)
            one.unseen = 0 if one.mask.any() else one.unseen + 1
        self._expire()

    def _expire(self) -> None:
        self._objects = {
            number: one
            for number, one in self._objects.items()
            if one.unseen < UNSEEN_FRAMES and one.unfound < UNFOUND_LOOKS
        }

    def _track(self, frame: Array) -> None:
        """Follow points into the newest frame, where the preset's tracker needs no later ones."""
        if self._history is not None:
            self._history = history.advance(self.engines, frame, self._history, self._points)
            self._points = None

    def _look(self, images: Features) -> None:
        """Look for objects in the last frames, and go on with what is found in the newest one."""
        frames = np.stack(self._frames)
        past = self._history
        carried = Carried(tracks=None if past is None else history.as_tracks(past, images.hw))
        found = pipeline.find(self.engines, frames, self.numbers, Stages(), carried)
        if past is not None:
            most, seed = self.numbers.max_tracks, self.numbers.seed + self._count
            self._history, self._points = history.renewed(past, images.hw, most, seed)
        for one in self._objects.values():
            one.unfound += 1
        taken: set[int] = set()
        refine = pipeline.refine_of(self.engines)
        for result, mask in zip(found.scored(), _masks(found)):
            if not mask.any():
                continue
            number = self._same(mask, taken)
            if number is None and result.confidence < SURE:
                continue
            number = number or self._new_id()
            if number is None:
                break
            had = self._objects.get(number)
            since = had.known.since if had else self._count
            known = LiveObject(number, result.score, result.confidence, since)
            follow = had.follower if had else follower(self.engines, refine)
            follow.prompt(images, mask)
            self._objects[number] = _Followed(known, follow, mask)
            taken.add(number)
        self._expire()

    def _same(self, mask: Array, taken: set[int]) -> int | None:
        """The object that is followed where one has been found."""
        ious = {
            number: (one.mask & mask).sum() / (one.mask | mask).sum()
            for number, one in self._objects.items()
            if number not in taken
        }
        best = max(ious, key=ious.__getitem__, default=None)
        return best if best is not None and ious[best] > SAME_IOU else None

    def _new_id(self) -> int | None:
        """A label that no object has, the one given longest ago; None where there is none."""
        if len(self._objects) >= min(MAX_LABELS, self.numbers.max_objects):
            return None
        while self._next_id in self._objects:
            self._next_id = self._next_id % MAX_LABELS + 1
        number, self._next_id = self._next_id, self._next_id % MAX_LABELS + 1
        return number

    def _labels(self, hw: tuple[int, ...]) -> Array:
        """All masks as labels; smaller objects lie in front."""
        labels = np.zeros(hw, np.uint8)
        for number, one in sorted(self._objects.items(), key=lambda item: -int(item[1].mask.sum())):
            labels[one.mask] = number
        return labels

    def close(self) -> None:
        """Forget the source; the engines stay open."""
        self._closed = True
        self._frames.clear()
        self._objects.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _masks(found: Found) -> list[Array]:
    """Where each object found is in the last frame."""
    return [np.equal(found.labels[-1], label) for label in range(1, len(found.objects) + 1)]
