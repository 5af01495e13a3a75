"""colmap_masks/NAME.EXT.png: masks for COLMAP, 0 where something moves and 255 elsewhere.

COLMAP takes no features where a mask is 0, and looks for an image's mask under its whole name with
`.png` behind it: `colmap feature_extractor --ImageReader.mask_path colmap_masks`.
"""

from __future__ import annotations

import cv2
import numpy as np

from samotion.manifest import write_atomically
from samotion.results.material import Material
from samotion.results.names import colmap_name

FOLDER = "colmap_masks"


def files(material: Material) -> list[str]:
    """One PNG a frame."""
    return [f"{FOLDER}/{colmap_name(name)}" for name in material.frame_names]


def write(material: Material) -> None:
    """Write one PNG after the other."""
    for file, labels in zip(files(material), material.labels()):
        path = material.target.tree / file
        path.parent.mkdir(exist_ok=True)
        static = np.where(labels == 0, np.uint8(255), np.uint8(0))
        write_atomically(path, cv2.imencode(".png", static)[1].tobytes())
