"""Images and clips with objects for training SAM 2: real instances, drawn regions, cut-outs over
photographs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from samotion.errors import InputError
from samotion_bench.scenes import textures
from samotion_bench.scenes.data import (
    FOLDERS,
    Labelled,
    open_library,
    pictures_in,
    read_labelled,
    read_rgb,
)

HELD_OUT = 8  # every 8th picture is kept aside for eval_sam2
PROCEDURAL = 0.4  # share of composites without photographs
TEXTURE_PX = 256
LEAST_AREA = 0.004  # of the image: smaller objects are not asked for


class Picture(NamedTuple):
    """One photograph (H,W,3) uint8 RGB with its label maps (H,W), 0 = nothing known."""

    image: np.ndarray
    labels: tuple[np.ndarray, ...]


class Sources(NamedTuple):
    """Everything in memory, decoded once."""

    instances: list[Picture]
    regions: list[Picture]
    photos: list[np.ndarray]
    cutouts: list[np.ndarray]  # objects (h,w,4) uint8, RGB and opacity


class Clip(NamedTuple):
    """Square frames (F,S,S,3) uint8 RGB with labels (F,S,S) int32, squeezed from `aspect` times
    as wide as high.
    """

    frames: np.ndarray
    labels: np.ndarray
    aspect: float


def load(data: Path | None, held_out: bool = False) -> Sources:
    """Reads the folders instances, regions and photos under `data`; procedural pictures where there
    is none.

    held_out: the part kept aside for measuring instead of the part for training, which leaves out
    what scenes keep aside as well. Raises InputError where a folder has no picture of that part.
    """
    if data is None:
        return _procedural(np.random.default_rng(1 if held_out else 0))
    chosen = paths_of(data, held_out)
    instances = [_picture(p, ("",)) for p in chosen["instances"]]
    regions = [_picture(p, ("_fine", "_coarse")) for p in chosen["regions"]]
    photos = [read_rgb(p) for p in chosen["photos"]]
    cutouts = [c for p in instances for c in cut_out(p)]
    if not cutouts:
        raise InputError(
            f"{data / 'instances'}: got no object that can be cut out of the {len(instances)}"
            " pictures used, expected one that lies within its picture and takes 1 % of it"
        )
    return Sources(instances, regions, photos, cutouts)


def paths_of(data: Path, held_out: bool) -> dict[str, list[Path]]:
    """The pictures of `load` by folder. Raises InputError where a folder has none."""
    aside = set() if held_out else held_out_of_scenes(data)
    chosen = {}
    for name in FOLDERS:
        every = pictures_in(data / name)
        chosen[name] = [p for p in _part(every, held_out) if p not in aside]
        if not chosen[name]:
            part = "kept aside" if held_out else "to train on"
            raise InputError(
                f"{data / name}: got {len(every)} pictures and none {part}, expected more; see"
                " training/sam2.md for what --data holds"
            )
    return chosen


def held_out_of_scenes(data: Path) -> set[Path]:
    """The pictures that scenes keep aside."""
    library = open_library(data, held_out=True)
    labelled = (one.image for one in (*library.instances, *library.regions))
    return {*library.photos, *labelled}


def cut_out(picture: Picture) -> list[np.ndarray]:
    """The whole, large enough objects (h,w,4) uint8 RGBA of a picture, with softened edges."""
    labels = picture.labels[0]
    found = []
    for value in np.unique(labels[labels > 0]):
        mask = labels == value
        edge = mask[[0, -1]].sum() + mask[:, [0, -1]].sum()
        if mask.mean() > 0.01 and edge < 0.2 * np.sqrt(mask.sum()):
            ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = np.s_[max(ys[0] - 2, 0) : ys[-1] + 3, max(xs[0] - 2, 0) : xs[-1] + 3]
            alpha = cv2.GaussianBlur(mask[box].astype(np.float32), (0, 0), 0.8)
            # inside the drawn outline, so that no old background comes along
            alpha = np.clip(alpha * 2 - 0.9, 0, 1)
            found.append(np.dstack([picture.image[box], (alpha * 255).astype(np.uint8)]))
    return found


def still(sources: Sources, size_px: int, rng: np.random.Generator) -> Clip:
    """One image as a clip of one frame: an instance picture, a region picture or a composite."""
    kind = rng.random()
    if kind < 0.4 and sources.instances:
        picture = sources.instances[rng.integers(len(sources.instances))]
    elif kind < 0.7 and sources.regions:
        picture = sources.regions[rng.integers(len(sources.regions))]
    else:
        return composite(sources, size_px, 1, rng)
    return warped(picture, size_px, 1, rng)


def moving(sources: Sources, size_px: int, frames: int, rng: np.random.Generator) -> Clip:
    """A short clip: cut-outs moving over a moving photograph, or a real picture bending and
    drifting.
    """
    if rng.random() < 0.35 and sources.instances:
        pictures = sources.instances if rng.random() < 0.6 else sources.regions
        return warped(pictures[rng.integers(len(pictures))], size_px, frames, rng)
    return composite(sources, size_px, frames, rng)


def warped(picture: Picture, size_px: int, frames: int, rng: np.random.Generator) -> Clip:
    """A random crop of a picture, squeezed to a square; over time it drifts, zooms and bends."""
    labels = picture.labels[rng.integers(len(picture.labels))].astype(np.int32)
    if len(picture.labels) > 1 and rng.random() < 0.5:
        labels = _joined(labels, rng)
    height, width = labels.shape
    crop_wh = np.array([width, height]) * rng.uniform(0.55, 1.0, 2)
    corner = rng.random(2) * (np.array([width, height]) - crop_wh)
    flip = rng.random() < 0.5
    image = _shrunk(picture.image, crop_wh.min() / size_px)
    scale = image.shape[1] / width
    images, maps = [], []
    for bend in _bends(size_px, frames, rng):
        place = bend[:, ::-1] if flip else bend
        xy = (place * crop_wh + corner).astype(np.float32)
        x, y = xy[..., 0], xy[..., 1]
        images.append(
            cv2.remap(
                image, x * scale, y * scale, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
            )
        )
        maps.append(
            cv2.remap(
                labels.astype(np.float32),
                x,
                y,
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        )
    return Clip(
        coloured(np.stack(images), rng),
        np.stack(maps).astype(np.int32),
        float(crop_wh[0] / crop_wh[1]),
    )


def composite(sources: Sources, size_px: int, frames: int, rng: np.random.Generator) -> Clip:
    """One to four cut-outs over a photograph, each on its own path; some leave the picture."""
    aspect = float(rng.uniform(1.0, 1.8))
    drawn = rng.random() < PROCEDURAL
    backgrounds = (
        sources.photos
        if rng.random() < 0.7 or not sources.regions
        else [p.image for p in sources.regions]
    )
    background = texture(rng) if drawn else backgrounds[rng.integers(len(backgrounds))]
    images = [_view(background, bend) for bend in _bends(size_px, frames, rng)]
    maps = np.zeros((frames, size_px, size_px), np.int32)
    for value in range(1, int(rng.integers(1, 5)) + 1):
        piece = shape(rng) if drawn else sources.cutouts[rng.integers(len(sources.cutouts))]
        for t, (matrix, gain) in enumerate(_path(piece.shape[:2], size_px, frames, aspect, rng)):
            images[t], cover = _pasted(images[t], piece, matrix, gain)
            maps[t][cover] = value
    return Clip(coloured(np.stack(images), rng), maps, aspect)


def texture(rng: np.random.Generator) -> np.ndarray:
    """A ground (TEXTURE_PX,TEXTURE_PX,3) uint8 RGB of the procedural families that scenes are
    trained on.
    """
    return textures.texture(rng, TEXTURE_PX, textures.TRAIN_TEXTURES)


def shape(rng: np.random.Generator) -> np.ndarray:
    """A procedural object (h,w,4) uint8, RGB and opacity."""
    alpha = textures.outline(rng, TEXTURE_PX, textures.TRAIN_OUTLINES)
    x, y, width, height = cv2.boundingRect(alpha)
    return np.dstack([texture(rng), alpha])[y : y + height, x : x + width]


def objects_of(clip: Clip, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks (F,S,S) bool of up to `count` objects that the first frame shows large enough,
    larger ones rather.
    """
    values, areas = np.unique(clip.labels[0], return_counts=True)
    share = areas / clip.labels[0].size
    fit = (values > 0) & (share > LEAST_AREA) & (share < 0.7)
    if not fit.any():
        return []
    weight = np.sqrt(share[fit])
    picked = rng.choice(
        values[fit], min(count, int(fit.sum())), replace=False, p=weight / weight.sum()
    )
    return [clip.labels == value for value in picked]


