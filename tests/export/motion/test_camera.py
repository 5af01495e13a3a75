from __future__ import annotations

import torch
from samotion_export.motion.camera import without_camera

SCALES = (1.0, 0.1, 0.04, 0.02, 0.02)


def _affine(xy: torch.Tensor) -> torch.Tensor:
    """Steps under a panning, zooming and turning camera."""
    return torch.stack(
        [0.03 + 0.02 * xy[..., 0] - 0.01 * xy[..., 1], 0.01 * xy[..., 0] + 0.02 * xy[..., 1]], -1
    )


def _tracks() -> tuple[torch.Tensor, torch.Tensor]:
    xy = torch.rand((120, 6, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return xy, torch.ones(120, 6, 1)


def test_a_moving_camera_alone_leaves_nothing():
    xy, valid = _tracks()
    assert without_camera(_affine(xy), xy, valid, SCALES).abs().max() < 1e-3


def test_what_moves_by_itself_stays():
    xy, valid = _tracks()
    own = torch.zeros_like(xy)
    own[:20] = torch.tensor([0.1, -0.05])
    rest = without_camera(_affine(xy) + own, xy, valid, SCALES)
    assert (rest - own).abs().max() < 5e-3


def test_unknown_steps_count_nothing_and_stay_zero():
    xy, valid = _tracks()
    valid[::3] = 0
    change = (_affine(xy) + 5 * (1 - valid)) * valid
    rest = without_camera(change, xy, valid, SCALES)
    assert rest[::3].abs().max() == 0
    assert rest.abs().max() < 1e-3


def test_no_scales_leave_the_steps_as_published():
    xy, valid = _tracks()
    change = _affine(xy)
    assert without_camera(change, xy, valid, ()) is change


def test_a_frame_without_tracks_is_finite():
    xy, valid = _tracks()
    assert without_camera(_affine(xy) * 0, xy, valid * 0, SCALES).isfinite().all()
