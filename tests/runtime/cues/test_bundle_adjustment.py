"""Bundle adjustment finds the cameras that rendered tracks were seen by."""

from __future__ import annotations

import numpy as np
from helpers.camera_tracks import FRAMES, HW
from helpers.space_tracks import FOCAL_PX, SCENE, space_cameras, space_scene
from samotion.cues import bundle_adjustment


def test_the_loss_is_that_of_the_noise_and_rotations_are_found() -> None:
    rays = (space_scene(space_cameras())[SCENE] - np.array(HW[::-1]) / 2) / FOCAL_PX
    visible = np.ones(rays.shape[:2], bool)
    cameras, loss = bundle_adjustment.adjust(rays, visible, 0.1 / FOCAL_PX)
    assert loss < 1.7  # Cauchy's loss of two Gaussian numbers of sigma one, less what was fitted
    relative = np.einsum("tij,tkj->tik", cameras.rotation, space_cameras().rotation)
    cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
    assert np.ptp(np.arccos(cosine.clip(-1, 1))) < 0.01


def test_the_middle_frame_is_the_gauge() -> None:
    rays = (space_scene(space_cameras())[SCENE] - np.array(HW[::-1]) / 2) / FOCAL_PX
    visible = np.ones(rays.shape[:2], bool)
    cameras, _ = bundle_adjustment.adjust(rays, visible, 0.1 / FOCAL_PX)
    middle = FRAMES // 2
    np.testing.assert_allclose(cameras.rotation[middle], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(cameras.translation[middle], 0, atol=1e-6)
    assert np.abs(cameras.translation).max() > 0.05
