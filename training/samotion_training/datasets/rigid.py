"""Exact tracks of rigid things from depth, the camera and each thing's pose: what Kubric's
scenes are made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from samotion.geometry import inside
from samotion_bench.scenes.render import Clip, TruthTracks

DEPTH_SLACK = 0.01  # of the distance: what lies behind what is seen by less is on the same surface
MOVED_UNITS = 0.05  # objects measure 0.75 to 3 units; those that lie still wander by less
TURNED = 0.1  # radians


@dataclass(frozen=True)
class Poses:
    """The camera and the instances through a window. Quaternions are w, x, y, z from own axes to
    the world's.

    The camera looks along its own -z with y up, as Blender's does. `focal` is in widths of the
    picture.
    """

    focal: float
    camera_xyz: np.ndarray  # (T, 3)
    camera_rotation: np.ndarray  # (T, 3, 3) own axes to the world's
    xyz: np.ndarray  # (instances, T, 3)
    rotation: np.ndarray  # (instances, T, 3, 3)


def rotations(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) w, x, y, z of any length but 0 -> (..., 3, 3)."""
    w, x, y, z = np.moveaxis(
        quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0
    )
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def moved(poses: Poses) -> np.ndarray:
    """(1 + instances,) bool: which change their place or turn within the window; the first is
    the backdrop.
    """
    far = np.linalg.norm(poses.xyz - poses.xyz[:, :1], axis=-1).max(1, initial=0) > MOVED_UNITS
    relative = poses.rotation @ np.swapaxes(poses.rotation[:, :1], -1, -2)
    cosine = (np.trace(relative, axis1=-2, axis2=-1) - 1) / 2
    turned = np.arccos(cosine.clip(-1, 1)).max(1, initial=0) > TURNED
    return np.concatenate([[False], far | turned])


def directions(xy: np.ndarray, hw: tuple[int, int], focal: float) -> np.ndarray:
    """Rays (..., 3) of length 1 along the camera's axes through points (..., 2) px (pixel
    centres at whole numbers).
    """
    height, width = hw
    x = (xy[..., 0] + 0.5 - width / 2) / (focal * width)
    y = -(xy[..., 1] + 0.5 - height / 2) / (focal * width)
    rays = np.stack([x, y, -np.ones_like(x)], -1)
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def disparity(distance: np.ndarray, focal: float) -> np.ndarray:
    """1 / depth (T, H, W) float32 of distances (T, H, W) from the camera's centre."""
    hw = distance.shape[1:]
    grid = np.stack(np.meshgrid(np.arange(hw[1]), np.arange(hw[0])), -1)
    along_axis = -directions(grid, hw, focal)[..., 2]
    return np.asarray(1 / np.maximum(distance * along_axis, 1e-6), np.float32)


def follow(poses: Poses, clip: Clip, distance: np.ndarray, tyx: np.ndarray) -> TruthTracks:
    """The surfaces seen at `tyx` (N, 3) (frame, y, x px), carried by their instances through all
    frames.

    `distance` (T, H, W) from the camera's centre; `clip.labels` k belongs to instance k - 1 of
    `poses`. A point is visible where a pixel around it shows its own instance at its own distance.
    """
    hw = clip.labels.shape[1:]
    frames, y, x = tyx.astype(int).T
    owner = clip.labels[frames, y, x].astype(int)
    rays = (
        directions(tyx[:, :0:-1].astype(np.float64), hw, poses.focal) * distance[frames, y, x, None]
    )
    world = np.einsum("nij,nj->ni", poses.camera_rotation[frames], rays) + poses.camera_xyz[frames]
    moving_world = _carried(poses, world, owner, frames)
    local = np.einsum("tji,ntj->nti", poses.camera_rotation, moving_world - poses.camera_xyz)
    depth = np.maximum(-local[..., 2], 1e-6)
    at = poses.focal * hw[1] * local[..., :2] / depth[..., None] * [1, -1] + [
        hw[1] / 2 - 0.5,
        hw[0] / 2 - 0.5,
    ]
    xy = at.clip(-1e5, 1e5).astype(np.float32)
    seen = _shown(xy, np.linalg.norm(local, axis=-1), clip.labels, distance, owner)
    visible = (local[..., 2] < 0) & inside(xy, hw) & seen
    return TruthTracks(xy, visible, owner, clip.moving[owner])


def _carried(poses: Poses, world: np.ndarray, owner: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(N, T, 3): points `world` (N, 3), each as it lies in its own frame, in all frames."""
    out = np.repeat(world[:, None], len(poses.camera_xyz), 1)
    on = np.flatnonzero(owner)
    k, t = owner[on] - 1, frames[on]
    own = np.einsum("nji,nj->ni", poses.rotation[k, t], world[on] - poses.xyz[k, t])
    out[on] = np.einsum("ntij,nj->nti", poses.rotation[k], own) + poses.xyz[k]
    return out


def _shown(
    xy: np.ndarray, far: np.ndarray, labels: np.ndarray, distance: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """(N, T): does one of the four pixels around xy show the point's instance, and nothing of it
    before the point?
    """
    height, width = labels.shape[1:]
    low = np.floor(xy).astype(int)
    t = np.arange(len(labels))
    seen = np.zeros(far.shape, bool)
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = (low[..., 0] + dx).clip(0, width - 1), (low[..., 1] + dy).clip(0, height - 1)
            seen |= (labels[t, y, x] == owner[:, None]) & (
                distance[t, y, x] > far * (1 - DEPTH_SLACK)
            )
    return seen
