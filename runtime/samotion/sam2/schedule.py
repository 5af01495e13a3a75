"""Which objects are tracked to which frames, in which order, and what for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from samotion.backends.engines import Engines
from samotion.sam2.features import Features
from samotion.sam2.memory import MemoryWindow, frames_attended

# frame, object id, and the object's logits (M,M) there
Keep = Callable[[int, int, np.ndarray], None]
Do = Callable[..., None]  # a function and its arguments: call it, now or soon


class Clip(NamedTuple):
    """What stays the same through a clip."""

    engines: Engines
    images: Features
    window: MemoryWindow
    fill_holes_area: int
    one_by_one: bool  # objects go through the per-frame step each by itself
    on_gpu: bool  # memories stay there, in a ring


class Step(NamedTuple):
    """One frame to track objects to, from earlier frames, or from later ones where `reverse`."""

    frame: int
    reverse: bool
    objects: list[int]


def steps_of(
    prompted: Mapping[int, list[int]], frame_count: int, reach_frames: int | None
) -> list[Step]:
    """The frames to track objects to, forward and then backward; `prompted`: object id -> its
    prompted frames.
    """
    starts = [min(frames) for frames in prompted.values()] or [0]
    forward = [(t, False) for t in range(min(starts), frame_count)]
    backward = [(t, True) for t in range(max(starts), -1, -1)]
    steps = []
    for frame, reverse in forward + backward:
        objects = [
            object_id
            for object_id, frames in prompted.items()
            if _is_tracked(frames, frame, reverse, reach_frames)
        ]
        if objects:
            steps.append(Step(frame, reverse, objects))
    return steps


def _is_tracked(
    prompted: Sequence[int], frame: int, reverse: bool, reach_frames: int | None
) -> bool:
    """Whether an object with these prompted frames is tracked to `frame` in this direction."""
    start = min(prompted)
    is_ahead = frame < start if reverse else frame > start
    if not is_ahead or frame in prompted:
        return False
    return reach_frames is None or min(abs(frame - t) for t in prompted) <= reach_frames


def attended_frames(
    prompted: Mapping[int, list[int]], steps: Sequence[Step], window: MemoryWindow
) -> dict[int, set[int]]:
    """The prompted frames whose memories some step attends to: object id -> frames."""
    attended: dict[int, set[int]] = {object_id: set() for object_id in prompted}
    for step in steps:
        for object_id in step.objects:
            frames = prompted[object_id]
            attended[object_id] |= frames_attended(frames, step.frame, step.reverse, window)
    return attended
