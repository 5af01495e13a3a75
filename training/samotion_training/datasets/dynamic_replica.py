"""Dynamic Replica: people and animals in scanned rooms.

`frame_annotations_SPLIT.jgz` (gzipped JSON, one entry per frame and camera) names, relative to its
own folder, the picture, the depth (a PNG whose 16 bits are a half float), the mask of what is
animated, perhaps a map of instances, and `trajectories/*.pth`: `traj_2d` (N, 2 or 3) px,
`verts_inds_vis` (N,), `traj_3d_world` (N, 3) of the same points in every frame. The left camera
alone has trajectories. An instance moves when its points do in the world, or, where it has none,
when the mask covers it. Whole numbers are taken for pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from samotion.errors import InputError
from samotion.geometry import inside, nearest_pixel
from samotion_bench.scenes.render import Clip, TruthTracks

from samotion_training.datasets import files
from samotion_training.datasets.recording import Recording, Source, no_tracks, random_of, windows
from samotion_training.samples import POINTS

Entry = dict[str, Any]
MOVED_M = 0.01  # metres that a point goes within a window; rooms are exactly still
LEAST_POINTS = 5  # of an instance, to judge it by them
LEAST_DEPTH_M = 1e-3  # nearer is a hole


def sources(folder: Path, frames: int) -> Iterator[Source]:
    """All windows of the left camera's sequences in `folder` or the splits in it."""
    for index in sorted(
        [*folder.glob("frame_annotations_*.jgz"), *folder.glob("*/frame_annotations_*.jgz")]
    ):
        for name, entries in _sequences(index).items():
            for window in windows(len(entries), frames):
                label = f"{index.parent.name}/{name}:{window.start}"
                yield Source(label, partial(_read, index.parent, entries[window], label))


def _sequences(index: Path) -> dict[str, list[Entry]]:
    """The left camera's frames of each sequence, in order."""
    found: dict[str, list[Entry]] = {}
    try:
        for entry in files.read_json(index):
            if entry["camera_name"] == "left":
                found.setdefault(entry["sequence_name"], []).append(entry)
        return {
            name: sorted(found[name], key=lambda entry: int(entry["frame_number"]))
            for name in sorted(found)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{index}: got no list of frames ({error!r}); {files.ADVICE}") from error


def _read(root: Path, entries: list[Entry], label: str) -> Recording:
    frames = files.stacked([files.rgb(_path(root, entry, "image")) for entry in entries], label)
    masks = [files.packed(files.raster(_path(root, entry, "mask"))) > 0 for entry in entries]
    animated = files.stacked(masks, label)
    labels = files.compact(_instances(root, entries, animated, label), label)
    depth = files.stacked([_depth(_path(root, entry, "depth")) for entry in entries], label)
    if not frames.shape[:3] == labels.shape == depth.shape == animated.shape:
        raise InputError(
            f"{label}: got pictures, masks and depth of differing sizes, expected one;"
            f" {files.ADVICE}"
        )
    known = np.isfinite(depth) & (depth > LEAST_DEPTH_M)
    disparity = files.fill_holes(known / np.where(known, depth, 1), known)
    tracks, goes = _tracks(root, entries, labels, label)
    moving = _moving(labels, animated, tracks.instance, goes)
    clip = Clip(frames, disparity.astype(np.float32), labels, labels, moving)
    return Recording(clip, replace(tracks, moving=moving[tracks.instance]))


def _path(root: Path, entry: Entry, key: str) -> Path:
    part = entry.get(key)
    return files.within(root, part.get("path") if isinstance(part, dict) else part)


def _depth(path: Path) -> np.ndarray:
    """(H, W) float32 metres; holes are 0 or not finite."""
    bits = files.raster(path)
    if bits.ndim != 2 or bits.dtype.kind not in "iu":
        raise InputError(
            f"{path}: got {bits.dtype} {bits.shape}, expected a PNG of 16 bits; {files.ADVICE}"
        )
    return bits.astype(np.uint16).view(np.float16).astype(np.float32)


def _instances(root: Path, entries: list[Entry], animated: np.ndarray, label: str) -> np.ndarray:
    """The map of instances where the annotation names one, or what is animated as one instance."""
    if not all(entry.get("instance_id_map_path") for entry in entries):
        return animated.astype(np.int64)
    maps = [
        files.packed(files.raster(_path(root, entry, "instance_id_map_path"))) for entry in entries
    ]
    return files.stacked(maps, label)


def _tracks(
    root: Path, entries: list[Entry], labels: np.ndarray, label: str
) -> tuple[TruthTracks, np.ndarray]:
    """At most POINTS points that are seen in two frames at least, and which of them move in the
    world.
    """
    if not all(entry.get("trajectories") for entry in entries):
        return no_tracks(len(entries)), np.zeros(0, bool)
    found = [_points(_path(root, entry, "trajectories")) for entry in entries]
    xy, visible, world = (files.stacked(list(parts), label).swapaxes(0, 1) for parts in zip(*found))
    visible &= inside(xy, labels.shape[1:])
    some = random_of(label).permutation(np.flatnonzero(visible.sum(1) >= 2))[:POINTS]
    xy, visible, world = xy[some].astype(np.float32), visible[some], world[some]
    goes = np.linalg.norm(world - world[:, :1], axis=-1).max(1, initial=0) > MOVED_M
    return TruthTracks(xy, visible, _owners(xy, visible, labels), goes), goes


def _points(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (N, 2), visible (N,) bool and places in the world (N, 3) of one frame."""
    found = files.tensors(path)
    try:
        xy, visible, world = found["traj_2d"], found["verts_inds_vis"], found["traj_3d_world"]
    except KeyError as error:
        raise InputError(
            f"{path}: got no tensor {error}, expected trajectories; {files.ADVICE}"
        ) from error
    count = len(visible)
    if xy.ndim != 2 or xy.shape[1:] not in ((2,), (3,)):
        raise InputError(
            f"{path}: got traj_2d of shape {xy.shape}, expected (N, 2 or 3); {files.ADVICE}"
        )
    # of what lies behind the camera
    places = np.nan_to_num(xy[:, :2], nan=-1e5, posinf=1e5, neginf=-1e5)
    return (
        files.numbers(places, (count, 2), f"{path}: traj_2d"),
        files.numbers(visible, (count,), f"{path}: verts_inds_vis") > 0,
        files.numbers(world, (count, 3), f"{path}: traj_3d_world"),
    )


def _owners(xy: np.ndarray, visible: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) the instance that most often lies under each point where it is visible."""
    height, width = labels.shape[1:]
    x, y = np.moveaxis(nearest_pixel(xy, (height, width)), -1, 0)
    under = labels[np.arange(len(labels)), y, x]
    return np.array([np.bincount(row[seen]).argmax() for row, seen in zip(under, visible)], int)


def _moving(
    labels: np.ndarray, animated: np.ndarray, owner: np.ndarray, goes: np.ndarray
) -> np.ndarray:
    """(instances,) bool; instance 0, the room, stands still."""
    count = int(labels.max()) + 1
    area, covered = (
        np.bincount(part.ravel(), minlength=count) for part in (labels, labels[animated])
    )
    moving = covered > 0.5 * area
    points, going = (np.bincount(part, minlength=count) for part in (owner, owner[goes]))
    judged = points >= LEAST_POINTS
    moving[judged] = going[judged] > 0.5 * points[judged]
    moving[0] = False
    return np.asarray(moving)
