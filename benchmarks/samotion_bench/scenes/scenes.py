"""Random scenes: a backdrop, still cut-outs at several depths, and objects that move by
themselves, before a camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from samotion_bench.scenes.data import Library
from samotion_bench.scenes.layers import Layer, halves, limbs, random_bend, upright, wobble
from samotion_bench.scenes.motions import (
    Camera,
    follow,
    loguniform,
    moving_camera,
    still_camera,
    travel,
)

Rng = np.random.Generator
# of the picture's height: an object that moves less by itself is not worth the name
MIN_MOTION = 0.03


@dataclass(frozen=True)
class SceneSettings:
    """Ranges that scenes are drawn from. Frames are time steps of the clip, px those of the
    textures.
    """

    frames: int = 32
    texture_px: int = 256
    max_movers: int = 4
    max_still: int = 6
    no_mover_share: float = 0.15
    ground_share: float = 0.45  # of scenes: a ground that runs from the camera into the distance
    still_camera_share: float = 0.2
    follow_share: float = 0.4  # of moving cameras: they keep an object in view
    blur_share: float = 0.2  # clips with motion blur
    aspects: tuple[float, ...] = (1.0, 1.33, 1.78, 1.78, 0.75)


@dataclass(frozen=True)
class Look:
    """What the picture suffers on its way: light, softness, grain and compression."""

    gain: np.ndarray  # (frames, 3) brightness per channel
    gamma: float
    soft_px: float  # Gaussian blur at 256 px
    grain: float  # standard deviation, grey levels of 255
    jpeg: int | None  # quality, None: not compressed


@dataclass(frozen=True)
class Scene:
    """Everything that fixes a clip but its resolution. `substeps` time steps make one frame
    (motion blur).
    """

    layers: tuple[Layer, ...]
    camera: Camera
    moving: np.ndarray  # (instances,) bool; instance 0 is the backdrop
    look: Look
    time: np.ndarray  # (steps,) in units of 24 frames
    substeps: int
    seed: int

    @property
    def steps(self) -> np.ndarray:
        """(frames,) the time step in the middle of each frame."""
        return np.arange(self.substeps // 2, len(self.time), self.substeps)


Build = Callable[[int, Library, SceneSettings], Scene]


def build_scene(seed: int, library: Library, settings: SceneSettings | None = None) -> Scene:
    """The scene of this seed: same seed, library and settings, same scene."""
    settings = settings or SceneSettings()
    rng = np.random.default_rng(seed)
    time, substeps = time_steps(rng, settings)
    movers = (
        0
        if rng.random() < settings.no_mover_share
        else int(rng.integers(1, settings.max_movers + 1))
    )
    aspect = float(rng.choice(settings.aspects))
    still = rng.random() < settings.still_camera_share
    camera = (still_camera if still else moving_camera)(rng, time, aspect)
    paths = [_path(rng, time, camera) for _ in range(movers)]
    if paths and not still and rng.random() < settings.follow_share:
        camera = follow(rng, camera, paths[0][0])
    layers = backdrop(rng, time, camera, library, settings)
    for _ in range(int(rng.integers(0, settings.max_still + 1))):
        layers += still_object(rng, time, camera, library, settings.texture_px, _next(layers))
    moving = [False] * _next(layers)
    for path, size in paths:
        parts = mover(rng, time, library, settings.texture_px, path, size, len(moving))
        layers += parts
        moving.append(own_motion(parts[-1], camera) > MIN_MOTION)
    look = random_look(rng, settings.frames)
    return Scene(tuple(layers), camera, np.array(moving), look, time, substeps, seed)


def time_steps(rng: Rng, settings: SceneSettings) -> tuple[np.ndarray, int]:
    """The time steps of a clip, in units of 24 frames, and how many of them make one frame."""
    substeps = 3 if rng.random() < settings.blur_share else 1
    return np.arange(settings.frames * substeps) / (24.0 * substeps), substeps


def _next(layers: list[Layer]) -> int:
    return max(layer.instance for layer in layers) + 1


def _path(rng: Rng, time: np.ndarray, camera: Camera) -> tuple[np.ndarray, float]:
    """Where an object goes (S, 3) and its height in world units: from a tenth to two thirds of
    the view's.
    """
    depth = rng.uniform(2.0, 7.0)
    size = loguniform(rng, 0.12, 0.7) * depth / float(camera.focal[len(time) // 2])
    return travel(rng, time, camera, depth, loguniform(rng, 0.12, 1.2)), size


def own_motion(layer: Layer, camera: Camera) -> float:
    """Largest way, in picture heights, between a layer as it moves and as it would be seen had
    it stayed.
    """
    height, width = layer.texture.shape[:2]
    most = 0.0
    for corner in ((0, 0), (width, 0), (width / 2, height)):
        points = layer.plane @ np.array([*corner, 1.0])
        stayed = np.broadcast_to(points[len(points) // 2], points.shape)
        most = max(
            most, float(np.linalg.norm(camera.see(points) - camera.see(stayed), axis=1).max())
        )
    return most


def backdrop(
    rng: Rng, time: np.ndarray, camera: Camera, library: Library, settings: SceneSettings
) -> list[Layer]:
    """Instance 0: a far wall, perhaps slanted with a sky behind it, perhaps a ground that runs
    into the distance.
    """
    steps, zero, size_px = len(time), np.zeros((len(time), 3)), settings.texture_px
    distance = rng.uniform(7, 14)
    view = distance / float(camera.focal[0])

    def wall(depth: float, tilt: np.ndarray) -> Layer:
        path = np.broadcast_to([0.0, 0.0, depth], (steps, 3))
        texture = opaque(library.background(rng, size_px))
        return Layer(
            texture, upright(path, tilt, view * rng.uniform(1.0, 2.0), texture), 0, endless=True
        )

    layers = []
    if rng.random() < 0.5:
        layers.append(wall(4 * distance, zero))
        layers.append(
            wall(distance, zero + np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 0.4), 0]))
        )
    else:
        layers.append(wall(distance, zero))
    if rng.random() < settings.ground_share:
        texture = opaque(library.background(rng, size_px))
        path = np.broadcast_to([0.0, rng.uniform(0.8, 2.5), distance / 2], (steps, 3))
        tilt = zero + np.array([0, -np.pi / 2 + rng.uniform(0.02, 0.12), 0])
        layers.append(
            Layer(
                texture, upright(path, tilt, view * rng.uniform(0.6, 1.2), texture), 0, endless=True
            )
        )
    return layers


def opaque(image: np.ndarray) -> np.ndarray:
    """An RGB image with a full alpha channel."""
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def still_object(
    rng: Rng, time: np.ndarray, camera: Camera, library: Library, size_px: int, instance: int
) -> list[Layer]:
    """A cut-out that stands where it is: now and then a long wall seen at a slant, or something
    with branches.
    """
    kind, depth, zero = rng.random(), rng.uniform(2.0, 9.0), np.zeros((len(time), 3))
    view = depth / float(camera.focal[len(time) // 2])
    size, tilt = loguniform(rng, 0.15, 0.9), rng.normal(0, 0.35)
    if kind < 0.12:
        texture, size, tilt = (
            library.shape(rng, size_px, "quad"),
            rng.uniform(1, 2.5),
            rng.choice([-1, 1]) * 0.9,
        )
    elif kind < 0.24:
        texture, size = library.shape(rng, size_px, "branches"), rng.uniform(0.6, 1.5)
    else:
        texture = library.cutout(rng, size_px)
    place = camera.view_point(int(rng.integers(len(time))), rng.uniform(0, 1, 2), depth)
    path = np.broadcast_to(place, (len(time), 3))
    angles = zero + np.array([tilt, rng.normal(0, 0.15), rng.normal(0, 0.2)])
    shade = float(rng.uniform(0, 0.4) * (rng.random() < 0.3))
    return [Layer(texture, upright(path, angles, size * view, texture), instance, shade=shade)]


def mover(
    rng: Rng,
    time: np.ndarray,
    library: Library,
    size_px: int,
    path: np.ndarray,
    size: float,
    instance: int,
) -> list[Layer]:
    """An object on its path (S, 3), `size` units high: rigid, bending, walking, or with limbs.
    Its body comes last.
    """
    kind, texture = rng.random(), library.cutout(rng, size_px)
    turning = rng.choice([0.05, 0.3, 1.5], p=[0.6, 0.3, 0.1])
    body = upright(path, wobble(rng, time, float(turning)), size, texture)
    shade = float(rng.uniform(0.1, 0.5) * (rng.random() < 0.4))
    if kind < 0.4:
        return [Layer(texture, body, instance, shade=shade)]
    if kind < 0.65:
        return [Layer(texture, body, instance, bend=random_bend(rng, size_px), shade=shade)]
    if kind < 0.85:
        return halves(rng, texture, time, body, instance, shade)
    part = library.shape(rng, size_px, "capsule")
    arms = limbs(rng, [part] * int(rng.integers(1, 5)), time, body, size_px, instance)
    return [*arms, Layer(texture, body, instance, shade=shade)]


def random_look(rng: Rng, frames: int) -> Look:
    """Half of the clips are clean; the rest get light that changes, softness, grain or
    compression.
    """
    t = np.linspace(0, 1, frames)[:, None]
    flicker = rng.normal(0, 0.08, 3) * np.sin(2 * np.pi * (t * rng.uniform(0.3, 2) + rng.random()))
    changing = rng.random() < 0.4
    return Look(
        gain=np.exp(flicker * changing + rng.normal(0, 0.1, 3)),
        gamma=float(np.exp(rng.normal(0, 0.25))),
        soft_px=float(rng.uniform(0.4, 1.3) * (rng.random() < 0.3)),
        grain=float(rng.uniform(1, 7) * (rng.random() < 0.4)),
        jpeg=int(rng.integers(25, 90)) if rng.random() < 0.5 else None,
    )


def frozen(scene: Scene) -> Scene:
    """The same scene with every object standing where it is in the middle of the clip: nothing
    moves by itself.
    """
    middle = len(scene.time) // 2
    layers = tuple(
        replace(
            layer, plane=np.broadcast_to(layer.plane[middle], layer.plane.shape).copy(), bend=None
        )
        for layer in scene.layers
    )
    return replace(scene, layers=layers, moving=np.zeros_like(scene.moving))
