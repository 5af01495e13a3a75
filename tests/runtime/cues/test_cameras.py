"""Projection by cameras, and its Jacobian."""

from __future__ import annotations

import numpy as np
from helpers.camera_tracks import FRAMES
from helpers.space_tracks import space_cameras
from samotion.cues import cameras as module

STEP = 1e-6
POINTS = np.column_stack(
    [np.random.default_rng(2).uniform(-0.5, 0.5, (9, 2)), np.linspace(0, 0.2, 9)]
)


def test_a_camera_at_the_origin_sees_a_point_on_its_ray() -> None:
    projections = module.project(module.at_origin(FRAMES), POINTS)
    np.testing.assert_allclose(projections, np.repeat(POINTS[:, None, :2], FRAMES, axis=1))


def test_a_step_along_an_axis_is_seen_in_proportion_to_the_inverse_depth() -> None:
    step = np.array([[0, 0, 0, 0.5, 0, 0, 0.0]])
    (moved,) = module.project(module.retract(module.at_origin(1), step), POINTS).swapaxes(0, 1)
    np.testing.assert_allclose(moved[:, 0] - POINTS[:, 0], 0.5 * POINTS[:, 2])


def test_a_quarter_turn_about_the_optical_axis_takes_x_to_y() -> None:
    quarter = np.array([[0, 0, np.pi / 2, 0, 0, 0, 0.0]])
    (turned,) = module.project(module.retract(module.at_origin(1), quarter), POINTS).swapaxes(0, 1)
    np.testing.assert_allclose(turned, np.column_stack([-POINTS[:, 1], POINTS[:, 0]]), atol=1e-12)


def test_the_jacobian_is_the_difference_quotient_of_the_projection() -> None:
    cameras = space_cameras(zoom=0.2)
    projections = module.project(cameras, POINTS)
    by_camera, by_point = module.jacobian(cameras, POINTS)
    for k in range(7):
        stepped = module.retract(cameras, STEP * np.tile(np.arange(7) == k, (FRAMES, 1)))
        quotient = (module.project(stepped, POINTS) - projections) / STEP
        np.testing.assert_allclose(by_camera[..., k], quotient, atol=1e-4)
    for k in range(3):
        stepped = POINTS + STEP * (np.arange(3) == k)
        quotient = (module.project(cameras, stepped) - projections) / STEP
        np.testing.assert_allclose(by_point[..., k], quotient, atol=1e-4)
