"""A result for those who look at it: as a picture, in supervision, in Rerun."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from samotion.errors import DeviceError
from samotion.results.colours import palette
from samotion.results.drawing import draw
from samotion.results.windows import TrackWindow, windows_of

if TYPE_CHECKING:
    from supervision import Detections

    from samotion.results.result import ObjectResult, Result


CLASS_NAME = "moving object"


def plot(result: Result, frame: int) -> np.ndarray:
    """A frame (H,W,3) uint8 RGB with every object tinted and outlined."""
    return draw(result.clip.frames[frame], result.labels[frame], palette()).copy()


def to_supervision(result: Result, frame: int) -> Detections:
    """The objects in a frame as `supervision.Detections`; one kind for all, class 0."""
    _imported("supervision", "supervision")
    from supervision import Detections

    seen = _seen(result, frame)
    if not seen:
        return Detections.empty()
    return Detections(
        xyxy=np.stack([box for _, _, box in seen]),
        mask=np.stack([mask for _, mask, _ in seen]),
        confidence=np.array([one.confidence for one, _, _ in seen], np.float32),
        class_id=np.zeros(len(seen), int),
        tracker_id=np.array([one.id for one, _, _ in seen], int),
        data={"class_name": np.array([CLASS_NAME] * len(seen))},
    )


def log_to_rerun(result: Result, path: str) -> None:
    """Log all frames of a result under `path`, with their numbers and times in the source."""
    rr = _imported("rerun", "rerun")
    clip = result.clip
    colours = palette()
    classes = [(one.id, f"object {one.id}", tuple(colours[one.id])) for one in result.objects]
    rr.log(path, rr.AnnotationContext(classes), static=True)
    tracks = list(windows_of(result))
    for t, (number, time_s) in enumerate(zip(clip.indices.tolist(), clip.timestamps_s.tolist())):
        rr.set_time("frame", sequence=number)
        rr.set_time("time", duration=time_s)
        rr.log(f"{path}/frame", rr.Image(clip.frames[t]).compress())
        rr.log(f"{path}/frame/masks", rr.SegmentationImage(result.labels[t]))
        _log_boxes(rr, result, t, f"{path}/frame/boxes")
        _log_tracks(rr, tracks, t, f"{path}/frame/tracks")


def _log_boxes(rr: Any, result: Result, frame: int, path: str) -> None:
    seen = _seen(result, frame)
    boxes = np.array([box for _, _, box in seen], np.float32).reshape(-1, 4)
    ids = [one.id for one, _, _ in seen]
    rr.log(path, rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYXY, class_ids=ids))


def _log_tracks(rr: Any, windows: Sequence[TrackWindow], frame: int, path: str) -> None:
    """The visible points of the objects."""
    points, ids = [np.zeros((0, 2), np.float32)], [np.zeros(0, np.uint8)]
    for one in windows:
        if one.first <= frame < one.end:
            place = frame - one.first
            shown = one.tracks.visible[:, place] & (one.owners > 0)
            points.append(one.tracks.xy[shown, place])
            ids.append(one.owners[shown])
    from_corner = np.concatenate(points) + 0.5  # as Rerun counts
    rr.log(path, rr.Points2D(from_corner, class_ids=np.concatenate(ids)))


def _seen(result: Result, frame: int) -> list[tuple[ObjectResult, np.ndarray, np.ndarray]]:
    """The objects that a frame shows, with their masks (H,W) and boxes (4,)."""
    from samotion.results.sizes import boxes_of

    masks = [(one, result.labels[frame] == one.id) for one in result.objects]
    return [(one, mask, boxes_of(mask[None])[0]) for one, mask in masks if mask.any()]


def _imported(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise DeviceError(f"{module} is not installed; pip install 'samotion[{extra}]'") from error
