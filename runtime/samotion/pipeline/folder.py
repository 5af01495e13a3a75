"""A clip straight to its files: as a whole, or window by window where it is long.

What a window answers is on disk before the next one begins, so that a run that was killed goes on
from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from samotion import __version__
from samotion.clips.stream import Frames, Reading, Stream
from samotion.pipeline.seam import Seam
from samotion.pipeline.windows import Known, State, WindowResult, to_result
from samotion.presets import Prompting
from samotion.results import masks, parts, write
from samotion.results.folder import disk_errors
from samotion.results.names import mask_names
from samotion.results.record import (
    SCHEMA,
    OutputFolder,
    Record,
    announce,
    owned,
    read_record,
    write_record,
)
from samotion.results.result import Result
from samotion.results.sizes import at_source
from samotion.results.writers import OF_TRACKS
from samotion.settings import Numbers
from samotion.tracks.records import FIELDS

# the windows of a pass through the clip, from where a state says
Run = Callable[[Reading, State], Iterator[WindowResult]]
STATE = 3  # goes up where `_dump` writes another state: then a run begins anew
WRITTEN = ("masks",)  # as soon as a window has answered


def write_windows(
    target: OutputFolder,
    stream: Stream,
    run: Run,
    numbers: Numbers,
    prompting: Prompting,
    info: Mapping[str, Any],
) -> Result:
    """Do a long clip window by window into a reserved folder; its result, which holds no frames and
    is read from there until `finish` removes what it is read from.
    """
    request = info.get("request")
    with disk_errors(target.base):
        target.tree.mkdir(parents=True, exist_ok=True)
        done = parts.Parts(target.tree, _key(target, request, numbers))
        state = load(done.done[-1], prompting) if done.done else State()
        _announce(target, stream, request)
    reading = stream.open()
    shape = (0, 0)
    for window in run(reading, state):
        state, shape = window.state, window.labels.shape[1:]
        with disk_errors(target.base):
            _write_masks(target, stream, reading, window)
            done.write(*_dump(window, _needs_tracks(target)))
        del window  # its labels and tracks, before the next one is worked on
    if not any(shape):
        shape = done.done[-1].labels.shape[1:]
    count = len(reading.scaled.numbers)
    labels = done.labels((count, *shape))
    frames = Frames(stream, (count, *shape, 3))
    return to_result(state, stream.clip(frames, reading), labels, done.done, numbers)


def finish(
    target: OutputFolder,
    result: Result,
    info: Mapping[str, Any],
    there: Collection[str],
    tick: Callable[[], None],
) -> None:
    """Write all of a result but the kinds that its windows wrote, and remove what is left of
    those. `tick` as of `samotion.results.material.Material`.
    """
    write.write_to(target, result, info, there, tick)
    with disk_errors(target.base):
        parts.clear(target.tree)


def _key(target: OutputFolder, request: Any, numbers: Numbers) -> str:
    """What must be the same for a run to go on where another one stopped."""
    what = [__version__, SCHEMA, STATE, request, asdict(numbers), target.kinds]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _announce(target: OutputFolder, stream: Stream, request: Any) -> None:
    """Say in run.json that a run has begun, and which files are its own."""
    names = mask_names(range(stream.count), stream.frame_names)
    meant = {masks.relative(target, name) for name in names} if "masks" in target.kinds else set()
    announce(target, meant, request=request)


def _write_masks(
    target: OutputFolder, stream: Stream, reading: Reading, window: WindowResult
) -> None:
    """The masks of the frames that a window answers."""
    if "masks" not in target.kinds:
        return
    places = slice(window.place, window.place + len(window.labels))
    if stream.frame_names is None:
        names = mask_names(reading.scaled.numbers[places])
    else:
        names = mask_names(range(stream.count), stream.frame_names)[places]
    meant = {masks.relative(target, name) for name in names}
    if not meant <= (ours := owned(target)):  # more frames came than were told of
        write_record(target, read_record(target) | {"files": sorted(ours | meant)})
    source_hw = reading.scaled.source_hw
    masks.write_some(target, names, (at_source(small, source_hw) for small in window.labels))


def _needs_tracks(target: OutputFolder) -> bool:
    """Whether something is to be written that tracks are read for."""
    wanted = (*target.kinds, *target.overlay) if "overlay" in target.kinds else target.kinds
    return not {*OF_TRACKS}.isdisjoint(wanted)


def _dump(window: WindowResult, with_tracks: bool) -> tuple[Record, dict[str, np.ndarray]]:
    """A window as a part holds it."""
    state, held = window.state, window.tracks
    record = {
        "number": state.number,
        "start": state.start,
        "objects": [asdict(one) for one in state.objects],
        "cuts": list(state.cuts),
        "again": state.again,
        "confidence": state.confidence,
        "timings": state.timings,
    }
    arrays = {"place": np.array(window.place), "labels": window.labels}
    if with_tracks:
        arrays |= {name: getattr(held.tracks, name) for name in FIELDS}
        arrays |= parts.dump_evidence(held.evidence)
    arrays |= {"first": np.array(held.first), "scores": held.scores, "owners": held.owners}
    if state.seam is not None:
        seam = state.seam
        arrays |= {"seam_labels": seam.labels, "seam_ids": np.array(seam.ids, np.int64)}
        arrays |= {"seam_queries": seam.queries, "seam_owners": seam.owners}
        arrays |= {"seam_confidences": np.array(seam.confidences)}
    return record | {"seam": state.seam is not None}, arrays


def load(part: parts.Part, prompting: Prompting) -> State:
    """The state after the window of a part."""
    held = part.state
    seam = None
    if held["seam"]:
        seam = Seam(
            labels=part.array("seam_labels"),
            ids=tuple(part.array("seam_ids").tolist()),
            confidences=tuple(part.array("seam_confidences").tolist()),
            queries=part.array("seam_queries"),
            owners=part.array("seam_owners"),
            prompting=prompting,
        )
    return State(
        held["number"],
        held["start"],
        seam,
        tuple(Known(**one) for one in held["objects"]),
        tuple(held["cuts"]),
        held["again"],
        held["confidence"],
        held["timings"],
    )
