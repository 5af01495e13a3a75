"""objects.json: every object with its masks, boxes and areas, frame by frame."""

from __future__ import annotations

import numpy as np

from samotion.manifest import write_json
from samotion.results.material import Material
from samotion.results.record import OBJECTS, SCHEMA, Record


def files(material: Material) -> list[str]:
    """One file."""
    return [OBJECTS]


def write(material: Material) -> None:
    """Write all objects."""
    write_json(material.target.tree / OBJECTS, _objects(material))


def _objects(material: Material) -> Record:
    clip = material.result.clip
    return {
        "schema": SCHEMA,
        "clip": material.target.name,
        "size": list(clip.source_hw),
        "frames": clip.indices.tolist(),
        "timestamps_s": material.times_s,
        "confidence": round(material.result.confidence, 6),
        "objects": [
            {
                "id": one.id,
                "score": round(one.score, 6),
                "confidence": round(one.confidence, 6),
                **_seen([row[k] for row in material.rles], clip.indices),
            }
            for k, one in enumerate(material.result.objects)
        ],
    }


def _seen(rles: list[Record | None], indices: np.ndarray) -> Record:
    """One object's entries."""
    seen = [k for k, rle in enumerate(rles) if rle]
    return {
        "first_frame": int(indices[seen[0]]) if seen else None,
        "last_frame": int(indices[seen[-1]]) if seen else None,
        **per_frame(rles),
    }


def per_frame(rles: list[Record | None]) -> Record:
    """One object's areas, boxes and masks. Boxes are x, y, width, height in px of the source, None
    where it is not seen.
    """
    from pycocotools import mask as coco

    return {
        "areas": [int(coco.area(rle)) if rle else 0 for rle in rles],
        "boxes": [coco.toBbox(rle).tolist() if rle else None for rle in rles],
        "segmentations": rles,
    }
