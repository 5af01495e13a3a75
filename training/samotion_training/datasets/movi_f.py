"""Kubric's Movi-F, as its generator renders it or as TensorFlow Datasets publish it, and exports of
its point tracks.

Rendered: one folder per scene with `metadata.json`, `rgba_00000.png`, `segmentation_00000.png` (0 =
backdrop, k = the k-th instance) and `depth_00000.tiff` (float32 distance from the camera's centre).
Published: `*.tfrecord-*` with the same under other names, depth as 16 bit within
`metadata/depth_range`. Both give everything the pool holds; tracks are exact, for scenes are rigid
and their poses known (rigid.py). An instance moves when its pose changes: some that start at rest
are hit.

Exports of tracks (`kubric-tracks`): `SCENE/frames/*.png` and `SCENE/SCENE.npz` with `coords` (N, T,
2) px and `visibility` (N, T), which is 1 where a point is *hidden*. They know neither depth nor
masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from samotion.errors import InputError
from samotion.geometry import inside
from samotion_bench.scenes.render import Clip, TruthTracks, surface_points

from samotion_training.datasets import files, rigid, tfrecord
from samotion_training.datasets.recording import Recording, Source, no_tracks, random_of, windows
from samotion_training.samples import POINTS

PICTURES = ("video", "segmentations", "depth")
NAMES = frozenset(
    {
        *PICTURES,
        *(
            f"camera/{part}"
            for part in ("focal_length", "sensor_width", "positions", "quaternions")
        ),
        *(f"instances/{part}" for part in ("positions", "quaternions")),
        "metadata/depth_range",
    }
)


class Scene(NamedTuple):
    """A scene before its pictures are decoded. Poses are lists of numbers, not yet trusted."""

    name: str
    length: int  # frames
    camera: dict[str, Any]  # focal_length, sensor_width, positions, quaternions
    positions: Any  # instances x frames x 3
    quaternions: Any  # instances x frames x 4
    instances: int
    # "video", "segmentations" or "depth" (distance) of one frame
    picture: Callable[[str, int], np.ndarray]


def sources(folder: Path, frames: int) -> Iterator[Source]:
    """All windows of the scenes below `folder`: rendered ones first, then published ones, in the
    order of names.
    """
    for metadata in sorted(folder.rglob("metadata.json")):
        pictures = len(list(metadata.parent.glob("rgba_*.png")))
        yield from _windows(str(metadata.parent), pictures, frames, partial(rendered, metadata))
    for path in sorted(p for p in folder.rglob("*.tfrecord*") if p.is_file()):
        for start, length in tfrecord.offsets(path):
            # Every scene has 24 frames: with a smaller --frames its first ones are taken.
            yield Source(
                f"{path}:{start}", partial(_whole, partial(published, path, start, length), frames)
            )


def _windows(name: str, count: int, frames: int, load: Callable[[], Scene]) -> Iterator[Source]:
    for window in windows(count, frames):
        yield Source(f"{name}:{window.start}", partial(_read, load, window))


def _whole(load: Callable[[], Scene], frames: int) -> Recording:
    scene = load()
    return _read(lambda: scene, slice(0, min(scene.length, frames)))


def rendered(metadata: Path) -> Scene:
    """The scene of a folder that Kubric's generator wrote."""
    found, folder = files.read_json(metadata), metadata.parent
    try:
        camera, instances = found["camera"], found["instances"]
        positions, quaternions = (
            [instance[key] for instance in instances] for key in ("positions", "quaternions")
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{metadata}: got no {error}, expected Kubric's camera and instances; {files.ADVICE}"
        ) from error

    def picture(kind: str, frame: int) -> np.ndarray:
        name = {
            "video": "rgba_{:05d}.png",
            "segmentations": "segmentation_{:05d}.png",
            "depth": "depth_{:05d}.tiff",
        }
        path = folder / name[kind].format(frame)
        return files.rgb(path) if kind == "video" else files.raster(path)

    count = len(list(folder.glob("rgba_*.png")))
    return Scene(str(folder), count, camera, positions, quaternions, len(instances), picture)


def published(path: Path, start: int, length: int) -> Scene:
    """The scene of one record of a TFRecord file."""
    name = f"{path}:{start}"
    found = tfrecord.read(path, start, length, NAMES)
    if missing := sorted(NAMES - found.keys()):
        raise InputError(
            f"{name}: got no {', '.join(missing)}, expected Movi-F with depth; {files.ADVICE}"
        )
    lists: dict[str, Any] = {part: found[part] for part in PICTURES}
    count = len(lists["video"])
    if not count or any(
        len(values) != count or not isinstance(values, list) for values in lists.values()
    ):
        raise InputError(
            f"{name}: got pictures of differing number, expected one of each kind a frame;"
            f" {files.ADVICE}"
        )
    low, high = files.numbers(found["metadata/depth_range"], (2,), f"{name}: depth_range")

    def picture(kind: str, frame: int) -> np.ndarray:
        data = lists[kind][frame]
        if kind == "video":
            return files.rgb(data, name)
        values = files.raster(data, name)
        return values if kind == "segmentations" else values / 65535 * (high - low) + low

    camera: dict[str, Any] = {
        key: found[f"camera/{key}"]
        for key in ("focal_length", "sensor_width", "positions", "quaternions")
    }
    camera |= {
        key: camera[key][0] if len(camera[key]) == 1 else None
        for key in ("focal_length", "sensor_width")
    }
    positions, quaternions = found["instances/positions"], found["instances/quaternions"]
    return Scene(
        name, count, camera, positions, quaternions, len(positions) // (3 * count), picture
    )


