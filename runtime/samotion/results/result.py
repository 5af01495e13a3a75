"""What a run found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from samotion.checks.arguments import path_of, whole_number
from samotion.clips.video import Clip
from samotion.errors import UsageError
from samotion.prompts import ObjectPrompt
from samotion.results import write
from samotion.results.evidence import Evidence
from samotion.results.owners import owners
from samotion.results.sizes import at_source, boxes_of, tracks_at_source
from samotion.settings import Numbers
from samotion.tracks.records import Tracks

if TYPE_CHECKING:
    from supervision import Detections

    from samotion.results.windows import TrackWindow


@dataclass(frozen=True)
class ObjectResult:
    """A moving object: its label in the masks, the mean motion score of its tracks, and the
    probability that it moves by itself.

    Those of a `Result` also have `masks`, `boxes` and `tracks`, made when they are asked for, in px
    of `result.clip.frames`; those of `result.at_source()` in px of the source.
    """

    id: int
    score: float
    confidence: float

    @property
    def masks(self) -> np.ndarray:
        """Where it is (T,H,W) bool."""
        return np.asarray(self._result.labels == self.id)

    @property
    def boxes(self) -> np.ndarray:
        """The box around it (T,4) float32: left, top, right, bottom, the last two past its last
        pixel; NaN where it is not seen.
        """
        return boxes_of(self.masks)

    @property
    def tracks(self) -> Tracks:
        """The tracks that were found to belong to it, over the whole clip; see
        `Result.joined_tracks`.
        """
        from samotion.results import windows

        return windows.joined(self._result, self.id).tracks

    @property
    def _result(self) -> Result:
        result: Result | None = self.__dict__.get("_of")
        if result is None:
            raise UsageError(f"object {self.id} belongs to no result; take it from result.objects")
        return result

    def of(self, result: Result) -> ObjectResult:
        """The same object as one of `result`."""
        own = replace(self)
        object.__setattr__(own, "_of", result)  # no field: neither compared nor written
        return own


class WindowTracks(Protocol):
    """The tracks of one window of a clip: `first` is the place of its first frame in the clip,
    from which their frames count.
    """

    @property
    def first(self) -> int:
        """Place of the first frame."""
        ...

    @property
    def tracks(self) -> Tracks:
        """In px of the processing size."""
        ...

    @property
    def scores(self) -> np.ndarray:
        """One a track."""
        ...

    @property
    def owners(self) -> np.ndarray:
        """The id of each track's object, 0 for none."""
        ...

    @property
    def evidence(self) -> Evidence:
        """Pictures of its maps, by frame of the window."""
        ...


