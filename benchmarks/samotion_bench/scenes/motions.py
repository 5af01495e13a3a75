"""Random smooth paths, cameras and object motions. Time is in units of 24 frames, lengths in the
scene's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Camera:
    """A pinhole camera per time step: x right, y down, z forward; a point X is seen at rotation
    @ (X - position).
    """

    rotation: np.ndarray  # (S, 3, 3)
    position: np.ndarray  # (S, 3)
    focal: np.ndarray  # (S,) in image heights
    aspect: float  # width over height of the picture as shown, whatever the pixels' shape

    def intrinsics(self, hw: tuple[int, int]) -> np.ndarray:
        """(S, 3, 3) to px of a picture of size hw, pixel centres at whole numbers."""
        height, width = hw
        k = np.zeros((len(self.focal), 3, 3))
        k[:, 0, 0], k[:, 0, 2] = self.focal / self.aspect * width, width / 2 - 0.5
        k[:, 1, 1], k[:, 1, 2] = self.focal * height, height / 2 - 0.5
        k[:, 2, 2] = 1
        return k

    def view_point(self, step: int, xy: np.ndarray, depth: float) -> np.ndarray:
        """World position (3,) of the point seen at xy (0..1 of width and height) at `depth` in
        time step `step`.
        """
        ray = (
            np.array([(xy[0] - 0.5) * self.aspect, xy[1] - 0.5, self.focal[step]])
            / self.focal[step]
        )
        return np.asarray(self.rotation[step].T @ (ray * depth) + self.position[step])

    def see(self, points: np.ndarray) -> np.ndarray:
        """Image positions (S, 2), in image heights from the centre, of one world point per step
        (S, 3).
        """
        seen = np.einsum("sij,sj->si", self.rotation, points - self.position)
        return np.asarray(seen[:, :2] / np.maximum(seen[:, 2:], 1e-3) * self.focal[:, None])


def loguniform(rng: Rng, low: float, high: float) -> float:
    """A number between `low` and `high` whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth(rng: Rng, time: np.ndarray, amplitude: float, width: int = 3) -> np.ndarray:
    """(S, width) random smooth path: a drift and two slow waves; of the order of `amplitude` per
    24 frames.
    """
    drift = rng.normal(0, 0.5, width) * (time[:, None] - time.mean())
    waves = sum(
        rng.normal(0, 0.35, width)
        / k
        * np.sin(2 * np.pi * (k * 0.6 * time[:, None] + rng.random(width)))
        for k in (1, 2.3)
    )
    return np.asarray((drift + waves) * amplitude)


def shake(rng: Rng, time: np.ndarray, amplitude: float, width: int = 2) -> np.ndarray:
    """(S, width) hand tremor: waves of 3 to 8 periods per 24 frames."""
    frequency, phase = rng.uniform(3, 8, (4, width)), rng.random((4, width))
    return np.asarray(
        np.sin(2 * np.pi * (frequency * time[:, None, None] + phase)).sum(1) * amplitude / 4
    )


