"""Results go out: masks, overlay, objects, tracks and run.json, without touching a file that is not ours."""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from samotion.manifest import write_atomically
from samotion.png import encode_indexed
from samotion.results.folder import SCHEMA, Place, Record, disk_errors, owned, present, remove, reserve, write_record
from samotion.results.overlay import write_overlay

if TYPE_CHECKING:
    from samotion.pipeline import Result

Array = np.ndarray[Any, Any]

OVERLAY, OBJECTS, TRACKS = "overlay.mp4", "objects.json", "tracks.npz"
PACKAGES = ("samotion", "numpy", "av", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "pycocotools")


def write(
    result: Result,
    folder: str | os.PathLike[str],
    save: Iterable[str] | None = None,
    layout: str = "clip",
    overwrite: bool = False,
    run_info: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result below `folder` and return the folder that holds it.

    `save` picks from masks, overlay, coco and tracks (None: all that the layout has). Layout `clip` makes
    folder/CLIP/masks/00000.png and so on; `davis` makes folder/CLIP/00000.png and folder/run.json only.
    `run_info` joins run.json. Raises OutputError for foreign files, an earlier result without `overwrite`,
    a lock held by another process, and disks that are full or closed to us.
    """
    with reserve(folder, result.clip.name, save, layout, overwrite) as place:
        write_to(place, result, run_info)
    return place.tree


def write_to(place: Place, result: Result, run_info: Mapping[str, Any] | None = None) -> None:
    """Write a result into a reserved place; run.json comes last, and before that tells of a run that broke off."""
    start = time.perf_counter()
    files = _files(place, result.clip.indices)
    record: Record = _describe(result, place) | dict(run_info or {})
    with disk_errors(place.base):
        before = owned(place)
        write_record(place, record | {"status": "writing", "files": sorted(before | set(files))})
        _write_frames(place, result)
        if "overlay" in place.kinds:
            write_overlay(place.tree / OVERLAY, result.clip.frames, result.labels, result.clip.timestamps_s)
        if "tracks" in place.kinds:
            write_atomically(place.tree / TRACKS, _tracks(result))
        remove(place, present(place) & before - set(files))
        record["timings_ms"] = {**result.timings, "output": (time.perf_counter() - start) * 1000}
        write_record(place, record | {"status": "done", "files": files})


def _mask_name(index: int) -> str:
    return f"{index:05d}.png"


def _files(place: Place, indices: Array) -> list[str]:
    """What a run will write, relative to run.json's folder."""
    masks = [(place.masks / _mask_name(i)).relative_to(place.base).as_posix() for i in indices.tolist()]
    single = {"overlay": OVERLAY, "coco": OBJECTS, "tracks": TRACKS}
    return [*(masks if "masks" in place.kinds else []), *(single[k] for k in place.kinds if k in single)]


def _write_frames(place: Place, result: Result) -> None:
    """Masks and objects, one frame at a time at the source's size."""
    height, width = result.clip.source_hw
    ids = [found.id for found in result.objects]
    rles: list[list[Record | None]] = []
    if "masks" in place.kinds:
        place.masks.mkdir(parents=True, exist_ok=True)
    for index, small in zip(result.clip.indices.tolist(), result.labels):
        labels = small
        if small.shape != (height, width):
            labels = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        if "masks" in place.kinds:
            write_atomically(place.masks / _mask_name(index), encode_indexed(labels))
        if "coco" in place.kinds:
            rles.append(_encode_rles(labels, ids))
    if "coco" in place.kinds:
        data = json.dumps(_objects(result, place.name, rles)) + "\n"
        write_atomically(place.tree / OBJECTS, data.encode())


def _encode_rles(labels: Array, ids: list[int]) -> list[Record | None]:
    """COCO's compressed run lengths of each object in one frame, None where it is not seen."""
    from pycocotools import mask as coco

    there = set(np.unique(labels).tolist())
    columns = np.ascontiguousarray(labels.T)  # COCO counts down the columns
    rles: list[Record | None] = []
    for object_id in ids:
        if object_id not in there:
            rles.append(None)
            continue
        rle = coco.encode(np.equal(columns, object_id).view(np.uint8).T)
        rles.append({"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()})
    return rles


def _objects(result: Result, name: str, rles: list[list[Record | None]]) -> Record:
    clip = result.clip
    return {
        "schema": SCHEMA,
        "clip": name,
        "size": list(clip.source_hw),
        "frames": clip.indices.tolist(),
        "timestamps_s": [round(t, 6) for t in clip.timestamps_s.tolist()],
        "objects": [
            {"id": found.id, "score": round(found.score, 6), **_per_frame([row[k] for row in rles], clip.indices)}
            for k, found in enumerate(result.objects)
        ],
    }


def _per_frame(rles: list[Record | None], indices: Array) -> Record:
    """One object's entries. Boxes are x, y, width, height in px of the source, None where it is not seen."""
    from pycocotools import mask as coco

    seen = [k for k, rle in enumerate(rles) if rle]
    return {
        "first_frame": int(indices[seen[0]]) if seen else None,
        "last_frame": int(indices[seen[-1]]) if seen else None,
        "areas": [int(coco.area(rle)) if rle else 0 for rle in rles],
        "boxes": [coco.toBbox(rle).tolist() if rle else None for rle in rles],
        "segmentations": rles,
    }


def _tracks(result: Result) -> bytes:
    """tracks.npz: the tracks with `scores`, `frames` (source numbers); xy in px of the source, pixel centres whole."""
    tracks, clip = result.tracks, result.clip
    height, width = clip.frames.shape[1:3]
    scale = np.array([clip.source_hw[1] / width, clip.source_hw[0] / height], np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        xy=((tracks.xy + 0.5) * scale - 0.5).astype(np.float32),
        visible=tracks.visible,
        visibility=tracks.visibility,
        confidence=tracks.confidence,
        query_frame=tracks.query_frame,
        query_xy=((tracks.query_xy + 0.5) * scale - 0.5).astype(np.float32),
        scores=result.scores,
        frames=clip.indices,
    )
    return buffer.getvalue()


def _describe(result: Result, place: Place) -> Record:
    clip = result.clip
    return {
        "schema": SCHEMA,
        "tool": "samotion",
        "layout": place.layout,
        "status": "writing",
        "clip": {
            "name": place.name,
            "path": clip.path,
            "size": list(clip.source_hw),
            "processing_size": list(clip.frames.shape[1:3]),
            "frames": clip.indices.tolist(),
            "fps": clip.fps,
        },
        "objects": len(result.objects),
        "tracks": len(result.scores),
        "seed": result.settings.seed,
        "settings": asdict(result.settings),
        "versions": versions(),
        "warnings": list(result.warnings),
        "timings_ms": dict(result.timings),
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and of Python and the machine's kind."""
    from importlib import metadata

    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
