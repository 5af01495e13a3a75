"""What the engines of a scene answer, read from and written straight into device memory.

Nets see the frame's number in its bar code and hand it on in the first number of their features;
pointers and query features hand on which box they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from samotion.contract import TRACKER_PX

from samotion_bench.host.scene import Scene, read_number

Arrays = Mapping[str, np.ndarray]
Answer = Callable[[Scene, Arrays, Arrays], None]  # scene, inputs, outputs to fill in

SURE = -9.0  # logit of occlusion: seen, and well placed
INSIDE, OUTSIDE = 8.0, -8.0  # logits of masks
PRESENT = 10.0
EDGE = 0.01  # of the frame: a click so near to a box is on it, as tracks of its edge are
# whose outputs no host reads: whatever lay in their memory stays there
UNREAD = ("sam2_resize", "sam2_image", "sam2_memory", "tracks_features", "tracks_features_large")


def answer(engine: str, scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    """Fill in the outputs of one run."""
    for array in outputs.values() if engine not in UNREAD else ():
        array.fill(0)
    if engine in ANSWERS:
        ANSWERS[engine](scene, inputs, outputs)


def _numbered(outputs: Arrays, frames: np.ndarray) -> None:
    """The number of each frame as the first of its numbers in every output."""
    numbers = [read_number(frame) for frame in frames]
    for array in outputs.values():
        array.reshape(len(frames), -1)[:, 0] = numbers


def _frames(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    _numbered(outputs, inputs["frames"])


def _query(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    """Of each point the box it is on and where on it, or where on the ground."""
    numbers = _first(inputs, "lowres")
    times, yx = inputs["queries"][:, 0].astype(int), inputs["queries"][:, 1:]
    xy = yx[:, ::-1] / (TRACKER_PX - 1)
    features = _first_output(outputs)
    for t in np.unique(times):
        mine = times == t
        frame = numbers[max(t, 0)]
        box = scene.under(frame, xy[mine])
        origins = np.concatenate((np.zeros((1, 2)), scene.centres(frame)))
        features[mine, 0] = box
        features[mine, 1:3] = xy[mine] - origins[box]


def _refine(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    numbers, features = _first(inputs, "lowres"), _first_input(inputs)
    box = features[:, 0].astype(int)
    centres = scene.centres(numbers)
    origins = np.concatenate((np.zeros((len(numbers), 1, 2)), centres), axis=1)
    xy = origins[:, box].swapaxes(0, 1) + features[:, None, 1:3]
    outputs["tracks"][:] = xy * (TRACKER_PX - 1)
    outputs["occlusion"].fill(SURE)
    outputs["expected_dist"].fill(SURE)


def _first(inputs: Arrays, level: str) -> np.ndarray:
    """The frame numbers that the tracker's grids hand on."""
    grid = inputs[level if level in inputs else f"large_{level}"]
    numbers: np.ndarray = grid.reshape(len(grid), -1)[:, 0].astype(int)
    return numbers


def _first_output(outputs: Arrays) -> np.ndarray:
    return next(array for name, array in outputs.items() if name.endswith("lowres"))


def _first_input(inputs: Arrays) -> np.ndarray:
    return next(a for name, a in inputs.items() if name.startswith("query_"))


def _depth(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    """Nearer towards the bottom."""
    height = outputs["disparity"].shape[1]
    outputs["disparity"][:] = np.linspace(0, 1, height, dtype=np.float32)[:, None]


def _motion(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    moves = np.ptp(inputs["xy"], axis=1).max(1) > 1e-3
    outputs["score"][:] = np.where(moves, 0.99, 0.01)


def _prompt(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    frame = int(inputs["level0"].flat[0])
    side_px = 4 * outputs["masks"].shape[-1]
    boxes = scene.under(frame, inputs["points"][:, 0] / side_px, EDGE)
    _decoded(scene, frame, boxes, outputs)


def _track(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    frame = int(inputs["level0"].flat[0])
    boxes = inputs["pointers"][:, :, 0].max(1).astype(int)
    _decoded(scene, frame, boxes, outputs)


def _decoded(scene: Scene, frame: int, boxes: np.ndarray, outputs: Arrays) -> None:
    for mask, box in zip(outputs["masks"], boxes):
        scene.draw(mask, frame, int(box), INSIDE, OUTSIDE)
    outputs["iou"].fill(1)
    outputs["object_score"].fill(PRESENT)
    outputs["pointer"][:, 0] = boxes


def _resize(scene: Scene, inputs: Arrays, outputs: Arrays) -> None:
    """Not as the engine does it, but the bar code is there."""
    size = outputs["resized"].shape[1:3]
    for frame, square in zip(inputs["frames"], outputs["resized"]):
        cv2.resize(frame, size, square, interpolation=cv2.INTER_NEAREST)


ANSWERS: dict[str, Answer] = {
    "sam2_resize": _resize,
    "tracks_features": _frames,
    "tracks_features_large": _frames,
    "tracks_query": _query,
    "tracks_query_large": _query,
    "tracks_refine": _refine,
    "tracks_refine_large": _refine,
    "depth": _depth,
    "motion": _motion,
    "sam2_image": _frames,
    "sam2_prompt": _prompt,
    "sam2_track": _track,
}
