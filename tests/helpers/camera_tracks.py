"""Tracks of a wall, of a still object in front of it and of a moving one, seen by a moving
camera.
"""

from __future__ import annotations

import numpy as np
from samotion.tracks import Tracks

HW, FRAMES = (192, 256), 24
FOCAL_PX = 256.0
TIME = np.arange(FRAMES) / (FRAMES - 1)
PLANE, NEAR, GOING = np.arange(200), np.arange(200, 220), np.arange(220, 240)
STILL = np.arange(240) < 200


def plane_scene(
    translation: float = 1.0, rotation: float = 0.05, focal_px: float = FOCAL_PX
) -> np.ndarray:
    """Tracks (240,T,2), px, of a slanted wall (PLANE), a still object (NEAR) and a moving one
    (GOING), before a camera that translates and rotates by so much.
    """
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-6, 6, 240), rng.uniform(-4, 4, 240)
    points = np.stack([x, y, 10 + 0.3 * x], -1)
    for members, centre in ((NEAR, (-1.0, 0.5, 6.0)), (GOING, (1.5, -0.5, 7.0))):
        points[members] = np.array(centre) + rng.uniform(-0.6, 0.6, (20, 3)) * [1, 1, 0.1]
    frames = []
    for t in TIME:
        local = points - translation * np.array([1.5 * t, 0.4 * np.sin(4 * t), 0.8 * t])
        local[GOING] += [0.2 * np.sin(9 * t), 1.5 * t, 0]
        cos, sin = np.cos(rotation * t), np.sin(rotation * t)
        local = local @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]).T
        frames.append(focal_px * local[:, :2] / local[:, 2:] + np.array(HW[::-1]) / 2)
    return np.stack(frames, axis=1) + rng.normal(0, 0.05, (240, FRAMES, 2))


def always_visible(xy: np.ndarray) -> Tracks:
    """Tracks at xy (N,T,2) that are visible in all frames."""
    ones = np.ones(xy.shape[:2], np.float32)
    return Tracks(xy, ones > 0, ones, ones, np.zeros(len(xy), int), xy[:, 0])
