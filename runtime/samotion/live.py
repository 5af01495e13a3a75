"""What moves before a camera: masks frame by frame, with no look ahead.

with samotion.live.Session(engines) as session:
    for frame in frames:
        print(session.push(frame).objects)

Every so often the last frames go through the method of the engines' preset, as a clip would:
that finds objects. From frame to frame they are followed by SAM 2, forward only. A search takes as
long as many frames. It is waited for, or made in the background: then frames are answered at once,
and what is found is followed, in leaps, to the frame that has come by then.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.arguments import preset_of, whole_number
from samotion.clips.arrays import check_frame
from samotion.clips.cuts import LASTS_FRAMES, Cuts
from samotion.clips.live import Newest
from samotion.clips.sizes import check_size, resized, scaled_hw
from samotion.errors import InputError, UsageError
from samotion.pipeline.search import Answer, Search, Searcher, find_same, iou, thinned, with_parts
from samotion.presets import MAX_LABELS
from samotion.results.result import Carried, ObjectResult
from samotion.sam2.features import Features
from samotion.sam2.flow import Flow
from samotion.sam2.forward import Follower, follower
from samotion.settings import Settings, resolve
from samotion.tracks import history
from samotion.tracks.queries import sample_queries

__all__ = ["LiveObject", "LiveResult", "Newest", "Session"]


WINDOW_FRAMES = 25  # that are searched together
FIRST_FRAMES = 13  # of a source, or as many as a window has, are searched at first
EVERY_FRAMES = 15  # later they are searched again
TRACKS_SHARE = 3  # one in so many of a clip's tracks
SURE = 0.5  # confidence of an object that is followed from then on
WELL_FOLLOWED_IOU = 0.8  # better than what flow brings from an earlier frame
UNSEEN_FRAMES = 25  # an object without a mask for so long has gone
# one that so many searches did not find again has come to rest; or as many as found it, for ground
# is seldom found twice
UNFOUND_SEARCHES = 4
LONG_SIDE_PX = 480


@dataclass(frozen=True)
class LiveObject:
    """An object that is followed: its id, which no other object of the session ever has, the mean
    motion score of its tracks and the probability that it moves by itself when it was last found,
    and the frame that it was first found in.

    Its `label` is its id, up to 255; then labels of objects that have gone are given again.
    """

    id: int
    score: float
    confidence: float
    since: int

    @property
    def label(self) -> int:
        """What its px have in `LiveResult.labels`."""
        return label_of(self.id)


def label_of(number: int) -> int:
    """The label, 1 to 255, of the object with this id."""
    return (number - 1) % MAX_LABELS + 1


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What is known with one frame: its number among those pushed, its time in s, `labels` (H,W)
    uint8 at the processing size (0 = static), the objects in view, and the time it took.
    """

    frame: int
    time_s: float
    labels: np.ndarray
    objects: list[LiveObject]
    latency_s: float


@dataclass
class _Followed:
    """An object, what follows it, in how many searches it was found, and how long it has not been
    seen, or found again.
    """

    known: LiveObject
    follower: Follower
    mask: np.ndarray
    found: int = 0
    unseen: int = 0
    unfound: int = 0


