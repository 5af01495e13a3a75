"""What a live source was answered, kept on disk until its results are written as a run's are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from samotion.clips.video import Clip
from samotion.results import parts, write
from samotion.results.record import OutputFolder, announce
from samotion.results.result import ObjectResult, Result
from samotion.results.writers import OF_PICTURES
from samotion.settings import Numbers
from samotion.tracks.records import no_tracks

if TYPE_CHECKING:
    from samotion.live import LiveResult

Array = np.ndarray[Any, Any]

PART_FRAMES = 64


class Recording:
    """Labels of a live source, and its frames where something to be written shows them, in parts in
    a reserved folder. Each is packed as it comes, in a thread, so that a source hardly waits.
    """

    def __init__(self, target: OutputFolder, name: str) -> None:
        self.count = 0
        self._with_frames = not {*OF_PICTURES}.isdisjoint(target.kinds)
        self._packer = ThreadPoolExecutor(1)
        self._target, self._name = target, name
        parts.clear(target.tree)
        self._parts = parts.Parts(target.tree, "live")
        self._packed: dict[str, list[Future[Array]]] = {}
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
        self._pack("labels", result.labels)
        if self._with_frames:
            self._pack("frames", frame)
        self._numbers.append(number)
        self._times_s.append(result.time_s)
        for one in result.objects:
            self._objects[one.label] = ObjectResult(one.label, one.score, one.confidence)
        self.count += 1
        if len(self._packed["labels"]) == PART_FRAMES:
            self._flush()

    def _pack(self, name: str, picture: Array) -> None:
        self._packed.setdefault(name, []).append(self._packer.submit(_png, picture))

    def _flush(self) -> None:
        if not self._packed:
            return
        arrays = {"place": np.array(self.count - len(self._packed["labels"]))}
        for name, packed in self._packed.items():
            files = [one.result() for one in packed]
            arrays |= {name: np.concatenate(files), _ends(name): np.cumsum([*map(len, files)])}
        self._parts.write({}, arrays, compressed=False)
        self._packed = {}  # if that fails, the frames are still there

    def write(self, numbers: Numbers, fps: float, told: str) -> None:
        """All that the folder is to hold."""
        self._flush()
        shape = (self.count, *self._source_hw, 3)
        nothing = np.broadcast_to(np.uint8(0), shape)  # which nobody looks at
        frames = PackedArray(self._parts.done, "frames", shape) if self._with_frames else nothing
        clip = Clip(
            cast(Array, frames),
            self._source_hw,
            np.array(self._numbers, np.int64),
            np.maximum.accumulate(np.array(self._times_s)),
            fps,
            self._name,
            None,
        )
        labels = cast(Array, PackedArray(self._parts.done, "labels", (self.count, *self._hw)))
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
        self._packer.shutdown(cancel_futures=True)
        parts.clear(self._target.tree)


class PackedArray(parts.PartArray):
    """As its base, of pictures that the parts hold as PNGs."""

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Array:
        return np.asarray(cv2.imdecode(super().__getitem__(number), cv2.IMREAD_UNCHANGED))

    def _read(self, part: parts.Part) -> Sequence[Array]:
        return np.split(part.array(self._name), part.array(_ends(self._name))[:-1])


def _png(picture: Array) -> Array:
    return np.asarray(cv2.imencode(".png", picture)[1])


def _ends(name: str) -> str:
    """Where each file of an array ends, that holds them one after the other."""
    return f"{name}_ends"
