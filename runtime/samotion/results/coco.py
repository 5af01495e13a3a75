"""coco.json: COCO's annotations of images, each with the object it belongs to as `track_id`."""

from __future__ import annotations

from typing import Any

from samotion.manifest import write_json
from samotion.results.material import Material
from samotion.results.record import Record

FILE = "coco.json"
CATEGORY = {"id": 1, "name": "moving object", "supercategory": ""}


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write all images and annotations."""
    write_json(material.target.tree / FILE, dataset(material))


def dataset(material: Material) -> Record:
    """The clip as COCO has it; image ids count from 1."""
    return {
        "info": {"description": material.target.name, "version": "1.0"},
        "licenses": [],
        "categories": [CATEGORY],
        "images": _images(material),
        "annotations": _annotations(material),
    }


def _images(material: Material) -> list[Record]:
    """One image a frame, with its number and time in the source."""
    clip = material.result.clip
    height, width = clip.source_hw
    rows = zip(material.frame_names, clip.indices.tolist(), material.times_s)
    return [
        {
            "id": image,
            "file_name": name,
            "width": width,
            "height": height,
            "frame": number,
            "time_s": time_s,
        }
        for image, (name, number, time_s) in enumerate(rows, start=1)
    ]


def _annotations(material: Material) -> list[Record]:
    """One annotation for each object in each frame where it is seen."""
    found: list[Record] = []
    for image, rles in enumerate(material.rles, start=1):
        for one, rle in zip(material.result.objects, rles):
            if rle:
                found.append({"id": len(found) + 1, **_annotation(image, one, rle)})
    return found


def _annotation(image: int, one: Any, rle: Record) -> Record:
    from pycocotools import mask as coco

    return {
        "image_id": image,
        "category_id": CATEGORY["id"],
        "track_id": one.id,
        "score": round(one.score, 6),
        "motion_confidence": round(one.confidence, 6),  # FiftyOne's confidence is the score
        "attributes": {"track_id": one.id, "occluded": False},  # where CVAT looks
        "segmentation": rle,
        "area": int(coco.area(rle)),
        "bbox": coco.toBbox(rle).tolist(),
        "iscrowd": 0,
    }
