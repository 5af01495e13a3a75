"""What a live source was answered, kept on disk until its results are written as a run's are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from samotion.clips.video import Clip
from samotion.results import parts, write
from samotion.results.record import OutputFolder, announce
from samotion.results.result import ObjectResult, Result
from samotion.settings import Numbers
from samotion.tracks.records import no_tracks

if TYPE_CHECKING:
    from samotion.live import LiveResult

Array = np.ndarray[Any, Any]

PART_FRAMES = 64


class Recording:
    """Frames and labels of a live source, in parts in a reserved folder."""

    def __init__(self, target: OutputFolder, name: str) -> None:
        self.count = 0
        self._target, self._name = target, name
        parts.clear(target.tree)
        self._parts = parts.Parts(target.tree, "live")
        self._frames: list[Array] = []
        self._labels: list[Array] = []
        self._numbers: list[int] = []
        self._times_s: list[float] = []
        self._objects: dict[int, ObjectResult] = {}
        self._hw = self._source_hw = (0, 0)

    def add(self, frame: Array, result: LiveResult, number: int) -> None:
        """One more frame, (H,W,3) as it came, and its number in the source; the first one takes the
        folder over.
        """
        if not self.count:
            announce(self._target)
        self._source_hw = frame.shape[0], frame.shape[1]
        self._hw = result.labels.shape[0], result.labels.shape[1]
        self._frames.append(frame)
        self._labels.append(result.labels)
        self._numbers.append(number)
        self._times_s.append(result.time_s)
        for one in result.objects:
            self._objects[one.label] = ObjectResult(one.label, one.score, one.confidence)
        self.count += 1
        if len(self._frames) == PART_FRAMES:
            self._flush()

    def _flush(self) -> None:
        if self._frames:
            place = np.array(self.count - len(self._frames))
            arrays = {"frames": np.stack(self._frames), "labels": np.stack(self._labels)}
            self._parts.write({}, arrays | {"place": place})
        self._frames, self._labels = [], []

    def write(self, numbers: Numbers, fps: float, told: str) -> None:
        """All that the folder is to hold."""
        self._flush()
        shape = (self.count, *self._source_hw, 3)
        frames = cast(Array, parts.PartArray(self._parts.done, "frames", shape))
        clip = Clip(
            frames,
            self._source_hw,
            np.array(self._numbers, np.int64),
            np.maximum.accumulate(np.array(self._times_s)),
            fps,
            self._name,
            None,
        )
        labels = cast(Array, parts.PartArray(self._parts.done, "labels", (self.count, *self._hw)))
        objects = [self._objects[number] for number in sorted(self._objects)]
        confidence = max((one.confidence for one in objects), default=0.0)
        result = Result(
            labels=labels,
            objects=objects,
            tracks=no_tracks(self.count),
            scores=np.zeros(0, np.float32),
            timings={},
            clip=clip,
            settings=numbers,
            confidence=confidence,
        )
        write.write_to(self._target, result, {"live": told})

    def clear(self) -> None:
        """Delete what is kept."""
        parts.clear(self._target.tree)