class Session:
    """One live source. Sessions may share engines; what is known of a source is its session's.

    The last `window_frames` are searched, again after `every_frames`. A search is waited for, so
    that the same frames give the same masks; in the `background` no frame waits. A scene cut makes
    the session forget its objects. Memory does not grow. `numbers`: the settings as they have met
    the preset; `searches`: how many were answered. Raises UsageError for numbers out of range, and
    EngineError for engines that fail.
    """

    def __init__(
        self,
        engines: Engines,
        settings: Settings | None = None,
        window_frames: int = WINDOW_FRAMES,
        every_frames: int = EVERY_FRAMES,
        background: bool = False,
    ) -> None:
        for name, value in (("window_frames", window_frames), ("every_frames", every_frames)):
            if whole_number(value, name) < 2:
                raise UsageError(f"{name} is {value}; expected 2 or more")
        asked = Settings() if settings is None else settings
        numbers = resolve(asked, preset_of(engines))
        self.engines = engines
        self.numbers = replace(
            numbers,
            max_tracks=asked.max_tracks or max(1, numbers.max_tracks // TRACKS_SHARE),
            long_side_px=asked.long_side_px or min(LONG_SIDE_PX, numbers.long_side_px),
            # the last frame's masks are all that is used
            prompt_every=asked.prompt_every or window_frames - 1,
        )
        self._every, self._window_frames = every_frames, window_frames
        # an online tracker tells of whole windows
        is_causal = engines.preset.tracks.causal
        self._first = window_frames if is_causal else min(FIRST_FRAMES, window_frames)
        self._frames: deque[np.ndarray] = deque(maxlen=window_frames)
        self._objects: dict[int, _Followed] = {}
        self._count, self._next_search, self._next_id = 0, self._first, 1
        self._source_hw: tuple[int, int] | None = None
        self._history: history.History | None = None
        self._points: np.ndarray | None = None
        self._flow, self._cuts = Flow(), Cuts()
        self._searcher, self.searches = Searcher(engines, self.numbers, background), 0
        self._closed = False

    def push(self, frame: np.ndarray, time_s: float | None = None) -> LiveResult:
        """What moves in the next frame (H,W,3) uint8 RGB; `time_s`: when it was taken (None: its
        number at 24 frames/s). Raises InputError for a frame of another kind or size.
        """
        start = time.perf_counter()
        small = self._checked(frame)
        self._count += 1
        self._frames.append(small)
        self._flow.push(small)
        if self._cuts.push(small):
            self._begin_scene()
        with one_thread_for_numpy():
            images = Features(self.engines, small[None])
            self._track(small)
            self._follow(images)
            self._search()
            if answer := self._searcher.take():
                self.searches += 1
                self._go_on_with(*answer, images)
        number = self._count - 1
        return LiveResult(
            number,
            number / 24 if time_s is None else float(time_s),
            self._labels(small.shape[:2]),
            [one.known for one in self._objects.values() if one.mask.any()],
            time.perf_counter() - start,
        )

    def _checked(self, frame: np.ndarray) -> np.ndarray:
        """A frame at the processing size."""
        if self._closed:
            raise UsageError("the session is closed; begin another one")
        check_frame(frame)
        hw = frame.shape[0], frame.shape[1]
        check_size(hw, "the live source")
        if self._source_hw is None:
            self._source_hw = hw
            self._begin_tracks(hw)
        elif hw != self._source_hw:
            wanted = f"{self._source_hw[1]}x{self._source_hw[0]}"
            raise InputError(
                f"the frame is {hw[1]}x{hw[0]}, those before were {wanted}; begin another session"
            )
        return np.array(resized(frame, scaled_hw(hw, self.numbers.long_side_px)))

    def _begin_scene(self) -> None:
        """Another scene began a moment ago: nothing before it counts."""
        self._searcher.drop()
        self._objects.clear()
        for _ in range(len(self._frames) - LASTS_FRAMES):
            self._frames.popleft()
        self._next_search = self._count + self._first - len(self._frames)
        if self._source_hw is not None:
            self._begin_tracks(self._source_hw)

    def _begin_tracks(self, hw: tuple[int, int]) -> None:
        """Points to follow, where the preset's tracker needs no later frames."""
        if self.engines.preset.tracks.causal:
            self._history = history.begin(self.engines, self._window_frames)
            small_hw, numbers = scaled_hw(hw, self.numbers.long_side_px), self.numbers
            self._points = sample_queries(1, small_hw, 1, numbers.max_tracks, numbers.seed)[
                :, :0:-1
            ]

    def _follow(self, images: Features) -> None:
        """Bring all objects to the newest frame; those that have gone expire."""
        for one in self._objects.values():
            one.mask = one.follower.follow(images, self._flow)
            one.unseen = 0 if one.mask.any() else one.unseen + 1
        self._expire()

    def _expire(self) -> None:
        self._objects = {
            number: one
            for number, one in self._objects.items()
            if one.unseen < UNSEEN_FRAMES and one.unfound < min(one.found, UNFOUND_SEARCHES)
        }

    def _track(self, frame: np.ndarray) -> None:
        """Follow points into the newest frame, where the preset's tracker needs no later ones."""
        if self._history is not None:
            self._history = history.advance(self.engines, frame, self._history, self._points)
            self._points = None

    def _search(self) -> None:
        """Search the last frames for objects, if it is time, and no search is pending."""
        if self._searcher.pending is not None:
            self._searcher.pending.pass_by(self._frames[-1], self._flow)
        elif self._count >= self._next_search:
            newest, past = self._count - 1, self._history
            frames = np.stack(self._frames if past is not None else thinned(self._frames))
            hw = frames.shape[1], frames.shape[2]
            tracks = None if past is None else history.as_tracks(past, hw)
            carried = Carried(tracks=tracks, only_last=True)
            if past is not None:
                most, seed = self.numbers.max_tracks, self.numbers.seed + newest
                self._history, self._points = history.renewed(past, hw, most, seed)
            masks = {number: one.mask for number, one in self._objects.items()}
            self._next_search = self._count + self._every
            self._searcher.begin(Search(newest, frames, carried, masks))

    def _go_on_with(self, search: Search, answer: Answer, images: Features) -> None:
        """Follow what a search has found, from the newest frame on."""
        there = {number: search.masks[number] for number in self._objects if number in search.masks}
        for number in there:
            self._objects[number].unfound += 1
        for result, then, now in with_parts(answer.arrive(search, images), there):
            same = find_same(then, there)
            if not then.any() or (same is None and result.confidence < SURE):
                continue
            one = same or self._new_id()
            if one is None:
                continue
            is_well_followed = one in there and iou(then, there[one]) > WELL_FOLLOWED_IOU
            if now.any() and not (search.since and is_well_followed):
                self._prompt(one, search.number, now, images)
            self._confirm(one, result)
            there.pop(one, None)
        self._expire()

    def _prompt(self, number: int, since: int, mask: np.ndarray, images: Features) -> None:
        """Follow an object that has the mask (H,W) in the newest frame."""
        had = self._objects.get(number)
        follow = had.follower if had else follower(self.engines, pipeline.refine_of(self.engines))
        follow.prompt(images, mask)
        known = had.known if had else LiveObject(number, 0.0, 0.0, since)
        self._objects[number] = _Followed(known, follow, mask, had.found if had else 0)

    def _confirm(self, number: int, result: ObjectResult) -> None:
        """An object that is followed has been found, again or for the first time."""
        if one := self._objects.get(number):
            score, confidence = result.score, result.confidence
            one.known = replace(one.known, score=score, confidence=confidence)
            one.found, one.unfound = one.found + 1, 0

    def _new_id(self) -> int | None:
        """The next id whose label is free; None where there are objects enough."""
        if len(self._objects) >= self.numbers.max_objects:
            return None
        taken = {label_of(number) for number in self._objects}
        while label_of(self._next_id) in taken:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _labels(self, hw: tuple[int, ...]) -> np.ndarray:
        """All masks as labels; smaller objects lie in front."""
        labels = np.zeros(hw, np.uint8)
        for number, one in sorted(self._objects.items(), key=lambda item: -int(item[1].mask.sum())):
            labels[one.mask] = label_of(number)
        return labels

    def close(self) -> None:
        """Forget the source; the engines stay open."""
        self._closed = True
        self._searcher.close()
        self._frames.clear()
        self._objects.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
