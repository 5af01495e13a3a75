"""What a live source was answered, kept on disk until its results are written as a run's are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from samotion.clips.video import Clip
from samotion.results import parts, write
from samotion.results.folder import disk_errors
from samotion.results.record import OutputFolder, announce
from samotion.results.result import ObjectResult, Result, given_again
from samotion.results.writers import OF_PICTURES
from samotion.settings import Numbers
from samotion.tracks.records import no_tracks

if TYPE_CHECKING:
    from samotion.clips.live import Source
    from samotion.live import LiveResult


PART_FRAMES = 64


class Kept(NamedTuple):
    """A frame's number in the source, its time, and until they lie in a part its pictures."""

    number: int
    time_s: float
    pictures: dict[str, Future[np.ndarray]]


class Recording:
    """Labels of a live source, and its frames where something to be written shows them, in parts in
    a reserved folder. Each is packed as it comes, in a thread, so that a source hardly waits.
    """

    def __init__(self, target: OutputFolder, source: Source) -> None:
        self._with_frames = not {*OF_PICTURES}.isdisjoint(target.kinds)
        self._packer = ThreadPoolExecutor(1)
        self._target, self._source = target, source
        parts.clear(target.tree)
        self._parts = parts.Parts(target.tree, "live")
        self._kept: list[Kept] = []
        self._written = 0  # so many of them lie in parts
        self._objects: dict[int, ObjectResult] = {}  # by id: after hours, more than labels
        self._hw = self._source_hw = (0, 0)

    @property
    def count(self) -> int:
        """How many frames are kept."""
        return len(self._kept)

    def add(self, frame: np.ndarray, result: LiveResult, number: int) -> None:
        """One more frame, (H,W,3) as it came, and its number in the source; the first one takes the
        folder over.
        """
        if not self.count:
            with disk_errors(self._target.base):
                announce(self._target)
        self._source_hw = frame.shape[0], frame.shape[1]
        self._hw = result.labels.shape[0], result.labels.shape[1]
        for one in result.objects:
            self._objects[one.id] = ObjectResult(one.label, one.score, one.confidence)
        shown = {"labels": result.labels, **({"frames": frame} if self._with_frames else {})}
        pictures = {name: self._packer.submit(_png, picture) for name, picture in shown.items()}
        # all of a frame at once: Ctrl-C, which ends most sources, may come anywhere
        self._kept.append(Kept(number, result.time_s, pictures))
        if self.count - self._written == PART_FRAMES:
            self._flush()

    def _flush(self) -> None:
        """Write a part of what lies in none; where that fails, it is still there."""
        new = self._kept[self._written :]
        if not new:
            return
        arrays = {"place": np.array(self._written)}
        for name in new[0].pictures:
            files = [one.pictures[name].result() for one in new]
            arrays |= {name: np.concatenate(files), _ends(name): np.cumsum([*map(len, files)])}
        with disk_errors(self._target.base):
            self._parts.write({}, arrays, compressed=False)
        self._written += len(new)
        for one in new:
            one.pictures.clear()

    def write(self, numbers: Numbers, run_info: Mapping[str, Any]) -> None:
        """All that the folder is to hold; `run_info` joins run.json."""
        self._flush()
        shape = (self.count, *self._source_hw, 3)
        nothing = np.broadcast_to(np.uint8(0), shape)  # which nobody looks at
        frames = PackedArray(self._parts.done, "frames", shape) if self._with_frames else nothing
        names = self._source.frame_names
        clip = Clip(
            cast(np.ndarray, frames),
            self._source_hw,
            np.array([one.number for one in self._kept], np.int64),
            np.maximum.accumulate(np.array([one.time_s for one in self._kept])),
            self._source.fps,
            self._source.name,
            None,
            frame_names=names and tuple(names[one.number] for one in self._kept),
            file=self._source.file,
        )
        labels = cast(np.ndarray, PackedArray(self._parts.done, "labels", (self.count, *self._hw)))
        by_label = {one.id: one for _, one in sorted(self._objects.items())}  # the latest
        objects = [by_label[label] for label in sorted(by_label)]
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
        result.warnings.extend(self._source.warnings)
        if again := len(self._objects) - len(objects):
            result.warnings.append(given_again(again, len(objects)))
        write.write_to(self._target, result, run_info)

    def clear(self) -> None:
        """Delete what is kept."""
        self._packer.shutdown(cancel_futures=True)
        parts.clear(self._target.tree)


class PackedArray(parts.PartArray):
    """As its base, of pictures that the parts hold as PNGs."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> np.ndarray:
        return np.asarray(cv2.imdecode(super().__getitem__(number), cv2.IMREAD_UNCHANGED))

    def _read(self, part: parts.Part) -> Sequence[np.ndarray]:
        return np.split(part.array(self._name), part.array(_ends(self._name))[:-1])


def _png(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imencode(".png", picture)[1])


def _ends(name: str) -> str:
    """Where each file of an array ends, that holds them one after the other."""
    return f"{name}_ends"
