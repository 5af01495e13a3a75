"""One run of the real runtime over the stand-in, and its report."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from samotion.backends.engines import open_engines
from samotion.pipeline import segment_clip
from samotion.presets import Preset
from samotion.results import overlay
from samotion.settings import Settings

from samotion_bench.host.folder import installed, write_folder
from samotion_bench.host.meter import COUNTED, Meter, StageMeter
from samotion_bench.host.scene import Scene

KIND = "samotion-bench --host"
FPS = 24.0
SECONDS = ("host_cpu_s", "feeding_thread_s", "wall_s")
COLUMNS = (*SECONDS, "upload_gb", "download_gb", *COUNTED, "peak_host_mb")


@dataclass(frozen=True)
class HostLoad:
    """What is run: frames of a size, and as many objects."""

    frames: int
    hw: tuple[int, int]
    objects: int
    max_tracks: int | None = None


def measure(preset: Preset, load: HostLoad) -> dict[str, Any]:
    """Run a clip from its file to labels, over a stand-in GPU; the report."""
    meter, scene = Meter(), Scene(load.objects)
    settings = Settings(max_tracks=load.max_tracks, max_frames=load.frames)
    stages = StageMeter(meter)
    with (
        _prepared(preset, load, scene) as (clip, folder),
        installed(meter, scene),
        open_engines(folder, "tensorrt") as engines,
        meter.watching(),
    ):
        engines.open_all()
        before = meter.read()
        result = segment_clip(clip, engines, settings, stages)
        totals = meter.read().since(before)
    totals["peak_host_mb"] = max(stage["peak_host_mb"] for stage in stages.stages.values())
    return {
        "kind": KIND,
        "preset": preset.name,
        "clip": {"frames": load.frames, "size_hw": list(load.hw), "objects": load.objects},
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "tracks": len(result.tracks),
        "objects": len(result.objects),
        "stages": stages.stages,
        "totals": totals,
    }


@contextmanager
def _prepared(preset: Preset, load: HostLoad, scene: Scene) -> Iterator[tuple[Path, Path]]:
    """The clip as H.264, and a folder of engines."""
    with tempfile.TemporaryDirectory() as place:
        clip, folder = Path(place) / "clip.mp4", Path(place) / "engines"
        folder.mkdir()
        write_folder(folder, preset)
        frames = scene.frames(load.frames, load.hw)
        overlay.write_overlay(clip, frames, np.arange(load.frames) / FPS)
        del frames
        yield clip, folder


def lines(report: dict[str, Any]) -> list[str]:
    """The report as a table, a stage a line."""
    clip = report["clip"]
    rows = {**report["stages"], "total": report["totals"]}
    head = (
        f"{report['preset']}: {clip['frames']} frames of {clip['size_hw'][1]}x{clip['size_hw'][0]},"
        f" {report['objects']} objects, {report['tracks']} tracks"
    )
    names = ["stage", *COLUMNS]
    table = [[name, *(_text(row[column]) for column in COLUMNS)] for name, row in rows.items()]
    widths = [max(len(row[i]) for row in [names, *table]) for i in range(len(names))]
    return [head, *("  ".join(c.rjust(w) for c, w in zip(r, widths)) for r in [names, *table])]


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"
