"""Results go out: masks, overlay, objects, tracks and run.json, without touching a file that is
not ours.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samotion.errors import is_disk_error, reason
from samotion.results.folder import (
    check_frame_names,
    delete,
    disk_errors,
    locate,
    present,
    reserve,
)
from samotion.results.masks import relative
from samotion.results.material import Material
from samotion.results.record import (
    DONE,
    SCHEMA,
    WRITING,
    OutputFolder,
    Record,
    owned,
    versions_of,
    write_record,
)
from samotion.results.writers import ALWAYS, TO_LOOK_AT, writer

if TYPE_CHECKING:
    from samotion.results.result import Result

PACKAGES = (
    "samotion",
    "numpy",
    "av",
    "opencv-python-headless",
    "opencv-python",
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
    overlay: Iterable[str] | None = None,
) -> Path:
    """Write a result below `folder` and return the folder that holds it.

    `save` picks from `samotion.results.writers.WRITERS` (None: those of `UNASKED`). Layout `clip`
    makes folder/CLIP/masks/00000.png and so on, and objects.json whatever is picked; `davis` makes
    folder/CLIP/00000.png and folder/run.json only. Masks of a folder's frames have the frames'
    names. `run_info` joins run.json. `overlay` picks what that shows from
    `samotion.results.record.LAYERS`. An overlay that cannot be written is one more of
    `result.warnings`. Raises OutputError for foreign files, links, an earlier result without
    `overwrite`, a lock held by another process, and disks that are full or closed to us.
    """
    target = locate(folder, result.clip.name, save, layout, overlay)
    check_frame_names(target, result.clip.frame_names)
    with reserve(target, overwrite):
        write_to(target, result, run_info)
    return target.tree


def write_to(
    target: OutputFolder,
    result: Result,
    run_info: Mapping[str, Any] | None = None,
    there: Collection[str] = (),
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Write a result into a reserved folder, run.json last; of the kinds that are `there` already
    what is missing. `tick` as of `Material`.

    Before that run.json tells of a run that broke off, and which files are its own.
    """
    start = time.perf_counter()
    material = Material(target, result, tick=tick)
    kinds = [*target.kinds, ALWAYS] if target.layout == "clip" else list(target.kinds)
    kinds.sort(key=TO_LOOK_AT.__contains__)  # these come after all else
    names = {kind: writer(kind).files(material) for kind in kinds}
    record = material.record
    record.update(_describe(material) | dict(run_info or {}))
    with disk_errors(target.base):
        before = owned(target)
        meant = before.union(*names.values())
        write_record(target, record | {"status": WRITING, "files": sorted(meant)})
        done = {kind for kind in there if present(target).issuperset(names.get(kind, ()))}
        written = [kind for kind in kinds if kind in done or _write(kind, material)]
        files = [file for kind in written for file in names[kind]]
        delete(target, present(target) & before - set(files))
        record["warnings"] = list(result.warnings)
        record["timings_ms"] = {**result.timings, "output": (time.perf_counter() - start) * 1000}
        write_record(target, record | {"status": DONE, "files": files})


def _write(kind: str, material: Material) -> bool:
    """Whether it is there: what goes wrong with one to look at is a warning, but for a full
    disk.
    """
    try:
        writer(kind).write(material)
    except Exception as error:
        if kind not in TO_LOOK_AT or is_disk_error(error):
            raise
        what = f"{type(error).__name__}: {reason(error)}"
        material.warn(f"the {kind} cannot be written ({what}); all else is there")
        return False
    return True


def _frame_table(material: Material) -> list[Record]:
    """For every frame: its mask (relative to run.json, None: not saved), number and name in the
    source, and time.
    """
    clip, target, masks = material.result.clip, material.target, material.mask_names
    names: Sequence[str | None] = clip.frame_names or [None] * len(masks)
    return [
        {
            "mask": relative(target, mask) if "masks" in target.kinds else None,
            "frame": n,
            "name": name,
            "time_s": time_s,
        }
        for mask, n, name, time_s in zip(masks, clip.indices.tolist(), names, material.times_s)
    ]


def _describe(material: Material) -> Record:
    result, target = material.result, material.target
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
        "frames": _frame_table(material),
        "objects": len(result.objects),
        "found": [asdict(one) for one in result.objects],
        "confidence": result.confidence,
        "tracks": result.track_count,
        "seed": result.settings.seed,
        "settings": asdict(result.settings),
        "versions": versions(),
        "windows": max(1, len(result.windows)),
        "cuts": list(result.cuts),
        "warnings": list(result.warnings),
        "timings_ms": dict(result.timings),
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and of Python and the machine's kind."""
    machine = f"{platform.system()} {platform.machine()}"
    return {"python": platform.python_version(), "machine": machine} | versions_of(PACKAGES)
