"""What all writers write from: a result, the folder it goes to, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from samotion.masks import ids_in
from samotion.results.names import frame_names, mask_names
from samotion.results.record import OutputFolder, Record
from samotion.results.sizes import at_source

if TYPE_CHECKING:
    from samotion.results.result import Result


@dataclass(frozen=True)
class Material:
    """A result and the folder it goes to; `record` is what run.json tells of them; `tick` is called
    for each frame that is looked at, from any thread.
    """

    target: OutputFolder
    result: Result
    record: Record = field(default_factory=dict)
    tick: Callable[[], None] = lambda: None

    @property
    def ids(self) -> list[int]:
        """The objects' labels."""
        return [one.id for one in self.result.objects]

    @cached_property
    def mask_names(self) -> list[str]:
        """The name of each frame's mask."""
        return mask_names(self.result.clip.indices.tolist(), self.result.clip.frame_names)

    @cached_property
    def frame_names(self) -> list[str]:
        """The file name of each frame: a video's are called 00000.jpg and so on, by their
        number.
        """
        return frame_names(self.result.clip.indices.tolist(), self.result.clip.frame_names)

    @cached_property
    def times_s(self) -> list[float]:
        """When each frame shows, in s, rounded to what a reader needs."""
        return [round(time_s, 6) for time_s in self.result.clip.timestamps_s.tolist()]

    def warn(self, line: str) -> None:
        """Add a line to the result's warnings, once."""
        if line not in self.result.warnings:
            self.result.warnings.append(line)

    def labels(self) -> Iterator[np.ndarray]:
        """The labels (H,W) uint8 of each frame at the source's size."""
        for small in self.result.labels:
            self.tick()
            yield at_source(small, self.result.clip.source_hw)

    @cached_property
    def rles(self) -> list[list[Record | None]]:
        """COCO's compressed run lengths, per frame and object; None where it is not seen."""
        return [encode_rles(labels, self.ids) for labels in self.labels()]


def encode_rles(labels: np.ndarray, ids: list[int]) -> list[Record | None]:
    """COCO's compressed run lengths of each object in one frame, None where it is not seen."""
    from pycocotools import mask as coco

    there = ids_in(labels)
    columns = np.ascontiguousarray(labels.T)  # COCO counts down the columns
    rles: list[Record | None] = []
    for object_id in ids:
        if object_id not in there:
            rles.append(None)
            continue
        rle = coco.encode(np.equal(columns, object_id).view(np.uint8).T)
        rles.append({"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()})
    return rles
