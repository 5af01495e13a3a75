"""A scene of boxes traced ray by ray, and Movi-F's files of it: the truth that reprojected
tracks are held against.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from samotion_training.datasets import recording

HW = (48, 64)
FRAMES = 10
FOCAL, SENSOR = 35.0, 32.0  # mm
HALF = np.array([0.8, 0.5, 0.6])  # of the box, units
WALL_Y = 4.0


def only(sources: Any) -> recording.Recording:
    """The one recording of a dataset, read."""
    (source,) = sources
    return source.read()


def turn(axis: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Quaternion w, x, y, z and matrix of a turn about an axis, the matrix by Rodrigues'
    formula.
    """
    axis = axis / np.linalg.norm(axis)
    return np.r_[np.cos(angle / 2), np.sin(angle / 2) * axis], cv2.Rodrigues(axis * angle)[0]


class Traced:
    """A box that slides and tumbles before a wall, a still one, and a camera that travels and
    rolls.
    """

    def __init__(self) -> None:
        time = np.linspace(0, 1, FRAMES)
        # Blender's camera looks along -z: a quarter turn about x makes that +y, towards the wall.
        self.eye = [turn(np.array([1.0, 0.02, 0.1 * t]), np.pi / 2 + 0.06 * t) for t in time]
        self.eye_xyz = np.stack([0.8 * time - 0.4, -6 + 0.5 * time, 0.2 * time], 1)
        tumbling = [turn(np.array([0.3, 0.2, 1.0]), 0.4 + 0.9 * t) for t in time]
        still = [turn(np.array([0.0, 0.0, 1.0]), 0.5)] * FRAMES
        self.boxes = [tumbling, still]
        self.xyz = np.stack(
            [
                np.stack([2.2 * time - 1.6, 0 * time, 0.4 * time], 1),
                np.tile([0.3, 1.8, -0.3], (FRAMES, 1)),
            ]
        )
        grid = np.stack(np.meshgrid(np.arange(HW[1]), np.arange(HW[0])), -1).reshape(-1, 2)
        shots = [self.shoot(t, grid.astype(float)) for t in range(FRAMES)]
        self.labels = np.stack([s[0] for s in shots]).reshape(FRAMES, *HW)
        self.distance = np.stack([s[1] for s in shots]).reshape(FRAMES, *HW)
        self.frames = np.stack([s[2] for s in shots]).reshape(FRAMES, *HW, 3)

    def shoot(self, t: int, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label, distance and colour along the rays through xy (N, 2) px of frame t."""
        raster = (xy + 0.5) / [HW[1], HW[0]]
        # Kubric's own camera matrix, inverted: (x, y) in shares of the picture, f_y by the sensor's
        # height.
        matrix = np.array(
            [[FOCAL / SENSOR, 0, -0.5], [0, -FOCAL / SENSOR * HW[1] / HW[0], -0.5], [0, 0, -1.0]]
        )
        rays = np.c_[raster, np.ones(len(xy))] @ np.linalg.inv(matrix).T
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) @ self.eye[t][1].T
        origin = self.eye_xyz[t]
        far = (WALL_Y - origin[1]) / rays[:, 1]
        label, place = np.zeros(len(xy), int), origin + rays * far[:, None]
        for k, box in enumerate(self.boxes):
            start = (origin - self.xyz[k, t]) @ box[t][1]
            way = rays @ box[t][1]
            sides = np.sort(np.stack([(-HALF - start) / way, (HALF - start) / way]), 0)
            enter, leave = sides[0].max(1), sides[1].min(1)
            hit = (enter < leave) & (enter > 0) & (enter < far)
            far = np.where(hit, enter, far)
            label[hit] = k + 1
            place[hit] = (start + way * enter[:, None])[hit]
        return label, far, (128 + 100 * np.sin(2.5 * place)).astype(np.uint8)

    def project(self, t: int, k: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a place (N, 3) of instance k (0: the world) is seen in frame t, px, and how far
        away.
        """
        world = place @ self.boxes[k - 1][t][1].T + self.xyz[k - 1, t] if k else place
        seen = (world - self.eye_xyz[t]) @ self.eye[t][1]
        scale = FOCAL / SENSOR * HW[1] / -seen[:, 2]
        px = np.stack(
            [HW[1] / 2 + scale * seen[:, 0] - 0.5, HW[0] / 2 - scale * seen[:, 1] - 0.5], 1
        )
        return px, np.linalg.norm(seen, axis=1)

    def place(self, t: int, xy: np.ndarray, k: int) -> np.ndarray:
        """The place in instance k's own axes of what xy (N, 2) shows in frame t."""
        far = self.shoot(t, xy)[1]
        near, one = (self._world(t, xy, d) for d in (np.zeros(len(xy)), np.ones(len(xy))))
        world = near + (one - near) * far[:, None]
        return (world - self.xyz[k - 1, t]) @ self.boxes[k - 1][t][1] if k else world

    def _world(self, t: int, xy: np.ndarray, far: np.ndarray) -> np.ndarray:
        x = (xy[:, 0] + 0.5 - HW[1] / 2) * SENSOR / FOCAL / HW[1]
        y = -(xy[:, 1] + 0.5 - HW[0] / 2) * SENSOR / FOCAL / HW[1]
        ray = np.stack([x, y, -np.ones(len(xy))], 1)
        return (
            self.eye_xyz[t]
            + far[:, None] * (ray / np.linalg.norm(ray, axis=1, keepdims=True)) @ self.eye[t][1].T
        )

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "camera": {
                "focal_length": FOCAL,
                "sensor_width": SENSOR,
                "positions": self.eye_xyz.tolist(),
                "quaternions": [q.tolist() for q, _ in self.eye],
            },
            "instances": [
                {
                    "positions": self.xyz[k].tolist(),
                    "quaternions": [q.tolist() for q, _ in box],
                    "is_dynamic": k == 0,
                }
                for k, box in enumerate(self.boxes)
            ],
        }


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "png")
    return file.getvalue()


