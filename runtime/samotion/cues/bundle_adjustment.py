"""Bundle adjustment (Triggs et al., 2000): cameras and points together, from their observations.

Levenberg-Marquardt on a Cauchy loss of the reprojection errors. Priors keep defined what the
observations leave open, and the middle frame is the gauge. Points are eliminated by the Schur
complement.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from samotion.cues.cameras import Cameras, at_origin, jacobian, project, retract

Array = np.ndarray[Any, Any]
CAMERA = 7  # numbers of a camera's step: rotation, translation, zoom
CAUCHY_SCALES = (16.0, 6.0, 2.0)  # in units of the noise, one after the other
ROTATION_SIGMA = 10.0  # prior of a step, radians: hardly any
TRANSLATION_SIGMA = 0.5  # prior, in depths of the scene
ZOOM_SIGMA = 0.05  # prior of each frame's zoom
COMMON_ZOOM_SIGMA = 0.4  # prior of what all zooms share: the focal length
INVERSE_DEPTH, INVERSE_DEPTH_SIGMA = 1.0, 1.0  # prior of a point
MAX_INVERSE_DEPTH = 8.0
GAUGE_PRIOR = 1e6  # weight that holds the middle frame
ROUNDS = 40
TRIES = 6  # dampings tried in a round
DAMPING, NEXT_DAMPING, MIN_DAMPING = 1e-2, 1e-3, 1e-6  # at first, after a change of scale, least
EASED, RAISED = 4, 5  # factors of the damping after a step that helped, and one that did not
GAIN = 1e-2  # relative gain under which the scale shrinks
LAST_GAIN = 1e-4  # under which the last scale is done with
RIDGE = 1e-9  # keeps the inverses of points defined


class Observations(NamedTuple):
    """Rays (N,T,2), x and y of (x,y,1), where `visible` (N,T) bool, and their noise."""

    rays: Array
    visible: Array
    noise: float


class Estimate(NamedTuple):
    """Cameras and points (N,3), their reprojection errors (N,T,2), and the cost of these."""

    cameras: Cameras
    points: Array
    errors: Array
    cost: float


class NormalEquations(NamedTuple):
    """Blocks of cameras and points, each by themselves, and what lies between them."""

    camera_block: Array  # (T,7,7)
    camera_gradient: Array  # (T,7)
    point_block: Array  # (N,3,3)
    point_gradient: Array  # (N,3)
    cross_block: Array  # (7T,3N), of cameras and points
    zoom_block: Array  # (T,T), prior of the cameras' zooms


def adjust(rays: Array, visible: Array, noise: float) -> tuple[Cameras, float]:
    """Cameras of the frames, and the mean Cauchy loss of an observation in squared noises.

    rays (N,T,2) are x and y of the directions (x,y,1) of still tracks, visible (N,T) bool, `noise`
    the spread of a ray. The Cauchy scale shrinks from round to round.
    """
    observed = Observations(np.where(visible[..., None], rays, 0.0), visible, noise)
    scales = [scale * noise for scale in CAUCHY_SCALES]
    cameras = at_origin(visible.shape[1])
    estimate = _evaluate(observed, cameras, _first_points(rays, visible), scales[0])
    damping = DAMPING
    for _ in range(ROUNDS):
        cost = estimate.cost
        estimate, damping = _improve(observed, estimate, scales[0], damping)
        is_last = len(scales) == 1
        if _gain(cost, estimate.cost) >= (LAST_GAIN if is_last else GAIN):
            continue
        if is_last:
            break
        scales.pop(0)
        estimate = _evaluate(observed, estimate.cameras, estimate.points, scales[0])
        damping = NEXT_DAMPING
    loss = _cauchy(estimate.errors[visible], scales[0]).mean() * scales[0] ** 2
    return estimate.cameras, float(loss) / noise**2


def gauss_newton(derivative: Array, residual: Array) -> tuple[Array, Array]:
    """Normal equations (B,D,D), (B,D) of least squares with Jacobians `derivative` (B,K,2,D) and
    residuals (B,K,2).
    """
    rows = derivative.reshape(len(derivative), -1, derivative.shape[-1])
    columns = rows.swapaxes(1, 2)
    right = residual.reshape(len(derivative), -1, 1)
    return columns @ rows, (columns @ right)[..., 0]


def _first_points(rays: Array, visible: Array) -> Array:
    """Points (N,3) to begin with: each track's ray in the visible frame nearest to the middle."""
    count, length = visible.shape
    from_middle = np.abs(np.arange(length) - length // 2)
    nearest = (from_middle + length * ~visible).argmin(axis=1)
    return np.column_stack([rays[np.arange(count), nearest], np.full(count, INVERSE_DEPTH)])


def _gain(before: float, after: float) -> float:
    """By which share a cost fell."""
    return (before - after) / before if after < before else 0.0


def _cauchy(errors: Array, scale: float) -> Array:
    """The Cauchy loss of errors (...,2), in squared scales."""
    squared = (errors**2).sum(axis=-1)
    return np.asarray(np.log1p(squared / scale**2))


def _evaluate(observed: Observations, cameras: Cameras, points: Array, scale: float) -> Estimate:
    """The reprojection errors of cameras and points, and their cost."""
    errors = observed.rays - project(cameras, points)
    data = (observed.visible * _cauchy(errors, scale)).sum() * scale**2
    translation = ((cameras.translation / TRANSLATION_SIGMA) ** 2).sum()
    inverse_depth = (((points[:, 2] - INVERSE_DEPTH) / INVERSE_DEPTH_SIGMA) ** 2).sum()
    zoom = cameras.zoom @ _zoom_precision(len(cameras.zoom)) @ cameras.zoom
    prior = translation + inverse_depth + zoom
    return Estimate(cameras, points, errors, float(data + observed.noise**2 * prior))


def _improve(
    observed: Observations, estimate: Estimate, scale: float, damping: float
) -> tuple[Estimate, float]:
    """The estimate after the first damped step that lowers the cost, if one does; and the damping
    to go on with.
    """
    equations = _normal_equations(observed, estimate, scale)
    for _ in range(TRIES):
        camera_step, point_step = _solve(equations, damping)
        cameras = retract(estimate.cameras, camera_step)
        points = estimate.points + point_step
        points[:, 2] = points[:, 2].clip(0, MAX_INVERSE_DEPTH)
        stepped = _evaluate(observed, cameras, points, scale)
        if stepped.cost < estimate.cost:
            return stepped, max(damping / EASED, MIN_DAMPING)
        damping *= RAISED
    return estimate, damping


def _normal_equations(observed: Observations, estimate: Estimate, scale: float) -> NormalEquations:
    """Gauss-Newton's equations of the observations, reweighted for the Cauchy loss, with priors."""
    squared = (estimate.errors**2).sum(axis=-1)
    weight = np.sqrt(observed.visible / (1 + squared / scale**2))[..., None]
    jacobians = jacobian(estimate.cameras, estimate.points)
    by_camera, by_point = (weight[..., None] * derivative for derivative in jacobians)
    residual = weight * estimate.errors
    cameras = gauss_newton(by_camera.swapaxes(0, 1), residual.swapaxes(0, 1))
    points = gauss_newton(by_point, residual)
    cross_block = _cross_block(by_camera, by_point)
    zoom_block = observed.noise**2 * _zoom_precision(len(cameras[0]))
    equations = NormalEquations(*cameras, *points, cross_block, zoom_block)
    _add_priors(equations, estimate, observed.noise)
    return equations


def _cross_block(by_camera: Array, by_point: Array) -> Array:
    """The block (7T,3N) between cameras and points, of Jacobians (N,T,2,7) and (N,T,2,3)."""
    x, y = (by_camera[:, :, a, :, None] * by_point[:, :, a, None, :] for a in (0, 1))
    count, length = by_camera.shape[:2]
    return np.asarray((x + y).transpose(1, 2, 0, 3).reshape(CAMERA * length, 3 * count))


def _add_priors(equations: NormalEquations, estimate: Estimate, noise: float) -> None:
    """Adds the priors of cameras and points, all but the zooms' own block."""
    cameras, points = estimate.cameras, estimate.points
    sigmas = np.repeat([ROTATION_SIGMA, TRANSLATION_SIGMA], 3)
    precision = (noise / sigmas) ** 2
    pose, middle = range(6), len(cameras.zoom) // 2
    equations.camera_block[:, pose, pose] += precision
    equations.camera_block[middle, pose, pose] += GAUGE_PRIOR
    equations.camera_gradient[:, 3:6] -= precision[3:] * cameras.translation
    equations.camera_gradient[:, 6] -= equations.zoom_block @ cameras.zoom
    point_precision = (noise / INVERSE_DEPTH_SIGMA) ** 2
    equations.point_block[:, 2, 2] += point_precision
    equations.point_gradient[:, 2] -= point_precision * (points[:, 2] - INVERSE_DEPTH)


def _solve(equations: NormalEquations, damping: float) -> tuple[Array, Array]:
    """Steps (T,7) and (N,3) of cameras and points; the points are eliminated by the Schur
    complement.
    """
    length, count = len(equations.camera_block), len(equations.point_block)
    cross = equations.cross_block
    damped_points = equations.point_block * (1 + damping * np.eye(3))
    inverse = np.linalg.inv(damped_points + RIDGE * np.eye(3))
    by_point = cross.reshape(CAMERA * length, count, 1, 3)
    eliminated = np.matmul(by_point, inverse).reshape(cross.shape)

    schur = (-eliminated @ cross.T).reshape(length, CAMERA, length, CAMERA)
    frames = range(length)
    schur[frames, :, frames] += equations.camera_block * (1 + damping * np.eye(CAMERA))
    schur[:, 6, :, 6] += equations.zoom_block
    right = equations.camera_gradient.ravel() - eliminated @ equations.point_gradient.ravel()
    camera_step = np.linalg.solve(schur.reshape(len(right), len(right)), right)

    left = equations.point_gradient - (cross.T @ camera_step).reshape(count, 3)
    point_step = np.matmul(inverse, left[..., None])[..., 0]
    return camera_step.reshape(length, CAMERA), point_step


def _zoom_precision(length: int) -> Array:
    """Precision (T,T) of zooms that have a sigma each and one in common."""
    single, common = ZOOM_SIGMA**2, COMMON_ZOOM_SIGMA**2
    shared = common / (single * (single + length * common))
    return np.eye(length) / single - shared
