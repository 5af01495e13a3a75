"""Tracks of points at all depths, of a still object in front of most and of a moving one, seen by
a moving camera.
"""

from __future__ import annotations

import numpy as np
from samotion.cues.cameras import Cameras, at_origin, project, retract

from helpers.camera_tracks import FRAMES, HW, TIME

FOCAL_PX = 200.0
SCENE, NEAR, GOING = np.arange(120), np.arange(120, 140), np.arange(140, 160)
STILL = np.arange(160) < 120


def space_cameras(translation: float = 1.0, rotation: float = 0.05, zoom: float = 0.0) -> Cameras:
    """Cameras of FRAMES frames that translate, rotate and zoom by so much."""
    translations = np.column_stack([1.5 * TIME, 0.4 * np.sin(4 * TIME), -0.5 * TIME])
    rotations = np.column_stack([np.sin(7 * TIME), TIME, 0 * TIME])
    steps = [rotation * rotations, translation * translations, zoom * TIME]
    return retract(at_origin(FRAMES), np.column_stack(steps))


def space_scene(cameras: Cameras, noise_px: float = 0.1, focal_px: float = FOCAL_PX) -> np.ndarray:
    """Tracks (160,T,2), px: SCENE, then NEAR, then GOING."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.6, 0.6, (160, 2)), 1 / rng.uniform(4, 20, 160)])
    for members, centre in ((NEAR, (-0.1, 0.05)), (GOING, (0.15, -0.05))):
        xy = np.array(centre) + rng.uniform(-0.08, 0.08, (20, 2))
        points[members] = np.column_stack([xy, np.full(20, 1 / 6)])
    rays = project(cameras, points)
    rays[GOING] += 0.12 * np.column_stack([np.sin(9 * TIME), TIME])
    return rays * focal_px + np.array(HW[::-1]) / 2 + rng.normal(0, noise_px, rays.shape)