def _part(paths: list[Path], held_out: bool) -> list[Path]:
    return [p for i, p in enumerate(paths) if (i % HELD_OUT == HELD_OUT - 1) == held_out]


def _picture(path: Path, suffixes: tuple[str, ...]) -> Picture:
    maps = [path.with_name(f"{path.stem}{suffix}.png") for suffix in suffixes]
    pairs = [read_labelled(Labelled(path, map_)) for map_ in maps]
    return Picture(pairs[0][0], tuple(labels for _, labels in pairs))


def _joined(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels with some neighbouring regions joined, so that objects have inner edges too."""
    joined = labels.copy()
    for _ in range(int(rng.integers(1, 4))):
        y, x = (rng.integers(max(1, side - 40)) for side in labels.shape)
        near = np.unique(joined[y : y + 40, x : x + 40])
        joined[np.isin(joined, near)] = near[-1]
    return joined


def _bends(size_px: int, frames: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sampling places (S,S,2) in [0,1] per frame: a slow zoom, turn and drift, and a smooth bend
    that grows.
    """
    ramp = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    base = np.stack(np.meshgrid(ramp, ramp), axis=-1)
    zoom, angle = rng.normal(0, 0.03), rng.normal(0, 0.03)
    drift = rng.normal(0, 0.03, 2)
    bend = cv2.resize(
        rng.normal(0, 0.012, (4, 4, 2)).astype(np.float32),
        (size_px,) * 2,
        interpolation=cv2.INTER_CUBIC,
    )
    turn = np.array([[zoom, -angle], [angle, zoom]], np.float32)
    slope = ((base - 0.5) @ turn.T + drift + bend).astype(np.float32)
    return [base + t * slope for t in range(frames)]


def _view(image: np.ndarray, bend: np.ndarray) -> np.ndarray:
    image = _shrunk(image, min(image.shape[:2]) / bend.shape[0])
    x, y = bend[..., 0] * image.shape[1], bend[..., 1] * image.shape[0]
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    """`image` made smaller before it is sampled `factor` times coarser, against aliasing."""
    if factor < 1.5:
        return image
    return np.asarray(
        cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    )


def _path(
    hw: tuple[int, int], size_px: int, frames: int, aspect: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, float]]:
    """Affine matrices (2,3) from a cut-out to each frame, and its brightness."""
    scale = size_px * rng.uniform(0.15, 0.7) / max(hw)
    centre, speed = rng.uniform(0.15, 0.85, 2), rng.normal(0, 0.05, 2)
    if frames > 1 and rng.random() < 0.12:
        # leaves the picture
        speed = (centre - 0.5) / np.linalg.norm(centre - 0.5) * rng.uniform(0.3, 0.6)
    angle, spin, growth = rng.normal(0, 0.3), rng.normal(0, 0.06), rng.normal(0, 0.04)
    shear, sway, flip = rng.normal(0, 0.1), rng.normal(0, 0.05), rng.choice([-1, 1])
    squeeze = np.diag([1 / np.sqrt(aspect), np.sqrt(aspect)])
    gain, path = rng.uniform(0.75, 1.25), []
    for t in range(frames):
        a = angle + spin * t
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        linear = (
            squeeze @ turn @ np.array([[flip, shear + sway * t], [0, 1]]) * scale * (1 + growth * t)
        )
        offset = (centre + speed * t) * size_px - linear @ (np.array(hw[::-1]) / 2)
        path.append((np.column_stack([linear, offset]), gain))
    return path


