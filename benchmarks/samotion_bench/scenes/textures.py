"""Procedural textures and outlines: families of each are kept apart for training and for
held-out scenes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator
Family = Callable[[Rng, int], np.ndarray]


def texture(rng: Rng, size_px: int, families: tuple[str, ...]) -> np.ndarray:
    """A random texture (size_px, size_px, 3) uint8 RGB of one of the named families, with some
    grain on it.
    """
    image = TEXTURES[str(rng.choice(families))](rng, size_px)
    grain = noise(rng, size_px, octaves=2, coarsest=max(4, size_px // 8))[..., None]
    image = image + (grain - 0.5) * rng.uniform(0, 0.25)
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)


def outline(rng: Rng, size_px: int, families: tuple[str, ...]) -> np.ndarray:
    """A random alpha mask (size_px, size_px) uint8, 0 or 255, soft by one px at its edge."""
    mask = OUTLINES[str(rng.choice(families))](rng, size_px)
    return np.asarray(cv2.GaussianBlur(mask, (3, 3), 0.7), np.uint8)


def noise(rng: Rng, size_px: int, octaves: int = 4, coarsest: int = 3) -> np.ndarray:
    """Value noise (size_px, size_px) float32 in [0, 1]: random grids of growing fineness, added
    at falling weight.
    """
    total = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        cells = min(coarsest * 2**octave, size_px)
        grid = rng.random((cells, cells), np.float32)
        total += cv2.resize(grid, (size_px, size_px), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def colours(rng: Rng, count: int) -> np.ndarray:
    """(count, 3) float32 in [0, 1]; half of the palettes are shades of one colour, as most real
    surfaces are.
    """
    if rng.random() < 0.5:
        return rng.random((count, 3), np.float32)
    base, spread = rng.random(3, np.float32), np.float32(rng.uniform(0.05, 0.35))
    return np.asarray(np.clip(base + spread * rng.standard_normal((count, 1), np.float32), 0, 1))


def _paint(index: np.ndarray, rng: Rng) -> np.ndarray:
    palette = colours(rng, int(index.max()) + 1)
    return np.asarray(palette[index])


def _blend(weight: np.ndarray, rng: Rng) -> np.ndarray:
    low, high = colours(rng, 2)
    return np.asarray(low + (high - low) * weight[..., None])


def _axes(rng: Rng, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotated coordinates in [-1, 1] over the square, bent a little by noise."""
    y, x = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j].astype(np.float32)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(0, 0.15)
    u = x * np.cos(angle) + y * np.sin(angle) + bend * noise(rng, size_px, 2)
    v = y * np.cos(angle) - x * np.sin(angle) + bend * noise(rng, size_px, 2)
    return u, v


def _clouds(rng: Rng, size_px: int) -> np.ndarray:
    weight = noise(rng, size_px, octaves=int(rng.integers(2, 7)))
    return np.asarray(_blend(weight, rng) * 0.7 + _blend(noise(rng, size_px), rng) * 0.3)


def _flat(rng: Rng, size_px: int) -> np.ndarray:
    return _blend(noise(rng, size_px, octaves=1, coarsest=2) * 0.3, rng)


def _checker(rng: Rng, size_px: int) -> np.ndarray:
    u, v = _axes(rng, size_px)
    k = rng.uniform(3, 12)
    return _paint((np.floor(u * k) + np.floor(v * k)).astype(int) % 2, rng)


def _stripes(rng: Rng, size_px: int) -> np.ndarray:
    u, _ = _axes(rng, size_px)
    edge = rng.random(64) * 2.4 - 1.2
    return _paint(np.digitize(u, np.sort(edge)), rng)


def _bricks(rng: Rng, size_px: int) -> np.ndarray:
    u, v = _axes(rng, size_px)
    k = rng.uniform(3, 9)
    row = np.floor(v * k)
    column = np.floor(u * k / 2 + 0.5 * (row % 2))
    joint = (np.abs(v * k - row) < 0.12) | (np.abs(u * k / 2 + 0.5 * (row % 2) - column) < 0.07)
    tone = (row * 7 + column * 13).astype(int) % 5
    return np.asarray(_paint(np.where(joint, 5, tone), rng))


def _cells(rng: Rng, size_px: int) -> np.ndarray:
    seeds = rng.random((int(rng.integers(12, 120)), 2)) * size_px
    spots = np.full((size_px, size_px), 255, np.uint8)
    spots[seeds[:, 0].astype(int), seeds[:, 1].astype(int)] = 0
    distance, label = cv2.distanceTransformWithLabels(spots, cv2.DIST_L2, 5)
    shade = 1 - 0.4 * (distance / distance.max())[..., None]
    return np.asarray(_paint(label, rng) * shade)


def _dots(rng: Rng, size_px: int) -> np.ndarray:
    canvas = np.ascontiguousarray(_clouds(rng, size_px))
    for colour in colours(rng, int(rng.integers(20, 150))):
        centre = tuple(int(c) for c in rng.integers(0, size_px, 2))
        radius = int(rng.uniform(0.01, 0.06) * size_px) + 1
        cv2.circle(canvas, centre, radius, [float(c) for c in colour], -1)
    return canvas


