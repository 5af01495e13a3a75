"""What a moving camera does to tracks, estimated and taken away."""

from __future__ import annotations

from torch import Tensor

RIDGE = 1e-4  # of the number of tracks: keeps the fit defined where one or two tracks are seen


def without_camera(change: Tensor, xy: Tensor, valid: Tensor, scales: tuple[float, ...]) -> Tensor:
    """Steps of tracks [N,T,2] minus the affine motion that most of them share in each frame.

    `xy` [N,T,2] is where the steps start, `valid` [N,T,1] is 0 where a step is unknown; it counts
    nothing and stays 0. One reweighted least-squares fit per number in `scales`: steps off the last
    fit by more than the scale hardly count. No scales leave the steps as they are.
    """
    rest = change
    for scale in scales:
        doubt = 1 + (rest * rest).sum(-1, keepdim=True) / scale**2
        rest = (change - fit(change, xy, valid / (doubt * doubt))) * valid
    return rest


def fit(change: Tensor, xy: Tensor, weight: Tensor) -> Tensor:
    """The weighted affine fit of `change` [N,T,2] on `xy` in each frame, at `xy`; in elementary
    operations.
    """
    total = weight.sum(0) + 1e-6  # [T,1]
    centre = (weight * xy).sum(0) / total
    mean = (weight * change).sum(0) / total
    offset = xy - centre
    x, y = offset[..., :1], offset[..., 1:]
    xx, xy_, yy = ((weight * a * b).sum(0) / total for a, b in ((x, x), (x, y), (y, y)))
    to_x, to_y = ((weight * a * change).sum(0) / total for a in (x, y))
    xx, yy = xx + RIDGE, yy + RIDGE
    determinant = xx * yy - xy_ * xy_
    along_x = (yy * to_x - xy_ * to_y) / determinant  # [T,2]
    along_y = (xx * to_y - xy_ * to_x) / determinant
    return mean + x * along_x + y * along_y
