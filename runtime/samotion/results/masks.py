"""masks/*.png: indexed PNGs with the DAVIS palette, at the source's size."""

from __future__ import annotations

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
    folder = material.target.masks
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in zip(material.mask_names, mapped(encode_indexed, material.labels())):
        write_atomically(folder / name, png)


def relative(target: OutputFolder, mask: str) -> str:
    """A mask's path, relative to run.json's folder."""
    return (target.masks / mask).relative_to(target.base).as_posix()
