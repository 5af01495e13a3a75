"""Real-looking inputs to trace, compare and prove graphs on: white noise hides mistakes that
pictures show.
"""

from __future__ import annotations

import numpy as np


def frames(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 RGB (count,height,width,3): a shaded, textured scene in which two shapes move a
    little each frame.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : width / height : width * 1j]
    corners = rng.uniform(0.1, 0.9, (2, 2, 3))
    across = (x / x.max())[..., None]
    scene = (1 - y[..., None]) * (corners[0, 0] * (1 - across) + corners[0, 1] * across)
    scene = scene + y[..., None] * (corners[1, 0] * (1 - across) + corners[1, 1] * across)
    waves = sum(
        np.sin(fx * x + fy * y + phase) / (1 + np.hypot(fx, fy) / 15)
        for fx, fy, phase in rng.uniform(-60, 60, (12, 3))
    )
    scene = scene + 0.12 * waves[..., None] * rng.uniform(0.4, 1, 3)
    shots = [_with_shapes(scene, x, y, np.random.default_rng(seed + 1), t) for t in range(count)]
    grain = rng.normal(0, 0.01, (count, height, width, 3))
    return (255 * np.clip(np.stack(shots) + grain, 0, 1)).round().astype(np.uint8)


def tracks(count: int, frames: int, dino_channels: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """The motion net's six inputs for `count` tracks: a drifting background, a third moving by
    itself, some hidden.
    """
    rng = np.random.default_rng(seed)
    start, time = rng.uniform(-1, 1, (count, 1, 2)), np.arange(frames)[None, :, None]
    drift = 0.01 * np.sin(0.3 * time + np.array([0.0, 1.5])) + rng.normal(
        0, 0.001, (count, frames, 2)
    )
    moves = (np.arange(count) % 3 == 0)[:, None, None]
    xy = np.clip(start + drift + moves * time * rng.uniform(-0.02, 0.02, 2), -1, 1)
    visibility, confidence = 1 - rng.beta(0.5, 2, (2, count, frames))
    visible = visibility * confidence > 0.5
    # no track stays hidden throughout
    visible[np.arange(count), rng.integers(0, frames, count)] = True
    disparity = np.clip(0.5 + 0.4 * start[..., 1] + rng.normal(0, 0.02, (count, frames)), 0, 1)
    dino = rng.normal(0, 1, (1, dino_channels)) + rng.normal(0, 0.5, (count, dino_channels))
    floats = [a.astype(np.float32) for a in (xy, visibility, confidence, disparity, dino)]
    return floats[0], visible.astype(np.uint8), *floats[1:]


def _with_shapes(
    scene: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, t: int
) -> np.ndarray:
    """`scene` with a disc and a box in front, at their places in frame `t`."""
    shot = scene.copy()
    for is_disc in (True, False):
        centre, step = rng.uniform(0.3, 0.7, 2) * (x.max(), 1), rng.uniform(-0.03, 0.03, 2)
        colour, radius = rng.uniform(0, 1, 3), rng.uniform(0.12, 0.25)
        dx, dy = np.abs(x - centre[0] - t * step[0]), np.abs(y - centre[1] - t * step[1])
        inside = (np.hypot(dx, dy) if is_disc else np.maximum(dx, dy)) < radius
        stripes = 0.15 * np.sin(40 * (x + y))[..., None]
        shot[inside] = (colour + stripes)[inside]
    return shot
