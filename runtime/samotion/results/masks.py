"""masks/*.png: indexed PNGs with the DAVIS palette, at the source's size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from samotion.backends.threads import mapped
from samotion.manifest import write_atomically
from samotion.png import encode_indexed
from samotion.results.material import Material
from samotion.results.record import OutputFolder


def files(material: Material) -> list[str]:
    """One PNG a frame."""
    return [relative(material.target, name) for name in material.mask_names]


def write(material: Material) -> None:
    """Write one PNG after the other."""
    write_some(material.target, material.mask_names, material.labels())


def write_some(target: OutputFolder, names: Iterable[str], labels: Iterable[np.ndarray]) -> None:
    """Write the masks of these names, labels (H,W) uint8 at the source's size."""
    target.masks.mkdir(parents=True, exist_ok=True)
    for name, png in zip(names, mapped(encode_indexed, labels)):
        write_atomically(target.masks / name, png)


def relative(target: OutputFolder, mask: str) -> str:
    """A mask's path, relative to run.json's folder."""
    return (target.masks / mask).relative_to(target.base).as_posix()
