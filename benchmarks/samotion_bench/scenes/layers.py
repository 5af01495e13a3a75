"""Layers of a scene: textured planes in space, rigid, jointed or bending, and where their points
are seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samotion_bench.scenes.motions import Camera, rotations, shake, smooth

Rng = np.random.Generator


@dataclass(frozen=True)
class Bend:
    """Waves that deform a texture in its own plane: q goes to q + sum of way * sin(turn * time +
    q . grad + phase).
    """

    way: np.ndarray  # (K, 2) px of the texture
    grad: np.ndarray  # (K, 2) radians per px
    turn: np.ndarray  # (K,) radians per 24 frames
    phase: np.ndarray  # (K, 2): of place and of time

    def shift(self, q: np.ndarray, time: float) -> np.ndarray:
        """Displacement (..., 2) of texture points q (..., 2)."""
        swing = np.sin(self.turn * time + self.phase[:, 1])
        return np.asarray((np.sin(q @ self.grad.T + self.phase[:, 0]) * swing) @ self.way)

    def undo(self, p: np.ndarray, time: float) -> np.ndarray:
        """The q that goes to p: three fixed-point steps, since |way| |grad| stays under 0.5
        (error below 0.1 px).
        """
        q = p
        for _ in range(3):
            q = p - self.shift(q, time)
        return np.asarray(q)


@dataclass(frozen=True)
class Layer:
    """One textured plane. `plane` takes (u, v, 1), texture px, to world points at every time
    step.
    """

    texture: np.ndarray  # (h, w, 4) uint8 RGBA
    plane: np.ndarray  # (S, 3, 3)
    instance: int
    endless: bool = False  # the texture repeats mirrored without end: walls, grounds, skies
    bend: Bend | None = None
    shade: float = 0.0  # how dark a shadow it throws on what lies behind it

    def homographies(self, camera: Camera, hw: tuple[int, int]) -> np.ndarray:
        """(S, 3, 3) texture px to image px; the third row gives depth, that of the inverse gives
        1/depth.
        """
        offset = np.zeros_like(self.plane)
        offset[:, :, 2] = camera.position
        return np.asarray(camera.intrinsics(hw) @ camera.rotation @ (self.plane - offset))

    @property
    def centre(self) -> np.ndarray:
        """(S, 3) world position of the texture's middle."""
        height, width = self.texture.shape[:2]
        return np.asarray(self.plane @ np.array([width / 2, height / 2, 1.0]))


def upright(path: np.ndarray, tilt: np.ndarray, size: float, texture: np.ndarray) -> np.ndarray:
    """Planes (S, 3, 3) of a texture `size` units high, its middle on `path` (S, 3), turned by
    tilt (S, 3) radians.
    """
    height, width = texture.shape[:2]
    axes = np.swapaxes(rotations(*tilt.T), 1, 2)[:, :, :2] * (size / height)
    corner = path - axes @ np.array([width / 2, height / 2])
    return np.concatenate([axes, corner[:, :, None]], 2)


def random_bend(rng: Rng, size_px: int) -> Bend:
    """Waves across a layer that bend it by an eighth to a quarter of their length."""
    grad = rng.normal(0, 1, (2, 2))
    grad *= rng.uniform(1.5, 5, (2, 1)) / size_px / np.linalg.norm(grad, axis=1, keepdims=True)
    way = rng.normal(0, 1, (2, 2))
    way *= (
        rng.uniform(0.1, 0.24, (2, 1))
        / np.linalg.norm(grad, axis=1, keepdims=True)
        / np.linalg.norm(way, axis=1, keepdims=True)
    )
    way *= np.minimum(1, 0.07 * size_px / np.linalg.norm(way, axis=1, keepdims=True))
    return Bend(way, grad, rng.uniform(3, 14, 2), rng.uniform(0, 6.3, (2, 2)))


def swing(rng: Rng, time: np.ndarray, amplitude: float) -> np.ndarray:
    """(S,) radians: a limb's swing, regular or wandering."""
    if rng.random() < 0.7:
        return np.asarray(
            amplitude * np.sin(2 * np.pi * (rng.uniform(0.6, 2.5) * time + rng.random()))
        )
    return smooth(rng, time, amplitude, 1)[:, 0]


def hinge(angle: np.ndarray, pivot: np.ndarray, joint: np.ndarray, scale: float) -> np.ndarray:
    """(S, 3, 3): a part's texture px to the body's, turning by `angle` about its `pivot`, which
    sits on `joint`.
    """
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    out = np.zeros((len(angle), 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1] = cos, -sin, sin, cos
    out[:, :2, 2] = joint - out[:, :2, :2] @ pivot
    out[:, 2, 2] = 1
    return out


def halves(
    rng: Rng, texture: np.ndarray, time: np.ndarray, body: np.ndarray, instance: int, shade: float
) -> list[Layer]:
    """A cut-out taken apart below its waist: the trunk and two legs that swing against each
    other at a joint.
    """
    height, width = texture.shape[:2]
    waist = int(height * rng.uniform(0.42, 0.62))
    columns = np.flatnonzero(texture[waist, :, 3] > 127)
    middle = float(columns.mean()) if len(columns) else width / 2
    overlap = max(2, int(0.05 * height))
    amplitude = rng.uniform(0.15, 0.5)
    beat = swing(rng, time, amplitude)
    joint = np.array([middle, float(waist)])
    layers = []
    for side in (-1, 1):
        leg = texture.copy()
        leg[: waist - overlap, :, 3] = 0
        cut = int(middle)
        if side < 0:
            leg[:, cut + overlap :, 3] = 0
        else:
            leg[:, : max(0, cut - overlap), 3] = 0
        layers.append(Layer(leg, body @ hinge(side * beat, joint, joint, 1), instance, shade=shade))
    trunk = texture.copy()
    trunk[waist + overlap :, :, 3] = 0
    sway = hinge(swing(rng, time, rng.uniform(0, 0.15)), joint, joint, 1)
    return [*layers, Layer(trunk, body @ sway, instance, shade=shade)]


def limbs(
    rng: Rng,
    parts: list[np.ndarray],
    time: np.ndarray,
    body: np.ndarray,
    size_px: int,
    instance: int,
) -> list[Layer]:
    """Loose parts hung around a body of size_px, each by its upper end."""
    layers = []
    for part in parts:
        angle = rng.uniform(0, 2 * np.pi)
        joint = size_px / 2 + 0.28 * size_px * np.array([np.cos(angle), np.sin(angle)])
        turn = swing(rng, time, rng.uniform(0.3, 0.9)) + angle - np.pi / 2
        pivot = np.array([part.shape[1] / 2, 0.15 * part.shape[0]])
        layers.append(
            Layer(part, body @ hinge(turn, pivot, joint, rng.uniform(0.35, 0.6)), instance)
        )
    return layers


def wobble(rng: Rng, time: np.ndarray, amount: float) -> np.ndarray:
    """(S, 3) radians of yaw, pitch and roll for an object that turns a little as it goes."""
    out = smooth(rng, time, amount) * [0.6, 0.4, 1.0]
    out[:, 2] += shake(rng, time, amount * 0.1, 1)[:, 0]
    return np.asarray(np.clip(out, -0.9, 0.9) if amount < 1 else out * [0, 0, 1])


def shrink(texture: np.ndarray, factor: int) -> np.ndarray:
    """The texture at 1/factor of its size, averaged: against aliasing where it is seen small."""
    height, width = texture.shape[:2]
    size = (max(1, width // factor), max(1, height // factor))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA))