@dataclass(frozen=True, eq=False)
class Result:
    """What a run found.

    `labels` (T,H,W) uint8, 0 = static, at the size of `clip.frames`; `scores` (N,) in [0,1], one
    per track; `timings` in ms per stage; `settings` are the numbers that made it; `evidence` is
    what a report shows of the way to it; `confidence` is the probability that anything moves.

    Of a clip of several windows `windows` hold the tracks, while `tracks` and `scores` are empty:
    `track_windows` and `joined_tracks` give those of any clip. `cuts` are the numbers of the frames
    with which another scene begins. What comes from a folder of windows reads its labels and frames
    when one goes through them, and holds none.
    """

    labels: np.ndarray
    objects: list[ObjectResult]
    tracks: Tracks
    scores: np.ndarray
    timings: dict[str, float]
    clip: Clip
    settings: Numbers
    warnings: list[str] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    confidence: float = 0.0
    windows: Sequence[WindowTracks] = ()
    cuts: Sequence[int] = ()

    @property
    def track_count(self) -> int:
        """How many tracks there are, in all windows."""
        return len(self.scores) + sum(len(one.scores) for one in self.windows)

    def __post_init__(self) -> None:
        # objects hold a result of their own, whose objects hold none: with this one they would keep
        # each other in memory
        held = copy(self)
        object.__setattr__(held, "objects", [replace(one) for one in self.objects])
        object.__setattr__(self, "objects", [one.of(held) for one in held.objects])

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        save: Iterable[str] | None = None,
        layout: str = "clip",
        overwrite: bool = False,
        run_info: Mapping[str, Any] | None = None,
        overlay: Iterable[str] | None = None,
    ) -> None:
        """Write masks, overlay, objects, tracks and run.json; options as in
        `samotion.results.write.write`.
        """
        target = path_of(folder, "the folder for results")
        write.write(self, target, save, layout, overwrite, run_info, overlay)

    def track_windows(self) -> Iterator[TrackWindow]:
        """The tracks window by window: each has `first`, the place of its first frame in the clip,
        `tracks`, whose frames count from there, `scores` (N,) and `owners` (N,), the ids of their
        objects, 0 for none. A clip of one window has one.
        """
        from samotion.results import windows

        return windows.windows_of(self)

    def joined_tracks(self) -> TrackWindow:
        """The tracks of all windows as one, over all T frames of the clip.

        Beyond a track's own window it is not visible and `xy` is NaN. Takes 17 bytes for each of
        the (N,T), where N grows with T: 1 GB for 3000 frames of nano. `track_windows` takes little.
        """
        from samotion.results import windows

        return windows.joined(self)

    def track_objects(self) -> np.ndarray:
        """The id (N,) uint8 of the object that each track belongs to, 0 for none."""
        ids = [one.id for one in self.objects]
        return owners(self.tracks, self.labels, ids, self.evidence.prompts)

    def only(self, *ids: int) -> Result:
        """The same result with these objects alone, ids as they were; all else is static. Raises
        UsageError for an object that is not there.
        """
        ids = tuple(whole_number(one, "an id") for one in ids)
        there = [one.id for one in self.objects]
        if unknown := sorted(set(ids) - set(there)):
            raise UsageError(f"there is no object {unknown[0]}; expected some of {there}")
        from samotion.results import windows

        kept = [k for k, object_id in enumerate(there) if object_id in ids]
        prompts = self.evidence.prompts
        return replace(
            self,
            labels=np.where(np.isin(self.labels, list(ids)), self.labels, np.uint8(0)),
            objects=[self.objects[k] for k in kept],
            evidence=replace(self.evidence, prompts=tuple(prompts[k] for k in kept if prompts)),
            windows=[windows.owned_by(one, ids) for one in self.windows],
        )

    def labels_at_source(self, frame: int | None = None) -> np.ndarray:
        """The labels at the source's size: of all frames (T,H,W) uint8, or of one (H,W)."""
        if frame is not None:
            return at_source(self.labels[checked(self, frame)], self.clip.source_hw)
        return np.stack([at_source(labels, self.clip.source_hw) for labels in self.labels])

    def at_source(self) -> Result:
        """The same result with all arrays at the source's size: labels, tracks, masks, boxes, and
        frames, which are read again. Takes 4 bytes a px of every frame. Raises InputError where the
        source is gone.
        """
        from samotion.clips.source import frames_at_source
        from samotion.results import windows

        frames = np.empty((len(self.clip.frames), *self.clip.source_hw, 3), np.uint8)
        for room, frame in zip(frames, frames_at_source(self.clip)):
            room[:] = frame
        # clicks are in px of the frames that they were made on
        prompts = tuple(replace(one, clicks=()) for one in self.evidence.prompts)
        return replace(
            self,
            clip=replace(self.clip, frames=frames),
            labels=self.labels_at_source(),
            tracks=tracks_at_source(self.tracks, self.clip),
            evidence=replace(self.evidence, prompts=prompts),
            windows=[windows.at_source(one, self.clip) for one in self.windows],
        )

    def plot(self, frame: int) -> np.ndarray:
        """A picture (H,W,3) uint8 RGB of the frame with every object tinted and outlined, at the
        size of `clip.frames`. Frames count from 0, as in `labels`.
        """
        from samotion.results import views

        return views.plot(self, checked(self, frame))

    def to_supervision(self, frame: int) -> Detections:
        """The objects in a frame as `supervision.Detections`: `xyxy`, `mask`, `confidence`,
        `tracker_id` (the objects' ids), at the size of `clip.frames`. Raises DeviceError without
        supervision.
        """
        from samotion.results import views

        return views.to_supervision(self, checked(self, frame))

    def log_to_rerun(self, path: str = "samotion") -> None:
        """Log frames, masks, boxes and tracks at their times under `path` of Rerun's recording,
        which `rerun.init` began. Raises DeviceError without rerun.
        """
        from samotion.results import views

        views.log_to_rerun(self, path)


def checked(result: Result, frame: int) -> int:
    """A frame's number in `result.labels`. Raises UsageError for one that is not there."""
    count = len(result.labels)
    number = whole_number(frame, "frame")
    if not 0 <= number < count:
        raise UsageError(f"frame is {number}; expected 0 to {count - 1}")
    return number


@dataclass(frozen=True)
class Carried:
    """What a method goes on with of the frames before those it is given: here nothing.

    `queries` (Q,3) float32 t, y, x px: points that are followed before all others; `tracks`: those
    of these frames, where they have been followed already; `only_last`: masks are wanted of the
    last frame alone, and need not be right in the others.
    """

    queries: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    tracks: Tracks | None = None
    only_last: bool = False

    def regroup(self, tracks: Tracks, objects: list[ObjectPrompt]) -> list[ObjectPrompt]:
        """The objects found among `tracks`, with those that were known before."""
        return objects

    def prompt(self, objects: list[ObjectPrompt]) -> list[ObjectPrompt]:
        """The objects with what is known of their masks as a prompt."""
        return objects


NOTHING = Carried()


@dataclass(frozen=True)
class Found:
    """What a method found in a clip, the published one or that of samotion/cues.

    `scores` (N,) are of `tracks`; `labels` (T,H,W) uint8, in which the k-th of `objects` is k + 1;
    `confidence` is the probability that anything moves.
    """

    tracks: Tracks
    scores: np.ndarray
    objects: list[ObjectPrompt]
    labels: np.ndarray
    evidence: Evidence = field(default_factory=Evidence)
    confidence: float = 0.0

    def scored(self) -> list[ObjectResult]:
        """The objects with the mean motion score of their tracks, and their confidence."""
        results = []
        for label, one in enumerate(self.objects, start=1):
            score = float(self.scores[one.members].mean())
            results.append(ObjectResult(label, score, one.confidence))
        return results


def given_again(count: int, most: int) -> str:
    """The warning for `count` objects more than `most`, which have ids of their own."""
    return f"{count} objects came after {most} others, and have ids of some long gone"
