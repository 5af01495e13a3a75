"""images/*: the frames themselves, under the names that coco.json, labels and colmap_masks use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from samotion.clips.source import frames_at_source
from samotion.manifest import write_atomically
from samotion.results.material import Material

FOLDER = "images"
QUALITY = 95  # of a JPEG: no block can be seen


def files(material: Material) -> list[str]:
    """One picture a frame."""
    return [f"{FOLDER}/{name}" for name in material.frame_names]


def write(material: Material) -> None:
    """Write one picture after the other; those of a folder are copied as they are."""
    clip, folder = material.result.clip, material.target.tree / FOLDER
    folder.mkdir(exist_ok=True)
    if clip.path is not None and clip.frame_names is not None:
        for name in clip.frame_names:
            write_atomically(folder / name, (Path(clip.path) / name).read_bytes())
        return
    for name, rgb in zip(material.frame_names, frames_at_source(clip)):
        bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        write_atomically(folder / name, jpeg.tobytes())