def rotations(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(S, 3, 3): turn about y by yaw, then about x by pitch, then about z by roll, in radians."""

    def about(axis: int, angle: np.ndarray) -> np.ndarray:
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.broadcast_to(np.eye(3), (*angle.shape, 3, 3)).copy()
        matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
        matrix[..., j, i] = np.sin(angle)
        matrix[..., i, j] = -np.sin(angle)
        return matrix

    return np.asarray(about(2, roll) @ about(0, pitch) @ about(1, yaw))


def still_camera(rng: Rng, time: np.ndarray, aspect: float) -> Camera:
    """A camera that neither moves nor turns nor zooms."""
    steps = len(time)
    focal = np.full(steps, rng.uniform(0.8, 2.0))
    return Camera(
        np.broadcast_to(np.eye(3), (steps, 3, 3)).copy(), np.zeros((steps, 3)), focal, aspect
    )


def moving_camera(rng: Rng, time: np.ndarray, aspect: float) -> Camera:
    """Travels (parallax), turns, zooms and shakes: each at random, from hardly to strongly."""
    still = still_camera(rng, time, aspect)
    # half a radian or so: turning by it moves the picture by one height
    view = 1 / float(still.focal[0])
    travel = loguniform(rng, 0.05, 2.0) * (rng.random() < 0.85)
    turn = loguniform(rng, 0.02, 0.5) * view * (rng.random() < 0.8)
    tremor = loguniform(rng, 0.001, 0.015) * view * (rng.random() < 0.5)
    angles = smooth(rng, time, turn) * [1, 0.5, 0.4]
    angles[:, :2] += shake(rng, time, tremor)
    zoom = smooth(rng, time, rng.uniform(0, 0.3) * (rng.random() < 0.3), 1)[:, 0]
    position = smooth(rng, time, travel) * [1, 0.4, 0.8]
    middle = len(time) // 2
    position, angles = position - position[middle], angles - angles[middle]
    # nearer layers stand 2 units away: the camera never passes one
    position = np.clip(position, -1.6, 1.6)
    return replace(
        still, rotation=rotations(*angles.T), position=position, focal=still.focal * np.exp(zoom)
    )


def follow(rng: Rng, camera: Camera, target: np.ndarray) -> Camera:
    """`camera` panning after `target` (S, 3 world) so that it nearly keeps its place, or
    travelling beside it.
    """
    gain = rng.uniform(0.6, 1.0)
    if rng.random() < 0.4:
        position = camera.position + gain * (blurred(target) - target[len(target) // 2]) * [
            1,
            1,
            0.5,
        ]
        return replace(camera, position=position)
    seen = np.einsum("sij,sj->si", camera.rotation, target - camera.position)
    yaw = blurred(np.arctan2(seen[:, 0], seen[:, 2])[:, None])[:, 0]
    pitch = blurred(np.arctan2(seen[:, 1], np.hypot(seen[:, 0], seen[:, 2]))[:, None])[:, 0]
    middle = len(yaw) // 2
    pan = rotations(-gain * (yaw - yaw[middle]), gain * (pitch - pitch[middle]), np.zeros_like(yaw))
    return replace(camera, rotation=pan @ camera.rotation)


def blurred(path: np.ndarray) -> np.ndarray:
    """`path` (S, D) smoothed over about a fifth of its length, ends held: an operator lags
    behind his subject.
    """
    half = max(1, len(path) // 10)
    kernel = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(path, ((half, half), (0, 0)), mode="edge")
    return np.stack(
        [np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], -1
    )


def progress(rng: Rng, time: np.ndarray) -> np.ndarray:
    """(S,) how far along its way an object is: steady, speeding up, to and fro, or starting and
    stopping.
    """
    kind, middle = rng.random(), time[len(time) // 2]
    t = time - middle
    if kind < 0.45:
        return np.asarray(t)
    if kind < 0.6:
        return np.asarray(t * (1 + rng.uniform(-0.5, 0.5) * t))
    if kind < 0.78:
        period, phase = rng.uniform(0.7, 2.5), rng.random()
        return np.asarray(
            (np.sin(2 * np.pi * (t / period + phase)) - np.sin(2 * np.pi * phase)) * period / 4
        )
    edge = float(np.quantile(time, rng.uniform(0.25, 0.75))) - middle
    return np.asarray(np.maximum(t - edge, 0) if rng.random() < 0.5 else np.minimum(t - edge, 0))


def travel(rng: Rng, time: np.ndarray, camera: Camera, depth: float, speed: float) -> np.ndarray:
    """(S, 3) world path of an object that passes through the middle of the view, `speed` view
    heights per 24 frames.
    """
    middle = len(time) // 2
    start = camera.view_point(middle, rng.uniform(0.15, 0.85, 2), depth)
    heading = rng.normal(0, 1, 3) * [1, 0.35, 0.5]
    heading = heading / max(float(np.hypot(heading[0], heading[1])), 0.4)
    view = depth / float(camera.focal[middle])
    along = progress(rng, time)[:, None] * heading * speed * view
    sway = smooth(rng, time, rng.uniform(0, 0.3) * speed * view) * [1, 1, 0.3]
    path: np.ndarray = start + along + sway - sway[middle]
    # never runs into the camera
    path[:, 2] = np.maximum(path[:, 2], camera.position[:, 2] + 0.45 * depth)
    return path
