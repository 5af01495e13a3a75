"""Results go out: masks, overlay, objects, tracks and run.json, without touching a file that is
not ours.
"""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from samotion import geometry
from samotion.errors import is_disk_error
from samotion.manifest import write_atomically
from samotion.png import encode_indexed
from samotion.results.folder import delete, disk_errors, locate, present, reserve
from samotion.results.names import mask_names
from samotion.results.overlay import MAX_PAUSE_S, long_pauses, write_overlay
from samotion.results.record import (
    DONE,
    OBJECTS,
    OVERLAY,
    SCHEMA,
    TRACKS,
    WRITING,
    OutputFolder,
    Record,
    owned,
    write_record,
)

if TYPE_CHECKING:
    from samotion.results.result import Result

Array = np.ndarray[Any, Any]

PACKAGES = (
    "samotion",
    "numpy",
    "av",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "pycocotools",
)


def write(
    result: Result,
    folder: str | os.PathLike[str],
    save: Iterable[str] | None = None,
    layout: str = "clip",
    overwrite: bool = False,
    run_info: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result below `folder` and return the folder that holds it.

    `save` picks from masks, overlay, coco and tracks (None: all that the layout has). Layout `clip`
    makes folder/CLIP/masks/00000.png and so on; `davis` makes folder/CLIP/00000.png and
    folder/run.json only. Masks of a folder's frames have the frames' names. `run_info` joins
    run.json. An overlay that cannot be written is one more of `result.warnings`. Raises OutputError
    for foreign files, links, an earlier result without `overwrite`, a lock held by another process,
    and disks that are full or closed to us.
    """
    target = locate(folder, result.clip.name, save, layout)
    with reserve(target, overwrite):
        write_to(target, result, run_info)
    return target.tree


def write_to(
    target: OutputFolder, result: Result, run_info: Mapping[str, Any] | None = None
) -> None:
    """Write a result into a reserved folder: the overlay after all else, run.json last.

    Before that run.json tells of a run that broke off, and which files are its own.
    """
    start = time.perf_counter()
    masks = mask_names(result.clip.indices.tolist(), result.clip.frame_names)
    files = _files(target, masks)
    record = _describe(result, target, masks) | dict(run_info or {})
    with disk_errors(target.base):
        before = owned(target)
        write_record(target, record | {"status": WRITING, "files": sorted(before | set(files))})
        _write_frames(target, result, masks)
        if "tracks" in target.kinds:
            write_atomically(target.tree / TRACKS, _tracks(result))
        if "overlay" in target.kinds and not _write_overlay(target, result):
            files.remove(OVERLAY)
        delete(target, present(target) & before - set(files))
        record["warnings"] = list(result.warnings)
        record["timings_ms"] = {**result.timings, "output": (time.perf_counter() - start) * 1000}
        write_record(target, record | {"status": DONE, "files": files})


def _files(target: OutputFolder, masks: list[str]) -> list[str]:
    """What a run will write, relative to run.json's folder."""
    single = {"overlay": OVERLAY, "coco": OBJECTS, "tracks": TRACKS}
    mask_files = [_relative(target, name) for name in masks] if "masks" in target.kinds else []
    return [*mask_files, *(single[kind] for kind in target.kinds if kind in single)]


def _relative(target: OutputFolder, mask: str) -> str:
    return (target.masks / mask).relative_to(target.base).as_posix()


def _write_overlay(target: OutputFolder, result: Result) -> bool:
    """Whether there is one: whatever goes wrong with it is a warning, but for a full disk."""
    clip = result.clip
    if cut := long_pauses(clip.timestamps_s):
        _warn(
            result,
            f"pauses of more than {MAX_PAUSE_S:.0f} s between frames are cut to that in the"
            f" overlay ({cut})",
        )
    try:
        write_overlay(target.tree / OVERLAY, clip.frames, result.labels, clip.timestamps_s)
    except Exception as error:
        if is_disk_error(error):
            raise
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        _warn(
            result,
            f"the overlay cannot be written ({type(error).__name__}: {reason}); all else is there",
        )
        return False
    return True


def _warn(result: Result, line: str) -> None:
    if line not in result.warnings:
        result.warnings.append(line)


def _write_frames(target: OutputFolder, result: Result, masks: list[str]) -> None:
    """Masks and objects, one frame at a time at the source's size."""
    height, width = result.clip.source_hw
    ids = [one.id for one in result.objects]
    rles: list[list[Record | None]] = []
    if "masks" in target.kinds:
        target.masks.mkdir(parents=True, exist_ok=True)
    for name, small in zip(masks, result.labels):
        labels = small
        if small.shape != (height, width):
            labels = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        if "masks" in target.kinds:
            write_atomically(target.masks / name, encode_indexed(labels))
        if "coco" in target.kinds:
            rles.append(_encode_rles(labels, ids))
    if "coco" in target.kinds:
        data = json.dumps(_objects(result, target.name, rles)) + "\n"
        write_atomically(target.tree / OBJECTS, data.encode())


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
            {
                "id": one.id,
                "score": round(one.score, 6),
                **_per_frame([row[k] for row in rles], clip.indices),
            }
            for k, one in enumerate(result.objects)
        ],
    }


def _per_frame(rles: list[Record | None], indices: Array) -> Record:
    """One object's entries. Boxes are x, y, width, height in px of the source, None where it is
    not seen.
    """
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
    """tracks.npz: the tracks with `scores`, `frames` (source numbers); xy in px of the source,
    pixel centres whole.
    """
    tracks, clip = result.tracks, result.clip
    height, width = clip.frames.shape[1:3]
    xy, query_xy = (
        geometry.resized_xy(points, (height, width), clip.source_hw).astype(np.float32)
        for points in (tracks.xy, tracks.query_xy)
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        xy=xy,
        visible=tracks.visible,
        visibility=tracks.visibility,
        confidence=tracks.confidence,
        query_frame=tracks.query_frame,
        query_xy=query_xy,
        scores=result.scores,
        frames=clip.indices,
    )
    return buffer.getvalue()


def _frame_table(result: Result, target: OutputFolder, masks: list[str]) -> list[Record]:
    """For every frame: its mask (relative to run.json, None: not saved), number and name in the
    source, and time.
    """
    clip = result.clip
    names: Sequence[str | None] = clip.frame_names or [None] * len(masks)
    times = [round(time_s, 6) for time_s in clip.timestamps_s.tolist()]
    return [
        {
            "mask": _relative(target, mask) if "masks" in target.kinds else None,
            "frame": n,
            "name": name,
            "time_s": time_s,
        }
        for mask, n, name, time_s in zip(masks, clip.indices.tolist(), names, times)
    ]


def _describe(result: Result, target: OutputFolder, masks: list[str]) -> Record:
    clip = result.clip
    return {
        "schema": SCHEMA,
        "tool": "samotion",
        "layout": target.layout,
        "status": WRITING,
        "clip": {
            "name": target.name,
            "path": clip.path,
            "size": list(clip.source_hw),
            "processing_size": list(clip.frames.shape[1:3]),
            "frames": clip.indices.tolist(),
            "fps": clip.fps,
        },
        "frames": _frame_table(result, target, masks),
        "objects": len(result.objects),
        "found": [asdict(one) for one in result.objects],
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

    by_name = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            by_name[package] = metadata.version(package)
    return by_name
