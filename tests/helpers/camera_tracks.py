"""Tracks of a wall, of a thing before it and of one that moves, before a camera that moves."""

from __future__ import annotations

import numpy as np
from samotion.tracks import Tracks

HW, FRAMES = (192, 256), 24
FOCAL_PX = 256.0
TIME = np.arange(FRAMES) / (FRAMES - 1)
PLANE, NEAR, GOING = np.arange(200), np.arange(200, 220), np.arange(220, 240)
STILL = np.arange(240) < 200


def plane_scene(way: float = 1.0, turn: float = 0.05) -> np.ndarray:
    """Tracks (240,T,2) of a slanted wall, of a thing before it and of a mover; the camera goes
    along and turns.
    """
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-6, 6, 240), rng.uniform(-4, 4, 240)
    points = np.stack([x, y, 10 + 0.3 * x], -1)
    for which, centre in ((NEAR, (-1.0, 0.5, 6.0)), (GOING, (1.5, -0.5, 7.0))):
        points[which] = np.array(centre) + rng.uniform(-0.6, 0.6, (20, 3)) * [1, 1, 0.1]
    frames = []
    for t in TIME:
        here = points - way * np.array([1.5 * t, 0.4 * np.sin(4 * t), 0.8 * t])
        here[GOING] += [0.2 * np.sin(9 * t), 1.5 * t, 0]
        cos, sin = np.cos(turn * t), np.sin(turn * t)
        here = here @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]).T
        frames.append(FOCAL_PX * here[:, :2] / here[:, 2:] + np.array(HW[::-1]) / 2)
    return np.stack(frames, axis=1) + rng.normal(0, 0.05, (240, FRAMES, 2))


def always_visible(xy: np.ndarray) -> Tracks:
    seen = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, seen > 0, seen, seen, np.zeros(len(xy), int), xy[:, 0])
