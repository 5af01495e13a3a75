"""Photographs, object cut-outs and regions for scenes: from a data folder, or procedural where
there is none.

The folder holds `photos/*.jpg`, `instances/NNN.jpg` with label maps `NNN.png` (0 = background), and
`regions/NNN.jpg` with label maps `NNN_coarse.png` and `NNN_fine.png`. Photographs may be of the
other usual kinds; beside label maps they are no PNGs. Other folders in it are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from samotion.clips.folders import IMAGE_SUFFIXES
from samotion.commands.streams import note
from samotion.errors import InputError

from samotion_bench import labels as label_maps
from samotion_bench.scenes import textures

Rng = np.random.Generator
HELD_OUT_EVERY = 10  # every tenth file of each folder is never trained on
FOLDERS = ("photos", "instances", "regions")
LABELLED_SUFFIXES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix != ".png")
MIN_CUTOUT_AREA = 900  # px: smaller instances are too coarse to texture a layer
WHOLE_REGION = 0.5  # a region above this share of its photo is background, not a cut-out


@dataclass(frozen=True)
class Labelled:
    """A photograph and its label map: where the files lie. Label 0 is background for instances,
    a region otherwise.
    """

    image: Path
    labels: Path


@dataclass(frozen=True)
class Library:
    """What scenes are painted with. Empty tuples mean: procedural textures and outlines alone."""

    photos: tuple[Path, ...] = ()
    instances: tuple[Labelled, ...] = ()
    regions: tuple[Labelled, ...] = ()
    families: tuple[str, ...] = textures.TRAIN_TEXTURES
    outlines: tuple[str, ...] = textures.TRAIN_OUTLINES

    def background(self, rng: Rng, size_px: int) -> np.ndarray:
        """A square texture (size_px, size_px, 3) uint8 RGB: four times in five a photo where
        there are photos.
        """
        sources = (*self.photos, *(r.image for r in self.regions))
        if not sources or rng.random() < 0.2:
            return textures.texture(rng, size_px, self.families)
        return square_crop(rng, _kept_rgb(sources[int(rng.integers(len(sources)))]), size_px)

    def cutout(self, rng: Rng, size_px: int) -> np.ndarray:
        """An object (size_px, size_px, 4) uint8 RGBA, its longer side filling most of the
        square.
        """
        kind = rng.random()
        if self.instances and kind < 0.6:
            found = real_cutout(rng, self.instances, size_px, background_label=0)
        elif self.regions and kind < 0.75:
            found = real_cutout(rng, self.regions, size_px, background_label=None)
        else:
            found = None
        return self.shape(rng, size_px) if found is None else found

    def shape(self, rng: Rng, size_px: int, outline: str | None = None) -> np.ndarray:
        """A procedural outline (or the named one) filled with any texture: (size_px, size_px, 4)
        uint8 RGBA.
        """
        alpha = textures.outline(rng, size_px, (outline,) if outline else self.outlines)
        return np.dstack([self.background(rng, size_px), alpha])


def open_library(folder: Path | None, held_out: bool = False) -> Library:
    """The files under `folder` (None: procedural only) that belong to training, or the held-out
    tenth of them.

    Raises InputError when a folder is named that holds neither photos nor instances nor regions.
    """
    families = (textures.HELD_OUT_TEXTURES, textures.HELD_OUT_OUTLINES) if held_out else ()
    if folder is None:
        return Library((), (), (), *families)
    photos = pictures_in(folder / "photos")
    instances = [Labelled(p, p.with_suffix(".png")) for p in pictures_in(folder / "instances")]
    regions = [
        Labelled(p, p.with_name(f"{p.stem}_{kind}.png"))
        for p in pictures_in(folder / "regions")
        for kind in ("coarse", "fine")
    ]
    if not (photos or instances or regions):
        raise InputError(
            f"{folder}: got no pictures in photos/, instances/ or regions/ (PNGs in the latter two"
            " are label maps), expected at least one; without a folder textures are procedural"
        )
    shares = (
        _share(photos, held_out),
        _share(instances, held_out),
        _share(regions, held_out, per_image=2),
    )
    for name, every, share in zip(FOLDERS, (photos, instances, regions), shares):
        if every and not share:
            note(f"{folder / name}: its only picture is kept aside and not trained on; add more")
        if not every and any((folder / name).glob("*.png")):
            note(f"{folder / name}: PNGs there are label maps; photographs are of another kind")
    return Library(*map(tuple, shares), *families)


def pictures_in(folder: Path) -> list[Path]:
    """The photographs in one of FOLDERS, in order; none where there is no folder. PNGs beside them
    are label maps, but for `photos`.
    """
    kinds = IMAGE_SUFFIXES if folder.name == "photos" else LABELLED_SUFFIXES
    return sorted(p for p in folder.glob("[!.]*") if p.suffix.lower() in kinds and p.is_file())


def _share(items: Sequence[Any], held_out: bool, per_image: int = 1) -> list[Any]:
    return [x for i, x in enumerate(items) if (i // per_image % HELD_OUT_EVERY == 0) == held_out]


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises InputError when the file is no picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(
            f"{path}: got a file that is no picture, expected a JPEG or PNG; copy the data"
            f" folder again"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


# 1600 photos of at most 512 px are under 700 MB; scenes reuse them hundreds of times
_kept_rgb = lru_cache(maxsize=4096)(read_rgb)


@lru_cache(maxsize=4096)
def read_labels(path: Path) -> np.ndarray:
    """(H, W) label map: a palette's indices, values of up to 16 bits, or colours, numbered. uint8,
    or int32 where that is too small. Raises InputError when the file is no picture.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: got no label map, expected a PNG beside the photo; copy the data folder again"
        )
    labels = label_maps.read_labels(path)
    if labels.max() >= label_maps.COLOUR:
        colours, numbers = np.unique(labels, return_inverse=True)
        labels = numbers.reshape(labels.shape) + int(colours[0] > 0)
    return labels.astype(np.uint8 if labels.max() <= np.iinfo(np.uint8).max else np.int32)


