"""Random drives: a camera on a road, what stands beside it, and traffic.

A unit is the camera's height above the road, some 1.4 m.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from samotion_bench.scenes import textures
from samotion_bench.scenes.data import Library
from samotion_bench.scenes.layers import Layer, halves, upright
from samotion_bench.scenes.motions import Camera, loguniform, rotations, shake, smooth
from samotion_bench.scenes.scenes import (
    MIN_MOTION,
    Scene,
    SceneSettings,
    opaque,
    own_motion,
    random_look,
    time_steps,
)

Rng = np.random.Generator
ASPECTS = (1.33, 1.78, 1.78, 1.78)
SPEEDS = (1.0, 12.0)  # units per 24 frames: 5 to 60 km/h
LANE = 2.5  # its width
ROAD_PX = 24  # of a unit
ROAD = (-40.0, 240.0)  # where it begins and ends
SKY = 400.0  # its distance
POSTS_END = 70.0
SMOOTH = ("flat", "clouds")  # textures of skies and bare ground
LYING = np.array([0.0, -np.pi / 2, 0.0])


def build_drive(seed: int, library: Library, settings: SceneSettings | None = None) -> Scene:
    """The drive of this seed: same seed, library and settings, same scene.

    Of the settings those of grounds, still cut-outs, aspects and cameras mean nothing here.
    """
    settings = settings or SceneSettings()
    rng = np.random.default_rng(seed)
    time, substeps = time_steps(rng, settings)
    speed = loguniform(rng, *SPEEDS)
    camera = driver(rng, time, speed)
    layers = list(surroundings(rng, len(time), library, settings.texture_px))
    stays = np.zeros((len(time), 2))
    for instance, thing in enumerate(roadside(rng, library, settings.texture_px), 1):
        shade = float(rng.uniform(0, 0.4) * (rng.random() < 0.3))
        layers.append(Layer(thing.texture, on_ground(thing, stays), instance, shade=shade))
    moving = [False] * (1 + layers[-1].instance)
    if rng.random() >= settings.no_mover_share:
        for _ in range(int(rng.integers(1, settings.max_movers + 1))):
            parts = traffic(rng, time, library, settings.texture_px, speed, len(moving))
            layers += parts
            moving.append(own_motion(parts[-1], camera) > MIN_MOTION)
    look = random_look(rng, settings.frames)
    return Scene(tuple(layers), camera, np.array(moving), look, time, substeps, seed)


def driver(rng: Rng, time: np.ndarray, speed: float) -> Camera:
    """A camera that drives along z, `speed` units per 24 frames, steadily, faster or slower, now
    and then through a bend; in the clip's middle it is one unit above the road's (0, 1, 0).
    """
    middle = len(time) // 2
    t = time - time[middle]
    along = speed * (t + rng.uniform(-0.3, 0.3) * t**2 * (rng.random() < 0.4))
    sway = smooth(rng, time, 0.1, 1)[:, 0]
    yaw = rng.normal(0, 0.25) * (rng.random() < 0.3) * t + smooth(rng, time, 0.02, 1)[:, 0]
    yaw += rng.normal(0, 0.06) - yaw[middle]
    pitch = rng.normal(0, 0.05) + shake(rng, time, loguniform(rng, 0.001, 0.012), 1)[:, 0]
    roll = shake(rng, time, 0.003, 1)[:, 0]
    position = np.stack([sway - sway[middle], np.zeros_like(t), along], 1)
    focal = np.full(len(time), rng.uniform(0.7, 1.8))
    return Camera(rotations(yaw, pitch, roll), position, focal, float(rng.choice(ASPECTS)))


def surroundings(rng: Rng, steps: int, library: Library, size_px: int) -> Iterator[Layer]:
    """Instance 0: a sky, what stands before it far away, the ground, and most times a road on it.

    Sky and ground are often so smooth that they seem to stand still.
    """
    upon, facing = np.zeros((steps, 3)), np.zeros(3)

    def still(
        texture: np.ndarray, place: list[float], size: float, tilt: np.ndarray, endless: bool
    ) -> Layer:
        plane = upright(upon + place, upon + tilt, size, texture)
        return Layer(texture, plane, 0, endless=endless)

    sky = library.background(rng, size_px)
    if rng.random() < 0.7:
        dark = 255 - textures.texture(rng, size_px, SMOOTH)
        sky = np.asarray(255 - rng.uniform(0.1, 0.8) * dark, np.uint8)
    yield still(opaque(sky), [0, 0, SKY], 500, facing, endless=True)
    ground = library.background(rng, size_px)
    if rng.random() < 0.4:
        ground = textures.texture(rng, size_px, SMOOTH)
    yield still(opaque(ground), [0, 1, 0], loguniform(rng, 4, 20), LYING, endless=True)
    for _ in range(int(rng.integers(5))):
        height = loguniform(rng, 8, 50)
        place = [rng.normal(0, 80), 1 - height / 2, rng.uniform(130, ROAD[1])]
        yield still(library.shape(rng, size_px, "quad"), place, height, facing, endless=False)
    if rng.random() < 0.85:
        texture = road(rng, int(rng.integers(1, 5)))
        side = texture.shape[1] / ROAD_PX / 2 - LANE / 2
        ours = side - LANE * (rng.integers(3) - 0.5) * (rng.random() < 0.5)
        place = [ours, 0.999, sum(ROAD) / 2]
        yield still(texture, place, ROAD[1] - ROAD[0], LYING, endless=False)


def road(rng: Rng, lanes: int) -> np.ndarray:
    """(h, w, 4) uint8 RGBA: asphalt with its marks, ROAD_PX to a unit, its far end first."""
    height, width = int((ROAD[1] - ROAD[0]) * ROAD_PX), int((lanes * LANE + 1) * ROAD_PX)
    grain = textures.noise(rng, 256, octaves=5, coarsest=4)
    tiles = np.tile(np.hstack([grain, grain[:, ::-1]]), (height // 256 + 1, width // 512 + 1))
    grey = rng.uniform(40, 170) + (tiles[:height, :width] - 0.5) * rng.uniform(0, 40)
    image = grey[..., None] + rng.normal(0, 4, 3)
    paint, strength = rng.uniform(130, 255, 3), rng.uniform(0.4, 1)
    period_px, share = rng.uniform(3, 9) * ROAD_PX, rng.uniform(0.25, 0.6)
    dashes = np.arange(height) % period_px < share * period_px
    half = max(1, round(rng.uniform(0.04, 0.09) * ROAD_PX))
    for line in range(lanes + 1):
        if rng.random() < 0.85:
            x = int((0.5 + line * LANE) * ROAD_PX)
            rows = dashes if 0 < line < lanes else slice(None)
            image[rows, x - half : x + half] *= 1 - strength
            image[rows, x - half : x + half] += strength * paint
    return opaque(np.clip(image, 0, 255).astype(np.uint8))


class Standing(NamedTuple):
    """Something upright on the ground: its texture, its place, its height in units and its turn
    about itself in radians, 0 towards us.
    """

    texture: np.ndarray
    x: float
    z: float
    height: float
    turn: float = 0.0


def on_ground(thing: Standing, way: np.ndarray) -> np.ndarray:
    """The planes (S, 3, 3) of a thing that goes `way` (S, 2) in x and z from its place."""
    rows = np.flatnonzero((thing.texture[..., 3] > 127).any(1))
    foot = (rows.max(initial=0) + 1) / len(thing.texture)
    x, z = thing.x + way[:, 0], thing.z + way[:, 1]
    path = np.stack([x, np.full_like(x, 1 - thing.height * (foot - 0.5)), z], 1)
    tilt = np.broadcast_to([thing.turn, 0, 0], path.shape)
    return upright(path, tilt, thing.height, thing.texture)


def roadside(rng: Rng, library: Library, size_px: int) -> Iterator[Standing]:
    """What stands beside the road: a row of posts, rails, trees, fronts of houses, and what may be
    parked cars or people that wait.
    """
    if rng.random() < 0.6:
        yield from posts(rng, size_px)
    for side in (-1, 1):
        if rng.random() < 0.3:
            picture = library.background(rng, size_px)
            strip = picture[: max(8, int(size_px * rng.uniform(0.04, 0.3)))]
            rail = opaque(np.hstack([strip, strip[:, ::-1]] * 6))
            x, height = side * rng.uniform(0.8, 3) * LANE, rng.uniform(0.4, 1.5)
            yield Standing(rail, x, 10.0, height, side * np.pi / 2)
    for _ in range(int(rng.integers(10))):
        side, kind, z = int(rng.choice([-1, 1])), rng.random(), loguniform(rng, 3, 60) - 3
        if kind < 0.25:
            tree = library.shape(rng, size_px, "branches")
            yield Standing(tree, side * rng.uniform(1, 5) * LANE, z, rng.uniform(2, 6))
        elif kind < 0.45:
            front = library.shape(rng, size_px, "quad")
            x, turn = side * (rng.uniform(1.2, 5) * LANE + 2), rng.uniform(0.8, 1.5)
            turn *= side * (rng.random() < 0.7)
            yield Standing(front, x, z, rng.uniform(3, 10), turn)
        else:
            x, turn = side * rng.uniform(0.7, 3) * LANE, side * rng.uniform(0, 1.3)
            yield Standing(library.cutout(rng, size_px), x, z, rng.uniform(0.8, 2.2), turn)


def posts(rng: Rng, size_px: int) -> Iterator[Standing]:
    """Posts at equal distances on one side or both, all alike, perhaps with an arm."""
    post = np.zeros((size_px, size_px, 4), np.uint8)
    colour, middle = [*rng.integers(20, 220, 3), 255], size_px // 2
    half = max(1, round(size_px * rng.uniform(0.006, 0.02)))
    post[4:-2, middle - half : middle + half] = colour
    if rng.random() < 0.6:
        post[4 : 4 + 2 * half, middle : middle + int(size_px * rng.uniform(0.1, 0.4))] = colour
    step, height, beside = rng.uniform(4, 20), rng.uniform(2, 7), rng.uniform(0.6, 2.5) * LANE
    for side in (-1, 1):
        if rng.random() < 0.75:
            for z in np.arange(rng.uniform(-step, step), POSTS_END, step):
                yield Standing(post[:, ::-side].copy(), side * beside, z, height)


def traffic(
    rng: Rng, time: np.ndarray, library: Library, size_px: int, speed: float, instance: int
) -> list[Layer]:
    """Something that goes our way, comes towards us, crosses the road, or walks beside it; our
    speed in units per 24 frames. Its body comes last.
    """
    kind, z, texture = rng.random(), loguniform(rng, 3, 35), library.cutout(rng, size_px)
    lane, height = LANE * float(rng.choice([-2, -1, -1, 0, 1, 1, 2])), rng.uniform(0.9, 2.0)
    ahead, across = 0.0, 0.0
    if kind < 0.45:
        ahead = speed * rng.uniform(0.4, 1.7)
    elif kind < 0.7:
        ahead, lane = -max(2.0, speed * rng.uniform(0.4, 1.3)), lane or LANE
    elif kind < 0.85:
        across, lane = float(rng.choice([-1, 1])) * loguniform(rng, 1, 6), rng.normal(0, 1.5)
    else:
        (ahead, across), height = rng.normal(0, 0.6, 2), rng.uniform(0.9, 1.3)
        lane = float(rng.choice([-1, 1])) * rng.uniform(0.6, 2) * LANE
    t = time - time[len(time) // 2]
    swerve = smooth(rng, time, rng.uniform(0, 0.3), 1)[:, 0]
    thing = Standing(texture, lane, z, height, rng.normal(0, 0.3))
    body = on_ground(thing, np.stack([across * t + swerve, ahead * t], 1))
    shade = float(rng.uniform(0.1, 0.6) * (rng.random() < 0.6))
    if kind >= 0.85 and rng.random() < 0.7:
        return halves(rng, texture, time, body, instance, shade)
    return [Layer(texture, body, instance, shade=shade)]
