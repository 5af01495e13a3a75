"""Cameras of some frames and the points they see: projection, its Jacobian, and its retraction.

A point is (x, y, inverse depth): its ray (x,y,1) from the origin, and one over its depth; 0 is
infinitely far. A camera is a rotation and a translation of the scene, and a zoom. Steps of a camera
have seven numbers: rotation in radians about the axes, translation, zoom.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
MIN_DEPTH = 0.05  # points nearer than that are projected as if they were there
MIN_ANGLE = 1e-12  # of a rotation, to divide by


class Cameras(NamedTuple):
    """One per frame: rotation (T,3,3), translation (T,3), and zoom (T,), a logarithm."""

    rotation: Array
    translation: Array
    zoom: Array


def at_origin(count: int) -> Cameras:
    """So many cameras that neither turned, went nor zoomed."""
    return Cameras(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), np.zeros(count))


def retract(cameras: Cameras, steps: Array) -> Cameras:
    """Cameras after steps (T,7); rotations by Rodrigues' formula."""
    rotation, translation, zoom = steps[:, :3], steps[:, 3:6], steps[:, 6]
    angle = np.linalg.norm(rotation, axis=1)[:, None, None].clip(MIN_ANGLE)
    skew = _skew(rotation)
    first_order = np.sin(angle) / angle * skew
    second_order = (1 - np.cos(angle)) / angle**2 * skew @ skew
    exponential = np.eye(3) + first_order + second_order
    return Cameras(
        exponential @ cameras.rotation,
        cameras.translation + translation,
        cameras.zoom + zoom,
    )


def project(cameras: Cameras, points: Array) -> Array:
    """Projections (N,T,2) of points (N,3): x and y of rays (x,y,1) of each camera."""
    return perspective(cameras, in_cameras(cameras, points))


def in_cameras(cameras: Cameras, points: Array) -> Array:
    """Coordinates (N,T,3) of points (N,3) in each camera, in units of the point's depth."""
    inverse_depth = points[:, 2, None, None]
    return np.asarray(_rotated(cameras, points) + inverse_depth * cameras.translation)


def perspective(cameras: Cameras, coordinates: Array) -> Array:
    """Projections (N,T,2) of what lies at `coordinates` (N,T,3) of each camera."""
    zoom = np.exp(cameras.zoom)[:, None]
    depth = coordinates[..., 2:].clip(MIN_DEPTH)
    return np.asarray(zoom * coordinates[..., :2] / depth)


def jacobian(cameras: Cameras, points: Array) -> tuple[Array, Array]:
    """Derivatives of `project` by steps of the cameras (N,T,2,7) and by the points (N,T,2,3)."""
    coordinates = in_cameras(cameras, points)
    depth = coordinates[..., 2].clip(MIN_DEPTH)
    scale = np.exp(cameras.zoom) / depth
    projection = scale[..., None] * coordinates[..., :2]
    by_coordinates = np.zeros((*projection.shape, 3))
    by_coordinates[..., 0, 0] = by_coordinates[..., 1, 1] = scale
    by_coordinates[..., 2] = -projection / depth[..., None]

    rotated = _rotated(cameras, points)
    rows = [np.cross(rotated, by_coordinates[..., axis, :]) for axis in (0, 1)]
    by_rotation = np.stack(rows, axis=-2)
    by_translation = by_coordinates * points[:, 2, None, None, None]
    by_zoom = projection[..., None]
    by_camera = np.concatenate([by_rotation, by_translation, by_zoom], axis=-1)
    by_point = np.matmul(by_coordinates, _point_axes(cameras))
    return by_camera, by_point


def _rotated(cameras: Cameras, points: Array) -> Array:
    """The rays (N,T,3) of points (N,3) in the axes of each camera."""
    rays = np.column_stack([points[:, :2], np.ones(len(points))])
    return np.asarray(np.einsum("tij,nj->nti", cameras.rotation, rays))


def _point_axes(cameras: Cameras) -> Array:
    """Derivatives (T,3,3) of a camera's coordinates by a point's three numbers."""
    return np.concatenate([cameras.rotation[..., :2], cameras.translation[..., None]], axis=-1)


def _skew(v: Array) -> Array:
    """Skew-symmetric matrices (...,3,3) of the cross product with v (...,3)."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, axis=-1).reshape(*v.shape, 3)