def read_labelled(item: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """The photograph (H, W, 3) uint8 RGB, and its label map (H, W). Raises InputError where they
    have not one size.
    """
    image, labels = _kept_rgb(item.image), read_labels(item.labels)
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"{item.labels}: got labels of {labels.shape[1]}x{labels.shape[0]} px, expected"
            f" {image.shape[1]}x{image.shape[0]} as {item.image.name} has; make it anew"
        )
    return image, labels


def square_crop(rng: Rng, image: np.ndarray, size_px: int) -> np.ndarray:
    """A random square of at least 60 % of the shorter side, scaled to size_px, mirrored half of
    the time.
    """
    height, width = image.shape[:2]
    side = max(1, int(min(height, width) * rng.uniform(0.6, 1)))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    crop = cv2.resize(
        image[top : top + side, left : left + side],
        (size_px, size_px),
        interpolation=cv2.INTER_AREA,
    )
    return crop[:, ::-1].copy() if rng.random() < 0.5 else np.asarray(crop)


def real_cutout(
    rng: Rng, items: Sequence[Labelled], size_px: int, background_label: int | None
) -> np.ndarray | None:
    """A random labelled area with its outline as alpha: (size_px, size_px, 4) uint8 RGBA, or
    None if it has none.
    """
    item = items[int(rng.integers(len(items)))]
    image, labels = read_labelled(item)
    limit = WHOLE_REGION * labels.size
    areas = np.bincount(labels.ravel())
    able = [
        i for i, a in enumerate(areas) if MIN_CUTOUT_AREA <= a <= limit and i != background_label
    ]
    if not able:
        return None
    mask = (labels == rng.choice(able)).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(mask)
    rgba = np.dstack([image, mask])[y : y + height, x : x + width]
    return fit_square(rgba, size_px)


def fit_square(rgba: np.ndarray, size_px: int) -> np.ndarray:
    """`rgba` scaled into the middle of a transparent square, two px of margin left so that edges
    stay soft.
    """
    height, width = rgba.shape[:2]
    scale = (size_px - 4) / max(height, width)
    small = cv2.resize(rgba, (max(1, round(width * scale)), max(1, round(height * scale))))
    top, left = (size_px - small.shape[0]) // 2, (size_px - small.shape[1]) // 2
    out = np.zeros((size_px, size_px, 4), np.uint8)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
