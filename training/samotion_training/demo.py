"""Render the demo clip: `python -m samotion_training.demo demo/demo.mp4`, or `--still` for one
where nothing moves.

Procedural from end to end, so that it can lie in the repository: a hillside with trees before a
moving camera, a fish that bends, a kite on its way, and a walker who swings his legs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from samotion_bench.scenes import textures
from samotion_bench.scenes.layers import Bend, Layer, hinge, upright
from samotion_bench.scenes.motions import Camera, rotations
from samotion_bench.scenes.render import render
from samotion_bench.scenes.scenes import Look, Scene, frozen, opaque

from samotion_training import commands

FRAMES, FPS, HW, SEED = 54, 18, (270, 480), 11
TEXTURE_PX = 512
CRF = "22"  # about 120 kB, of the megabyte the repository allows
WAVE = Bend(  # of the fish
    np.array([[0.0, 28.0], [9.0, 0.0]]),
    np.array([[0.012, 0.002], [0.0, 0.009]]),
    np.array([9.0, 7.0]),
    np.eye(2),
)


def camera(time: np.ndarray) -> Camera:
    """Travels to the right and a little forward, and sways as a hand does."""
    position = np.stack([0.55 * (time - 1), 0.03 * np.sin(5 * time), 0.25 * (time - 1)], -1)
    return hand_held(time, 0.012, position)


def hand_held(time: np.ndarray, sway: float, position: np.ndarray) -> Camera:
    """A camera at `position` (S, 3) that sways by as many radians, before a picture of 16:9."""
    angles = sway * np.sin(
        2 * np.pi * np.stack([1.3 * time, 1.7 * time + 0.2, 0.9 * time + 0.6], -1)
    )
    return Camera(rotations(*angles.T), position, np.full(len(time), 1.25), HW[1] / HW[0])


def two_tone(
    rng: np.random.Generator, low: tuple[float, ...], high: tuple[float, ...], octaves: int = 6
) -> np.ndarray:
    """Noise between two colours (0..1), (TEXTURE_PX, TEXTURE_PX, 3) uint8."""
    weight = textures.noise(rng, TEXTURE_PX, octaves, 5)[..., None]
    return np.asarray(255 * (np.array(low) + (np.array(high) - np.array(low)) * weight), np.uint8)


def standing(
    path: np.ndarray,
    size: float,
    texture: np.ndarray,
    roll: np.ndarray | float = 0.0,
    yaw: float = 0.0,
) -> np.ndarray:
    """Corners and picture of a thing that stands upright along a path."""
    tilt = np.zeros((len(path), 3)) + np.array([yaw, 0, 0])
    tilt[:, 2] += roll
    return upright(path, tilt, size, texture)


def still_layers(rng: np.random.Generator, steps: int) -> list[Layer]:
    """Sky, a slanted hillside, the ground, and trees and stones at five depths."""
    sky = opaque(two_tone(rng, (0.35, 0.55, 0.85), (0.95, 0.96, 1.0)))
    hill = opaque(two_tone(rng, (0.12, 0.25, 0.12), (0.6, 0.62, 0.35)))
    ground = opaque(two_tone(rng, (0.35, 0.25, 0.15), (0.8, 0.7, 0.5)))

    def at(*place: float) -> np.ndarray:
        return np.broadcast_to(place, (steps, 3))

    layers = [Layer(sky, standing(at(0, -4, 30), 24, sky), 0, endless=True)]
    hill[..., 3] = textures.OUTLINES["blob"](np.random.default_rng(5), TEXTURE_PX)
    layers.append(Layer(hill, standing(at(2.0, 3.6, 14), 11, hill, yaw=0.3), 1))
    flat = upright(at(0, 1.15, 6), at(0, -1.5, 0), 6, ground)
    layers.append(Layer(ground, flat, 0, endless=True))
    for i, (x, depth, size) in enumerate(
        ((-3.4, 8, 5.0), (2.9, 7, 4.4), (-1.9, 4.6, 1.0), (2.1, 3.4, 0.7)), 2
    ):
        tall = i <= 3
        mask = textures.OUTLINES["branches" if tall else "polygon"](
            np.random.default_rng(19 + i), TEXTURE_PX
        )
        skin = (
            two_tone(rng, (0.2, 0.13, 0.08), (0.55, 0.42, 0.3))
            if tall
            else two_tone(rng, (0.3,) * 3, (0.8,) * 3)
        )
        texture = np.dstack([skin, mask])
        foot = 1.15 + 0.02 * depth - size * (0.48 if tall else 0.4)
        layers.append(Layer(texture, standing(at(x, foot, depth), size, texture), i))
    return layers


def walker(
    rng: np.random.Generator, time: np.ndarray, path: np.ndarray, instance: int
) -> list[Layer]:
    """A trunk with a head, two legs and an arm, jointed."""
    coat = two_tone(rng, (0.45, 0.0, 0.05), (0.9, 0.35, 0.1))
    checks = textures.TEXTURES["checker"](np.random.default_rng(3), TEXTURE_PX) * 60
    yy, xx = np.mgrid[:TEXTURE_PX, :TEXTURE_PX] / TEXTURE_PX
    trunk = ((xx - 0.5) / 0.17) ** 2 + ((yy - 0.42) / 0.3) ** 2 < 1
    head = (xx - 0.5) ** 2 + (yy - 0.09) ** 2 < 0.085**2
    body_texture = np.dstack(
        [np.clip(coat + checks, 0, 255).astype(np.uint8), (trunk | head) * np.uint8(255)]
    )
    body_texture[head, :3] = (236, 188, 150)
    limb_mask = textures.OUTLINES["capsule"](np.random.default_rng(8), TEXTURE_PX)
    legs = np.dstack([two_tone(rng, (0.05, 0.1, 0.3), (0.35, 0.45, 0.85)), limb_mask])
    body = standing(path, 1.25, body_texture, roll=0.05 * np.sin(2 * np.pi * 2 * time))
    pivot, hip, shoulder = (
        np.array(p) * TEXTURE_PX for p in ((0.5, 0.18), (0.5, 0.62), (0.5, 0.28))
    )
    beat = 0.55 * np.sin(2 * np.pi * 1.1 * time)
    parts = ((hip, beat, 0.62), (hip, -beat, 0.62), (shoulder, -1.3 * beat, 0.45))
    layers = [
        Layer(legs, body @ hinge(a, pivot, joint, scale), instance) for joint, a, scale in parts
    ]
    return [*layers[:2], Layer(body_texture, body, instance, shade=0.35), layers[2]]


def movers(rng: np.random.Generator, time: np.ndarray, first: int) -> list[Layer]:
    """The kite, the fish-like balloon and the walker."""
    t = time - 1
    kite, fish = kite_skin(), fish_skin()
    kite_path = np.stack([-1.1 * t + 0.4, -1.0 - 0.35 * np.sin(3.2 * t), 5.2 + 0 * t], -1)
    fish_path = np.stack([1.5 * t - 0.5, -0.25 + 0.2 * np.sin(4 * t), 4.2 - 0.5 * t], -1)
    steps_path = np.stack(
        [-0.9 * t + 0.9, 0.42 + 0.03 * np.abs(np.sin(2 * np.pi * 1.1 * t)), 3.6 + 0 * t], -1
    )
    return [
        Layer(kite, standing(kite_path, 0.9, kite, roll=0.5 * np.sin(2.4 * t)), first),
        Layer(fish, standing(fish_path, 0.95, fish), first + 1, bend=WAVE),
        *walker(rng, time, steps_path, first + 2),
    ]


def kite_skin() -> np.ndarray:
    """A striped polygon, (TEXTURE_PX, TEXTURE_PX, 4) uint8 RGBA."""
    stripes = textures.TEXTURES["stripes"](np.random.default_rng(4), TEXTURE_PX) * 255
    polygon = textures.OUTLINES["polygon"](np.random.default_rng(31), TEXTURE_PX)
    return np.dstack([stripes, polygon]).astype(np.uint8)


def fish_skin() -> np.ndarray:
    """A scaly blob, (TEXTURE_PX, TEXTURE_PX, 4) uint8 RGBA."""
    cells = textures.TEXTURES["cells"](np.random.default_rng(6), TEXTURE_PX) * 255
    blob = textures.OUTLINES["blob"](np.random.default_rng(41), TEXTURE_PX)
    return np.dstack([cells, blob]).astype(np.uint8)


def demo_scene(frames: int = FRAMES) -> Scene:
    """The scene of the demo clip."""
    rng = np.random.default_rng(SEED)
    time = np.arange(frames) / 24.0
    still = still_layers(rng, frames)
    count = max(layer.instance for layer in still) + 1
    look = Look(np.ones((frames, 3)), gamma=0.95, soft_px=0.3, grain=0.0, jpeg=None)
    moving = np.array([False] * count + [True] * 3)
    return Scene(
        (*still, *movers(rng, time, count)), camera(time), moving, look, time, substeps=1, seed=SEED
    )


def write(
    path: Path, frames: Iterable[np.ndarray], hw: tuple[int, int], fps: int, **options: str
) -> None:
    """H.264, yuv420p, index first; `options` of the encoder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = *hw, "yuv420p"
        stream.options = {**options}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Render the demo clip.")
    options.add_argument("path", type=Path)
    options.add_argument("--still", action="store_true", help="nothing moves by itself; 24 frames")
    return options


def _work(args: argparse.Namespace) -> None:
    commands.require_film(args.path)
    scene = frozen(demo_scene(24)) if args.still else demo_scene()
    write(args.path, render(scene, HW).frames, HW, FPS, crf=CRF, preset="veryslow")


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
