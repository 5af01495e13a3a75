"""Render a clip of any length: `python -m samotion_training.long_clip long.mp4 --frames 3000`.

A fish that bends circles in view from the first frame to the last; a kite and a walker cross the
picture again and again. The camera sways before the demo clip's landscape. Frames are rendered and
encoded a few at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from samotion_bench.scenes.layers import Layer
from samotion_bench.scenes.motions import Camera
from samotion_bench.scenes.render import render
from samotion_bench.scenes.scenes import Look, Scene

from samotion_training import commands, demo
from samotion_training.demo import SEED, WAVE, hand_held, standing, still_layers, walker

FPS, HW = 24, (180, 320)
FISH_TURN, KITE_WIDTH, WALK_WIDTH = 5.0, 13.0, 10.0  # time units a circle; units of a crossing
AT_ONCE = 50
FISH = 100  # the instance that is always in view


def camera(time: np.ndarray) -> Camera:
    """Sways to and fro, as far as a person leans."""
    slow = np.sin(2 * np.pi * time / 9)
    position = np.stack([0.4 * slow, 0.03 * np.sin(5 * time), 0.1 * slow], -1)
    return hand_held(time, 0.008, position)


def fish(time: np.ndarray) -> Layer:
    """A blob that bends, on an ellipse before the camera: it never stands still."""
    skin = demo.fish_skin()
    angle = 2 * np.pi * time / FISH_TURN
    path = np.stack([1.1 * np.cos(angle), -0.45 + 0.3 * np.sin(angle), 3.2 + 0 * time], -1)
    return Layer(skin, standing(path, 0.8, skin), FISH, bend=WAVE)


def kite(time: np.ndarray) -> Layer:
    """Crosses the sky from right to left, then comes again from the right."""
    skin = demo.kite_skin()
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


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Render a long clip.")
    options.add_argument("path", type=Path)
    options.add_argument("--frames", type=int, default=3000)
    return options


def _work(args: argparse.Namespace) -> None:
    commands.require_positive(args, "frames")
    commands.require_film(args.path)
    demo.write(args.path, (frame for frame, _ in frames(args.frames)), HW, FPS, crf="20")


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
