"""What a set of tracks shows that no still scene could, however the camera went.

Tracks that seem still tell together how the camera turned, went and zoomed through some frames, and
where each of them is in space: bundle adjustment (Triggs et al., 2000). A set of tracks that is
still has its place in that space too; what goes by itself hardly has one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from samotion.cues.motion_map import LONG_SIDE_PX
from samotion.cues.parallax import log_ratio, rays_of

Array = np.ndarray[Any, Any]
FOCAL = 1.0  # of the picture's longer side, to begin with
WINDOW, MOST = 24, 6  # frames of a window, and windows of a clip
FEWEST, TRACKS = 20, 150  # still tracks that tell the camera
OF_SET = 40  # tracks of a set looked at
SHORTEST = 4  # frames in which a track is seen
NOISE_PX = 0.3  # of a track
SCALES = (16.0, 6.0, 2.0)  # noises at which a departure counts half, one after the other
LOOSE = np.array([10.0] * 3 + [0.5] * 3)  # spreads of turns, and of the way in depths of the scene
# spreads of the frames' zooms, and of what they share: the focal length
ZOOM, ZOOM_OF_ALL = 0.05, 0.4
NEARNESS, SPREAD, NEAREST = 1.0, 1.0, 8.0  # inverse depths: usual, their spread, and largest
ROUNDS, TRIES = 40, 6
MUCH, LITTLE = 1e-2, 1e-4  # gains under which the scale shrinks, and under which it is done
HELD = 1e6  # the middle frame stands
NEAR_PLANE, LEAST = 0.05, 1e-9
# loss per sight, in squared noises, that a scene may leave; more, and it was none, or not still
FITTED = 1.7
UNKNOWN = -0.37  # where no camera is found: as in the median of sets


class Cameras(NamedTuple):
    """One per frame of a window: rotation (T,3,3), way (T,3), and zoom (T,), a logarithm."""

    rotation: Array
    way: Array
    zoom: Array


def unexplained(
    xy: Array, visible: Array, still: Array, sets: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of what a place in the still scene leaves of the motion of `sets`, to
    what turning leaves.

    xy (N,T,2) in px of a picture LONG_SIDE_PX wide, of frames of size `hw`; visible (N,T); `still`
    (N,) bool marks tracks that may show the camera. Very negative: something still and near would
    go as they do.
    """
    px = 1 / (FOCAL * LONG_SIDE_PX)
    rays = rays_of(xy, hw, px)
    found: list[list[tuple[Array, Array]]] = [[] for _ in sets]
    losses = []
    for window in _windows(visible.shape[1]):
        seen, there = visible[:, window], rays[:, window]
        frames = seen.sum(axis=1)
        shown = _evenly(
            np.flatnonzero(still & (frames >= max(SHORTEST, seen.shape[1] // 4))), TRACKS
        )
        if len(shown) < FEWEST:
            continue
        cameras, left = adjust(there[shown], seen[shown], NOISE_PX * px)
        losses.append(left)
        if left > FITTED:
            continue
        for one, of_set in zip(found, sets):
            if len(looked := _evenly(of_set[frames[of_set] >= SHORTEST], OF_SET)):
                placed, turned = (
                    _departures(cameras, there[looked], seen[looked], NOISE_PX * px, nearness) / px
                    for nearness in (None, 0.0)
                )
                one.append((_together(placed), _together(turned)))
    if not losses or np.median(losses) > FITTED:
        return np.full(len(sets), UNKNOWN)
    return np.array([_ratio(one) for one in found], np.float64)


def _ratio(windows: list[tuple[Array, Array]]) -> float:
    if not windows:
        return UNKNOWN
    placed, turned = (float(np.concatenate(one).mean()) for one in zip(*windows))
    return log_ratio(placed, turned)


def _together(departures: Array) -> Array:
    """Squares (F,) of the median departure of tracks (N,T,2), NaN where unseen, in the frames
    that show any.
    """
    with_any = departures[:, ~np.isnan(departures[..., 0]).all(axis=0)]
    return np.asarray((np.nanmedian(with_any, axis=0) ** 2).sum(axis=-1))


def _windows(frames: int) -> list[slice]:
    """Windows spread evenly over the clip, half of each in the next one where MOST allows it."""
    length = min(frames, WINDOW)
    count = min(MOST, 1 + -(-(frames - length) // max(1, length // 2)))
    return [
        slice(start, start + length) for start in np.linspace(0, frames - length, count).astype(int)
    ]


def _evenly(of: Array, most: int) -> Array:
    return of[np.linspace(0, len(of) - 1, most).astype(int)] if len(of) > most else of


def adjust(rays: Array, seen: Array, noise: float) -> tuple[Cameras, float]:
    """Cameras of the frames from still tracks, and the loss per sight that is left, in squared
    noises.

    rays (N,T,2) are what is seen in direction (x,y,1), seen (N,T) bool. Levenberg-Marquardt on
    Cauchy's loss, whose scale shrinks.
    """
    count, length = seen.shape
    nearest = (np.abs(np.arange(length) - length // 2) + length * ~seen).argmin(axis=1)
    points = np.column_stack([rays[np.arange(count), nearest], np.full(count, NEARNESS)])
    cameras = Cameras(np.tile(np.eye(3), (length, 1, 1)), np.zeros((length, 3)), np.zeros(length))
    rays = np.where(seen[..., None], rays, 0.0)
    scales = [scale * noise for scale in SCALES]

    def loss(cameras: Cameras, points: Array) -> tuple[float, Array]:
        off = see(cameras, points) - rays
        data = (seen * np.log1p((off**2).sum(axis=-1) / scales[0] ** 2)).sum() * scales[0] ** 2
        usual = ((cameras.way / LOOSE[3:]) ** 2).sum() + (
            ((points[:, 2] - NEARNESS) / SPREAD) ** 2
        ).sum()
        usual += cameras.zoom @ _zooming(length) @ cameras.zoom
        return float(data + noise**2 * usual), off

    total, off = loss(cameras, points)
    damping = 1e-2
    for _ in range(ROUNDS):
        weight = np.sqrt(seen / (1 + (off**2).sum(axis=-1) / scales[0] ** 2))
        normal = _normal(cameras, points, weight[..., None], off, noise)
        gain = 0.0
        for _ in range(TRIES):
            by_camera, by_point = _step(normal, damping)
            after = moved(cameras, by_camera), points + by_point
            after[1][:, 2] = after[1][:, 2].clip(0, NEAREST)
            new = loss(*after)
            if new[0] < total:
                gain = (total - new[0]) / total
                (cameras, points), (total, off) = after, new
                damping = max(damping / 4, 1e-6)
                break
            damping *= 5
        if gain < (LITTLE if len(scales) == 1 else MUCH):
            if len(scales) == 1:
                break
            scales.pop(0)
            total, off = loss(cameras, points)
            damping = 1e-3
    left = np.log1p((off[seen] ** 2).sum(axis=-1) / scales[0] ** 2).mean() * scales[0] ** 2
    return cameras, float(left) / noise**2


class Normal(NamedTuple):
    """Normal equations of cameras and points, each by themselves, and of what lies between them."""

    of_camera: Array  # (T,7,7)
    to_camera: Array  # (T,7)
    of_point: Array  # (N,3,3)
    to_point: Array  # (N,3)
    across: Array  # (7T,3N), of cameras and points
    zooming: Array  # (T,T), of the cameras' zooms


def _normal(cameras: Cameras, points: Array, weight: Array, off: Array, noise: float) -> Normal:
    """Of departures `off` (N,T,2), each with a weight (N,T,1), and of what is usual."""
    by_camera, by_point = (weight[..., None] * one for one in slopes(cameras, points))
    short = -weight * off
    of_camera, to_camera = _squares(by_camera.swapaxes(0, 1), short.swapaxes(0, 1))
    of_point, to_point = _squares(by_point, short)
    across = sum(
        by_camera[:, :, a, :, None] * by_point[:, :, a, None, :] for a in (0, 1)
    ).transpose(1, 2, 0, 3)
    length, loose, near = len(of_camera), (noise / LOOSE) ** 2, (noise / SPREAD) ** 2
    zooming = noise**2 * _zooming(length)
    of_camera[:, range(6), range(6)] += loose
    of_camera[length // 2, range(6), range(6)] += HELD
    to_camera[:, 3:6] -= loose[3:] * cameras.way
    to_camera[:, 6] -= zooming @ cameras.zoom
    of_point[:, 2, 2] += near
    to_point[:, 2] -= near * (points[:, 2] - NEARNESS)
    return Normal(of_camera, to_camera, of_point, to_point, across.reshape(7 * length, -1), zooming)


def _step(normal: Normal, damping: float) -> tuple[Array, Array]:
    """Steps (T,7) and (N,3) of cameras and points, the points eliminated first."""
    length, count = len(normal.of_camera), len(normal.of_point)
    inverse = np.linalg.inv(normal.of_point * (1 + damping * np.eye(3)) + LEAST * np.eye(3))
    folded = np.matmul(normal.across.reshape(7 * length, count, 1, 3), inverse).reshape(
        7 * length, 3 * count
    )
    reduced = (-folded @ normal.across.T).reshape(length, 7, length, 7)
    reduced[range(length), :, range(length)] += normal.of_camera * (1 + damping * np.eye(7))
    reduced[:, 6, :, 6] += normal.zooming
    right = normal.to_camera.ravel() - folded @ normal.to_point.ravel()
    by_camera = np.linalg.solve(reduced.reshape(7 * length, 7 * length), right)
    rest = normal.to_point - (normal.across.T @ by_camera).reshape(count, 3)
    return by_camera.reshape(length, 7), np.matmul(inverse, rest[..., None])[..., 0]


def _squares(slope: Array, short: Array) -> tuple[Array, Array]:
    """Normal equations: slope (B,K,2,D) and short (B,K,2) give (B,D,D) and (B,D)."""
    flat = slope.reshape(len(slope), -1, slope.shape[-1])
    turned = flat.swapaxes(1, 2)
    return turned @ flat, (turned @ short.reshape(len(slope), -1, 1))[..., 0]


def _zooming(length: int) -> Array:
    """Precision (T,T) of zooms that have a spread each and one together."""
    together = ZOOM_OF_ALL**2 / (ZOOM**2 * (ZOOM**2 + length * ZOOM_OF_ALL**2))
    return np.eye(length) / ZOOM**2 - together


def moved(cameras: Cameras, by: Array) -> Cameras:
    """Cameras after steps (T,7): turns in radians about the axes, ways, zooms."""
    angle = np.linalg.norm(by[:, :3], axis=1)[:, None, None].clip(1e-12)
    cross = _cross(by[:, :3])
    turn = (
        np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross
    )
    return Cameras(turn @ cameras.rotation, cameras.way + by[:, 3:6], cameras.zoom + by[:, 6])


def _cross(v: Array) -> Array:
    """(...,3,3) matrices that take the cross product with v (...,3)."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*v.shape, 3)


def see(cameras: Cameras, points: Array) -> Array:
    """Where (N,T,2) cameras see points (N,3): x and y of the direction (x,y,1) from the middle
    frame, and nearness.
    """
    return _project(cameras, _before(cameras, points)[1])


def _project(cameras: Cameras, before: Array) -> Array:
    """Where (N,T,2) cameras see what lies before them at (N,T,3)."""
    return np.asarray(
        np.exp(cameras.zoom)[:, None] * before[..., :2] / before[..., 2:].clip(NEAR_PLANE)
    )


def _before(cameras: Cameras, points: Array) -> tuple[Array, Array]:
    """Directions (N,T,3) as each camera is turned, and with its way."""
    directions = np.column_stack([points[:, :2], np.ones(len(points))])
    turned = np.einsum("tij,nj->nti", cameras.rotation, directions)
    return turned, turned + points[:, 2, None, None] * cameras.way


def slopes(cameras: Cameras, points: Array) -> tuple[Array, Array]:
    """How `see` changes with the numbers of the cameras (N,T,2,7) and of the points (N,T,2,3)."""
    turned, before = _before(cameras, points)
    scale = np.exp(cameras.zoom) / before[..., 2].clip(NEAR_PLANE)
    at = scale[..., None] * before[..., :2]
    of_place = np.zeros((*at.shape, 3))
    of_place[..., 0, 0] = of_place[..., 1, 1] = scale
    of_place[..., 2] = -at / before[..., 2:].clip(NEAR_PLANE)
    by_turn = np.stack([np.cross(turned, of_place[..., a, :]) for a in (0, 1)], axis=-2)
    to_camera = np.concatenate(
        [by_turn, of_place * points[:, 2, None, None, None], at[..., None]], axis=-1
    )
    axes = np.concatenate([cameras.rotation[..., :2], cameras.way[..., None]], axis=-1)
    return to_camera, np.matmul(of_place, axes)


def _departures(
    cameras: Cameras, rays: Array, seen: Array, noise: float, nearness: float | None
) -> Array:
    """What the best place of each track, or that at `nearness`, leaves of it (N,T,2); NaN where it
    is not seen.

    A place is a linear unknown: sights are weighed by how far it is, and how well it fitted, in the
    round before.
    """
    rays = np.where(seen[..., None], rays, 0.0)
    zoom = np.exp(cameras.zoom)[:, None, None]
    axes = np.concatenate([cameras.rotation, cameras.way[..., None]], axis=-1)
    rows = zoom * axes[:, :2] - rays[..., None] * axes[:, None, 2]
    rows[~seen] = 0
    weight = np.ones((*seen.shape, 1))
    for _ in range(6):
        slope, goal = weight[..., None] * rows[..., [0, 1, 3]], -weight * rows[..., 2]
        if nearness is None:
            normal, right = _squares(slope, goal)
            normal[:, 2, 2] += (noise / SPREAD / 2) ** 2
            right[:, 2] += (noise / SPREAD / 2) ** 2 * NEARNESS
            near = np.linalg.solve(normal + LEAST * np.eye(3), right[..., None])[:, 2, 0].clip(
                0, NEAREST
            )
        else:
            near = np.full(len(rays), nearness)
        normal, right = _squares(slope[..., :2], goal - slope[..., 2] * near[:, None, None])
        points = np.column_stack(
            [np.linalg.solve(normal + LEAST * np.eye(2), right[..., None])[..., 0], near]
        )
        before = _before(cameras, points)[1]
        off = _project(cameras, before) - rays
        far = before[..., 2:].clip(NEAR_PLANE)
        weight = np.sqrt(1 / (1 + (off**2).sum(axis=-1, keepdims=True) / (4 * noise) ** 2)) / far
    return np.where(seen[..., None], off, np.nan)
