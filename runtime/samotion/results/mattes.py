"""mattes/object-1.mp4 and so on: a matte of each object alone."""

from __future__ import annotations

from samotion.results import matte
from samotion.results.material import Material

FOLDER = "mattes"


def files(material: Material) -> list[str]:
    """One film an object."""
    return [f"{FOLDER}/object-{object_id}.mp4" for object_id in material.ids]


def write(material: Material) -> None:
    """Write one film after the other, at the source's size and times."""
    for object_id, file in zip(material.ids, files(material)):
        path = material.target.tree / file
        path.parent.mkdir(exist_ok=True)
        matte.write_matte(path, material, object_id)
