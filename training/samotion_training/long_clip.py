"""Render a clip of any length: `python -m samotion_training.long_clip long.mp4 --frames 3000`.

A fish that bends circles in view from the first frame to the last; a kite and a walker cross the
picture again and again. The camera sways before the demo clip's landscape. Frames are rendered and
encoded a few at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from samotion_bench.scenes import textures
from samotion_bench.scenes.layers import Bend, Layer
from samotion_bench.scenes.motions import Camera, rotations
from samotion_bench.scenes.render import render
from samotion_bench.scenes.scenes import Look, Scene

from samotion_training import commands
from samotion_training.demo import SEED, TEXTURE_PX, standing, still_layers, walker

FPS, HW = 24, (180, 320)
FISH_TURN, KITE_WIDTH, WALK_WIDTH = 5.0, 13.0, 10.0  # time units a circle; units of a crossing
AT_ONCE = 50
FISH = 100  # the instance that is always in view


def camera(time: np.ndarray) -> Camera:
    """Sways to and fro, as far as a person leans."""
    slow = np.sin(2 * np.pi * time / 9)
    hand = 0.008 * np.sin(
        2 * np.pi * np.stack([1.3 * time, 1.7 * time + 0.2, 0.9 * time + 0.6], -1)
    )
    position = np.stack([0.4 * slow, 0.03 * np.sin(5 * time), 0.1 * slow], -1)
    return Camera(rotations(*hand.T), position, np.full(len(time), 1.25), HW[1] / HW[0])


def fish(time: np.ndarray) -> Layer:
    """A blob that bends, on an ellipse before the camera: it never stands still."""
    mask = textures.OUTLINES["blob"](np.random.default_rng(41), TEXTURE_PX)
    cells = textures.TEXTURES["cells"](np.random.default_rng(6), TEXTURE_PX) * 255
    skin = np.dstack([cells, mask]).astype(np.uint8)
    angle = 2 * np.pi * time / FISH_TURN
    path = np.stack([1.1 * np.cos(angle), -0.45 + 0.3 * np.sin(angle), 3.2 + 0 * time], -1)
    wave = Bend(
        np.array([[0.0, 28.0], [9.0, 0.0]]),
        np.array([[0.012, 0.002], [0.0, 0.009]]),
        np.array([9.0, 7.0]),
        np.eye(2),
    )
    return Layer(skin, standing(path, 0.8, skin), FISH, bend=wave)


def kite(time: np.ndarray) -> Layer:
    """Crosses the sky from right to left, then comes again from the right."""
    mask = textures.OUTLINES["polygon"](np.random.default_rng(31), TEXTURE_PX)
    stripes = textures.TEXTURES["stripes"](np.random.default_rng(4), TEXTURE_PX) * 255
    skin = np.dstack([stripes, mask]).astype(np.uint8)
    x = KITE_WIDTH / 2 - np.mod(1.2 * time + 2, KITE_WIDTH)
    path = np.stack([x, -1.3 - 0.3 * np.sin(3.2 * time), 5.2 + 0 * time], -1)
    return Layer(skin, standing(path, 0.9, skin, roll=0.5 * np.sin(2.4 * time)), FISH + 1)


def scene(first: int, count: int) -> Scene:
    """The scene of `count` frames from frame `first` on."""
    rng = np.random.default_rng(SEED)
    time = np.arange(first, first + count) / 24.0
    still = still_layers(rng, count)
    x = np.mod(0.9 * time + 3, WALK_WIDTH) - WALK_WIDTH / 2
    step = 0.42 + 0.03 * np.abs(np.sin(2 * np.pi * 1.1 * time))
    path = np.stack([x, step, 3.9 + 0 * time], -1)
    moving = np.zeros(FISH + 3, bool)
    moving[FISH:] = True
    look = Look(np.ones((count, 3)), gamma=0.95, soft_px=0.3, grain=0.0, jpeg=None)
    layers = (*still, kite(time), *walker(rng, time, path, FISH + 2), fish(time))
    return Scene(layers, camera(time), moving, look, time, substeps=1, seed=SEED)


def frames(count: int, hw: tuple[int, int] = HW) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame (H,W,3) uint8 RGB with its instances (H,W) uint8."""
    for first in range(0, count, AT_ONCE):
        part = render(scene(first, min(AT_ONCE, count - first)), hw)
        yield from zip(part.frames, part.labels)


def write(path: Path, count: int) -> None:
    """Render and encode `count` frames, H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.height, stream.width, stream.pix_fmt = *HW, "yuv420p"
        stream.options = {"crf": "20"}
        for frame, _ in frames(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Render a long clip.")
    options.add_argument("path", type=Path)
    options.add_argument("--frames", type=int, default=3000)
    return options


def _work(args: argparse.Namespace) -> None:
    commands.require_positive(args, "frames")
    commands.require_film(args.path)
    write(args.path, args.frames)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
