"""ytvis.json: the clip as YouTube-VIS has videos, one annotation an object."""

from __future__ import annotations

from samotion.manifest import write_json
from samotion.results.coco import CATEGORY
from samotion.results.material import Material
from samotion.results.objects import per_frame
from samotion.results.record import Record

FILE = "ytvis.json"
VIDEO = 1  # its id: there is one


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write the video and its objects."""
    write_json(material.target.tree / FILE, _dataset(material))


def _dataset(material: Material) -> Record:
    return {
        "info": {"description": material.target.name, "version": "1.0"},
        "licenses": [],
        "categories": [CATEGORY],
        "videos": [_video(material)],
        "annotations": [_annotation(material, k) for k in range(len(material.ids))],
    }


def _video(material: Material) -> Record:
    """The video, with the number and time in the source of every frame."""
    height, width = material.result.clip.source_hw
    return {
        "id": VIDEO,
        "name": material.target.name,
        "width": width,
        "height": height,
        "length": len(material.frame_names),
        "file_names": material.frame_names,
        "frames": material.result.clip.indices.tolist(),
        "timestamps_s": material.times_s,
    }


def _annotation(material: Material, k: int) -> Record:
    """The k-th object: its mask, box and area in every frame, None where it is not seen."""
    one = material.result.objects[k]
    height, width = material.result.clip.source_hw
    rles = [row[k] for row in material.rles]
    seen = per_frame(rles)
    return {
        "id": one.id,
        "track_id": one.id,
        "video_id": VIDEO,
        "category_id": CATEGORY["id"],
        "iscrowd": 0,
        "score": round(one.score, 6),
        "confidence": round(one.confidence, 6),
        "width": width,
        "height": height,
        "length": len(rles),
        "segmentations": rles,
        "bboxes": seen["boxes"],
        "areas": [area if rle else None for area, rle in zip(seen["areas"], rles)],
    }
