"""A clip of any length, window by window, in the memory of one."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from samotion.backends.engines import Engines
from samotion.checks.stages import Progress, Stages, silent
from samotion.clips.cuts import mark_cuts
from samotion.clips.stream import Clip, Reading
from samotion.clips.windows import Window, overlap_of, windows
from samotion.pipeline.seam import Seam, hand_on
from samotion.presets import MAX_LABELS
from samotion.results.evidence import Evidence
from samotion.results.owners import owned_by_prompts
from samotion.results.result import (
    NOTHING,
    Carried,
    Found,
    ObjectResult,
    Result,
    WindowTracks,
    given_again,
)
from samotion.results.windows import TrackWindow, joined_evidence
from samotion.settings import Numbers
from samotion.tracks.records import no_tracks

# a method: what moves in frames (T,H,W,3), given what goes on from those before
Find = Callable[[Engines, np.ndarray, Numbers, Stages, Carried], Found]
LEAST_TOLD = 0.01  # probability of motion that is told where all objects are left out
CUTS_NAMED = 5  # in a warning


@dataclass(frozen=True)
class Known:
    """An object so far: the mean motion score of so many tracks, those of each window counted, its
    highest confidence, and the number of the last window that it was in.
    """

    score: float
    tracks: int
    confidence: float
    window: int


NEW = Known(0.0, 0, 0.0, 0)


@dataclass(frozen=True)
class State:
    """All that a window needs of those before it.

    `number`: how many those are; `start`: place of the next window's first frame; `seam`: what they
    hand on, None where a scene begins; `objects`: the one of id k is the k-th; `cuts`: places of
    frames with which another scene begins; `again`: objects that have the id of one long gone,
    for all were taken; `confidence`: the highest so far; `timings`: ms by stage.
    """

    number: int = 0
    start: int = 0
    seam: Seam | None = None
    objects: tuple[Known, ...] = ()
    cuts: tuple[int, ...] = ()
    again: int = 0
    confidence: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def results(self) -> list[ObjectResult]:
        """The objects so far."""
        return [
            ObjectResult(number, one.score, one.confidence)
            for number, one in enumerate(self.objects, start=1)
        ]


@dataclass(frozen=True, eq=False)
class WindowResult:
    """What one window answers.

    `place`: of its first frame answered, in the clip; `frames` (n,H,W,3) uint8, which hold until
    the next window is asked for, and `labels` (n,H,W) uint8, 0 = static, else an object's id;
    `tracks`: of all its frames; `state`: after it.
    """

    place: int
    frames: np.ndarray
    labels: np.ndarray
    tracks: TrackWindow
    state: State

    @property
    def objects(self) -> list[ObjectResult]:
        """All objects so far, those that have ended too."""
        return self.state.results


def run(
    find: Find,
    engines: Engines,
    reading: Reading,
    count: int,
    numbers: Numbers,
    state: State | None = None,
    report: Progress = silent,
) -> Iterator[WindowResult]:
    """The windows of a clip of about `count` frames, from where `state` says.

    `report` is told under the name `windows` how many frames are done.
    """
    state = state or State()
    shared = len(state.seam.labels) if state.seam else 0
    marked = mark_cuts(reading.scaled)
    with Stages(report)("windows") as step:
        for window in windows(marked, numbers.window_frames, state.start, shared):
            done = window.start + window.answered.start

            def tell(*_: object, done: int = done) -> None:
                step(done, max(count, done + 1))

            answer = _answer(find, engines, window, numbers, state, tell)
            state = answer.state
            yield answer
            del answer
            gc.collect()  # objects in reference cycles would keep this window's arrays


def _answer(
    find: Find,
    engines: Engines,
    window: Window,
    numbers: Numbers,
    state: State,
    report: Progress,
) -> WindowResult:
    stages = Stages(report)
    seam = state.seam if window.shared else None
    frames = window.frames
    few = len(frames) < 2
    found = _nothing(frames) if few else find(engines, frames, numbers, stages, seam or NOTHING)
    ids, state = _name(found, state, seam)
    labels = np.array([0, *ids], np.uint8)[found.labels]
    answered, owners = window.answered, owned_by_prompts(len(found.tracks), ids, found.objects)
    return WindowResult(
        window.start + answered.start,
        frames[answered],
        labels[answered],
        TrackWindow(window.start, found.tracks, found.scores, owners, _maps(found)),
        _next(engines, window, found, labels, ids, numbers, state, stages),
    )


def _next(
    engines: Engines,
    window: Window,
    found: Found,
    labels: np.ndarray,
    ids: list[int],
    numbers: Numbers,
    state: State,
    stages: Stages,
) -> State:
    """The state after a window."""
    end = window.start + len(window.frames)
    cut = (window.start,) if window.start and not window.shared else ()
    spent = {name: state.timings.get(name, 0) + ms for name, ms in stages.timings.items()}
    state = replace(
        state,
        number=state.number + 1,
        start=end,
        seam=None,
        cuts=state.cuts + cut,
        confidence=max(state.confidence, found.confidence),
        timings={**state.timings, **spent},
    )
    if window.last:
        return state
    overlap = overlap_of(len(window.frames))
    first = len(window.frames) - overlap
    prompting = engines.preset.prompting
    seam = hand_on(found, labels, ids, first, numbers.max_tracks, prompting)
    return replace(state, start=end - overlap, seam=seam)


def _name(found: Found, state: State, seam: Seam | None) -> tuple[list[int], State]:
    """The id of each object found, 0 where it is none, and the state with these objects."""
    objects, again = list(state.objects), state.again
    ids: list[int] = []
    matched = seam.match(found) if seam else [None] * len(found.objects)
    for prompted, one, known in zip(found.objects, found.scored(), matched):
        if known == 0:
            ids.append(0)
            continue
        had, number = NEW, len(objects) + 1
        if known is not None:
            had, number = objects[known - 1], known
        elif number > MAX_LABELS:
            number = _longest_gone(objects, {*ids, *matched})
            again += 1
        else:
            objects.append(NEW)
        count = len(prompted.members)
        tracks = had.tracks + count
        score = (had.score * had.tracks + one.score * count) / tracks
        confidence = max(had.confidence, one.confidence)
        objects[number - 1] = Known(score, tracks, confidence, state.number)
        ids.append(number)
    return ids, replace(state, objects=tuple(objects), again=again)


def _longest_gone(objects: Sequence[Known], taken: Collection[int | None]) -> int:
    """The id, none of those `taken`, of the object that was last seen the longest ago."""
    free = [number for number in range(1, len(objects) + 1) if number not in taken]
    return min(free, key=lambda number: objects[number - 1].window)


def _maps(found: Found) -> Evidence:
    """Of a window's evidence the pictures, which a report shows."""
    return Evidence(depth=found.evidence.depth, motion=found.evidence.motion)