def example_type() -> Any:
    """tf.train.Example, declared here, so that protobuf's own writer makes the records."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = {"BytesList": 12, "FloatList": 2, "Int64List": 3}
    for name, kind in kinds.items():
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(kinds, 1):
        feature.field.add(
            name=name, number=number, type=11, type_name=f".t.{name}", label=1, oneof_index=0
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".t.Feature", label=1)
    features.field.add(
        name="feature", number=1, type=11, type_name=".t.Features.FeatureEntry", label=3
    )
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, type_name=".t.Features", label=1)
    found = descriptor_pool.DescriptorPool()
    found.Add(file)
    return message_factory.GetMessageClass(found.FindMessageTypeByName("t.Example"))


def record(**features: Any) -> bytes:
    example = example_type()()
    for name, value in features.items():
        feature = example.features.feature[name.replace("__", "/")]
        if isinstance(value, list):
            feature.BytesList.value.extend(value)
        elif value.dtype.kind == "f":
            feature.FloatList.value.extend(value.ravel().tolist())
        else:
            feature.Int64List.value.extend(value.ravel().tolist())
    message = example.SerializeToString()
    return struct.pack("<Q", len(message)) + bytes(4) + message + bytes(4)


def write_rendered(scene: Traced, root: Path) -> Path:
    """A folder as Kubric's generator writes it: opacity, palettes, float TIFFs."""
    folder = root / "0007"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(scene.metadata))
    for t in range(FRAMES):
        Image.fromarray(np.dstack([scene.frames[t], np.full(HW, 255, np.uint8)])).save(
            folder / f"rgba_{t:05d}.png"
        )
        labels = Image.fromarray(scene.labels[t].astype(np.uint8))
        labels.putpalette([7, 9, 11, 200, 10, 10, 10, 200, 10])
        labels.save(folder / f"segmentation_{t:05d}.png")
        Image.fromarray(scene.distance[t].astype(np.float32)).save(folder / f"depth_{t:05d}.tiff")
    return root


def write_published(scene: Traced, folder: Path) -> Path:
    """A shard as TensorFlow Datasets write it, of a foreign record and the scene."""
    low, high = scene.distance.min(), scene.distance.max()
    depth = np.round((scene.distance - low) / (high - low) * 65535).astype(np.uint16)
    camera = scene.metadata["camera"]
    message = record(
        video=[png(f) for f in scene.frames],
        segmentations=[png(f.astype(np.uint8)) for f in scene.labels],
        depth=[png(f) for f in depth],
        metadata__depth_range=np.array([low, high]),
        metadata__video_name=[b"7"],
        instances__positions=scene.xyz,
        instances__quaternions=np.array([[q for q, _ in box] for box in scene.boxes]),
        instances__is_dynamic=np.array([1, 0]),
        **{f"camera__{key}": np.array(value, float) for key, value in camera.items()},
    )
    folder.mkdir()
    (folder / "movi_f-train.tfrecord-00000-of-00001").write_bytes(
        record(strange=np.array([-3, 1 << 40])) + message
    )
    return folder