def _read(load: Callable[[], Scene], window: slice) -> Recording:
    """The frames of `window`, with POINTS exact tracks, half of them on instances."""
    scene = load()
    poses = _poses(scene, window)
    chosen = range(window.start, window.stop)
    frames = files.stacked([scene.picture("video", t) for t in chosen], scene.name)
    labels = files.stacked(
        [scene.picture("segmentations", t).squeeze() for t in chosen], scene.name
    )
    distance = files.stacked(
        [scene.picture("depth", t).squeeze().astype(np.float32) for t in chosen], scene.name
    )
    if not frames.shape[:3] == labels.shape == distance.shape or labels.max() > scene.instances:
        raise InputError(
            f"{scene.name}: got pictures of {frames.shape[:3]}, {labels.shape} and"
            f" {distance.shape} with labels up to "
            f"{labels.max()}, expected one size and {scene.instances} instances; {files.ADVICE}"
        )
    labels = labels.astype(np.uint8)
    clip = Clip(frames, rigid.disparity(distance, poses.focal), labels, labels, rigid.moved(poses))
    tyx = surface_points(random_of(f"{Path(scene.name).name}:{window.start}"), clip, POINTS)
    return Recording(clip, rigid.follow(poses, clip, distance, tyx))


def _poses(scene: Scene, window: slice) -> rigid.Poses:
    """The poses of a window, checked."""
    count, instances = scene.length, scene.instances

    def camera(key: str, *shape: int) -> np.ndarray:
        return files.numbers(scene.camera.get(key), shape, f"{scene.name}: camera {key}")

    xyz = files.numbers(
        scene.positions, (instances, count, 3), f"{scene.name}: instances' positions"
    )
    turns = files.numbers(
        scene.quaternions, (instances, count, 4), f"{scene.name}: instances' quaternions"
    )
    eyes = camera("quaternions", count, 4)
    focal = float(camera("focal_length") / camera("sensor_width"))
    if (
        not (np.linalg.norm(turns, axis=-1) > 0).all()
        or not (np.linalg.norm(eyes, axis=-1) > 0).all()
        or focal <= 0
    ):
        raise InputError(
            f"{scene.name}: got a turn or a focal length of 0, expected real ones; {files.ADVICE}"
        )
    return rigid.Poses(
        focal,
        camera("positions", count, 3)[window],
        rigid.rotations(eyes[window]),
        xyz[:, window],
        rigid.rotations(turns[:, window]),
    )


def track_sources(folder: Path, frames: int) -> Iterator[Source]:
    """Windows of exports of point tracks below `folder`."""
    for pictures in sorted(p for p in folder.rglob("frames") if p.is_dir()):
        paths = sorted(pictures.glob("*.png"))
        for window in windows(len(paths), frames):
            yield Source(
                f"{pictures.parent}:{window.start}",
                partial(_read_export, pictures.parent, paths, window),
            )


def _read_export(folder: Path, paths: list[Path], window: slice) -> Recording:
    xy, hidden = _exported(folder, len(paths))
    frames = files.stacked([files.rgb(p) for p in paths[window]], folder)
    able = np.flatnonzero(~hidden[:, window].all(1))
    some = random_of(f"{folder.name}:{window.start}").permutation(able)[:POINTS]
    xy = xy[some][:, window].astype(np.float32)
    visible = ~hidden[some][:, window] & inside(xy, frames.shape[1:3])
    nothing = no_tracks(len(frames))
    labels = np.zeros((0, *frames.shape[1:3]), np.uint8)
    clip = Clip(frames, labels.astype(np.float32), labels, labels, np.zeros(0, bool))
    return Recording(clip, TruthTracks(xy, visible, np.zeros(len(xy), int), nothing.moving))


def _exported(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, T, 2) and hidden (N, T) bool of an export, never unpickled."""
    path = folder / f"{folder.name}.npz"
    if not path.exists() and path.with_suffix(".npy").exists():
        old = path.with_suffix(".npy").name
        raise InputError(
            f"{path.with_suffix('.npy')}: got a pickle, which can run programs, expected"
            f" {path.name}; if you trust it: "
            f"cd {folder} && python -c \"import numpy as n; n.savez('{path.name}',"
            f" **n.load('{old}', allow_pickle=True)"
            '.item())"'
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            xy, hidden = arrays["coords"], arrays["visibility"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: got no coords and visibility ({error}); {files.ADVICE}"
        ) from error
    xy = files.numbers(xy, (len(hidden), count, 2), path)
    return xy, files.numbers(hidden, (len(xy), count), path) > 0.5