def _pasted(
    image: np.ndarray, piece: np.ndarray, matrix: np.ndarray, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """`image` with the cut-out over it, and where the cut-out covers it (S,S) bool."""
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    small = _shrunk(piece, 1 / max(shrink, 0.05))
    factor = np.array([piece.shape[1] / small.shape[1], piece.shape[0] / small.shape[0], 1.0])
    layer = cv2.warpAffine(small, matrix * factor, image.shape[1::-1], flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:].astype(np.float32) / 255
    mixed = image + alpha * (np.minimum(layer[..., :3] * np.float32(gain), 255) - image)
    return mixed.astype(np.uint8), np.asarray(alpha[..., 0] > 0.5)


def coloured(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same change of light for all frames, with noise or blur now and then."""
    gain = (rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)).astype(np.float32)
    out = frames * gain + np.float32(rng.uniform(-15, 15))
    if rng.random() < 0.1:
        out = np.repeat(out.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.3:
        out = out + rng.normal(0, rng.uniform(1, 6), frames.shape[1:]).astype(np.float32)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        out = np.stack([cv2.GaussianBlur(f, (0, 0), 0.7) for f in out])
    return out


def _procedural(rng: np.random.Generator) -> Sources:
    """Pictures without photographs: coloured noise for the ground, blobs of other noise for
    objects.
    """
    photos = [_noise(rng) for _ in range(24)]
    cutouts = []
    for _ in range(24):
        blob = cv2.GaussianBlur(rng.normal(size=(96, 96)).astype(np.float32), (0, 0), 14)
        ys, xs = np.mgrid[:96, :96] / 48 - 1
        alpha = (blob / blob.std() * 0.3 + 0.7 > np.hypot(xs, ys)).astype(np.uint8) * 255
        cutouts.append(np.dstack([_noise(rng)[:96, :96], alpha]))
    return Sources([], [], photos, cutouts)


def _noise(rng: np.random.Generator) -> np.ndarray:
    """A (128,160,3) uint8 texture: noise of several scales around one colour."""
    image = np.full((128, 160, 3), rng.uniform(60, 200, 3), np.float32)
    for cells in (4, 16, 64):
        grid = rng.normal(0, rng.uniform(5, 40), (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(grid, (160, 128), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)