def _scribbles(rng: Rng, size_px: int) -> np.ndarray:
    canvas = np.ascontiguousarray(_clouds(rng, size_px))
    for colour in colours(rng, int(rng.integers(15, 80))):
        points = np.cumsum(rng.normal(0, size_px / 12, (6, 2)), 0) + rng.random(2) * size_px
        thickness = int(rng.integers(1, 6))
        cv2.polylines(
            canvas, [points.astype(np.int32)], False, [float(c) for c in colour], thickness
        )
    return canvas


def _rings(rng: Rng, size_px: int) -> np.ndarray:
    u, v = _axes(rng, size_px)
    radius = np.hypot(u - rng.uniform(-1, 1), v - rng.uniform(-1, 1)) * rng.uniform(4, 14)
    return np.asarray(_blend(0.5 + 0.5 * np.sin(radius + 3 * noise(rng, size_px)), rng))


def _plaid(rng: Rng, size_px: int) -> np.ndarray:
    u, v = _axes(rng, size_px)
    edges = np.sort(rng.random(24) * 2.4 - 1.2)
    return np.asarray((_paint(np.digitize(u, edges), rng) + _paint(np.digitize(v, edges), rng)) / 2)


def _shards(rng: Rng, size_px: int) -> np.ndarray:
    canvas = np.ascontiguousarray(_clouds(rng, size_px))
    for colour in colours(rng, int(rng.integers(20, 60))):
        points = rng.random(2) * size_px + rng.normal(0, size_px / 9, (3, 2))
        cv2.fillPoly(canvas, [points.astype(np.int32)], [float(c) for c in colour])
    return canvas


TEXTURES: dict[str, Family] = {
    "clouds": _clouds,
    "flat": _flat,
    "checker": _checker,
    "stripes": _stripes,
    "bricks": _bricks,
    "cells": _cells,
    "dots": _dots,
    "scribbles": _scribbles,
    "rings": _rings,
    "plaid": _plaid,
    "shards": _shards,
}
TRAIN_TEXTURES = ("clouds", "flat", "checker", "stripes", "bricks", "cells", "dots", "scribbles")
HELD_OUT_TEXTURES = ("rings", "plaid", "shards", "clouds")


def _filled(points: np.ndarray, size_px: int) -> np.ndarray:
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    return mask


def _ellipse_points(size_px: int, radius: np.ndarray, angles: np.ndarray) -> np.ndarray:
    centre = size_px / 2
    return np.stack([centre + radius * np.cos(angles), centre + radius * np.sin(angles)], -1)


def _blob(rng: Rng, size_px: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = np.ones(90)
    for k in range(2, 7):
        radius += rng.normal(0, 0.35 / k) * np.sin(k * angles + rng.uniform(0, 6.3))
    return _filled(
        _ellipse_points(size_px, np.clip(radius / radius.max(), 0.15, 1) * size_px * 0.46, angles),
        size_px,
    )


def _polygon(rng: Rng, size_px: int) -> np.ndarray:
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
    return _filled(
        _ellipse_points(size_px, rng.uniform(0.25, 0.48, len(angles)) * size_px, angles), size_px
    )


def _capsule(rng: Rng, size_px: int) -> np.ndarray:
    mask = np.zeros((size_px, size_px), np.uint8)
    width = int(size_px * rng.uniform(0.15, 0.35))
    cv2.line(mask, (size_px // 2, width), (size_px // 2, size_px - width), 255, width)
    return mask


def _branches(rng: Rng, size_px: int) -> np.ndarray:
    """A trunk that forks: thin static structure through which the background shows."""
    mask = np.zeros((size_px, size_px), np.uint8)
    tips = [(size_px / 2, float(size_px), -np.pi / 2, size_px * 0.07)]
    for _ in range(int(rng.integers(8, 24))):
        x, y, angle, width = tips[int(rng.integers(len(tips)))]
        length = rng.uniform(0.15, 0.35) * size_px
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        cv2.line(mask, (int(x), int(y)), (int(end[0]), int(end[1])), 255, max(2, int(width)))
        tips.append((*end, angle + rng.normal(0, 0.6), width * 0.8))
    return mask


def _quad(rng: Rng, size_px: int) -> np.ndarray:
    mask = np.zeros((size_px, size_px), np.uint8)
    height, width = (int(size_px * rng.uniform(0.2, 0.5)) for _ in range(2))
    mask[
        size_px // 2 - height : size_px // 2 + height, size_px // 2 - width : size_px // 2 + width
    ] = 255
    return mask


def _crescent(rng: Rng, size_px: int) -> np.ndarray:
    mask = np.zeros((size_px, size_px), np.uint8)
    centre, radius = size_px // 2, int(size_px * 0.45)
    cv2.circle(mask, (centre, centre), radius, 255, -1)
    offset = rng.uniform(-0.5, 0.5, 2) * size_px
    cv2.circle(
        mask,
        (int(centre + offset[0]), int(centre + offset[1])),
        int(radius * rng.uniform(0.4, 0.8)),
        0,
        -1,
    )
    return mask


OUTLINES: dict[str, Family] = {
    "blob": _blob,
    "polygon": _polygon,
    "capsule": _capsule,
    "branches": _branches,
    "quad": _quad,
    "crescent": _crescent,
}
TRAIN_OUTLINES = ("blob", "polygon", "capsule", "quad")
HELD_OUT_OUTLINES = ("blob", "crescent")