def _nothing(frames: np.ndarray) -> Found:
    """What is found in a scene of one frame."""
    return Found(
        no_tracks(len(frames)), np.zeros(0, np.float32), [], np.zeros(frames.shape[:3], np.uint8)
    )


def to_result(
    state: State, clip: Clip, labels: np.ndarray, tracks: Sequence[WindowTracks], numbers: Numbers
) -> Result:
    """The result of a clip after its last window; `labels` and `clip.frames` may be read from
    elsewhere when one goes through them.
    """
    cuts = [int(clip.indices[place]) for place in state.cuts]
    return Result(
        labels=labels,
        objects=state.results,
        tracks=no_tracks(len(labels)),
        scores=np.zeros(0, np.float32),
        timings=dict(state.timings),
        clip=clip,
        settings=numbers,
        warnings=[*clip.warnings, *_warnings(state, cuts)],
        confidence=state.confidence,
        evidence=joined_evidence(tracks, len(labels)),
        windows=tracks,
        cuts=cuts,
    )


def _warnings(state: State, cuts: list[int]) -> list[str]:
    lines = []
    if cuts:
        named = ", ".join(map(str, cuts[:CUTS_NAMED])) + (", ..." if cuts[CUTS_NAMED:] else "")
        scenes = "another scene begins" if len(cuts) == 1 else f"{len(cuts)} more scenes begin"
        frames = "frame" if len(cuts) == 1 else "frames"
        lines.append(f"{scenes} at {frames} {named}; objects are found anew there")
    if state.again:
        lines.append(given_again(state.again, MAX_LABELS))
    if not state.objects:
        lines.append(nothing_moves(state.confidence))
    return lines


def nothing_moves(confidence: float) -> str:
    """The warning for a clip without objects, in which something moves with this probability."""
    line = "nothing moves in this clip: all masks are empty"
    if confidence < LEAST_TOLD:
        return line
    told = math.floor(round(100 * confidence, 6)) / 100  # a limit of this would let it through
    return f"{line} (something moves with probability {told:.2f}; see --min-confidence)"
