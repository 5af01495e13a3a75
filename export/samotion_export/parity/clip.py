"""What half precision costs masks: one clip through both precisions of the same weights, rounded as
a GPU rounds.

The bundled nets have a clip of their own, the demo; others would take hours on a CPU and ask for
one by name.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from samotion import manifest
from samotion.backends import ort as ort_engine
from samotion.backends.engines import EngineFolder
from samotion.contract import NETS, engines_of
from samotion.errors import ParityError
from samotion.manifest import Entry, Manifest
from samotion.pipeline import Result, segment_clip
from samotion.settings import Settings

from samotion_export.half_precision import precision_of
from samotion_export.parity.half import open_strictly
from samotion_export.report import Report
from samotion_export.request import Request

LEAST_IOU = 0.98
FRAMES = 60  # at most, every k-th: graphs that keep all their rounding run unfused on a CPU
# in a checkout; wheels come without
DEMO = Path(__file__).resolve().parents[3] / "demo" / "demo.mp4"


class StrictEngine(ort_engine.OrtEngine):
    """A graph on the CPU that rounds every half-precision number, whatever was built from it."""

    def __init__(self, name: str, path: Path, entry: Entry) -> None:
        graph = replace(entry, tensorrt=None, file=f"{name}.onnx", sha256=entry.onnx_sha256)
        super().__init__(name, path.with_suffix(".onnx"), graph, ort_engine.PROVIDERS["cpu"], None)
        if entry.precision == "fp16":
            self._session = open_strictly(path.with_suffix(".onnx"))


def clip_for(request: Request) -> Path | None:
    """The clip to compare masks on: the user's, or the demo for bundled weights; None: masks are
    not compared.
    """
    return clip_of(request) if request.precision == "fp16" and request.verify else None


def clip_of(request: Request) -> Path | None:
    """The user's clip, or the demo where all weights are bundled ones."""
    if request.verify_clip:
        return request.verify_clip
    preset = request.chosen()
    bundled = all(
        getattr(preset, net).weights.bundled for net in NETS if net not in request.checkpoints
    )
    return DEMO if bundled and DEMO.is_file() else None


def is_wanted(clip: Path, request: Request, held: Manifest) -> bool:
    """Is every engine there, all in half precision, and not compared on this clip before?"""
    return not lacking(request, held) and held.masks.get("key") != _key(clip, held)


def lacking(request: Request, held: Manifest) -> list[str]:
    """The nets that are not there whole, or not in half precision."""
    preset = request.chosen()
    precisions = {name: entry.precision for name, entry in held.engines.items()}
    return [
        net
        for net in NETS
        if {precisions.get(name) for name in engines_of(net, getattr(preset, net))}
        != {precision_of(net, "fp16")}
    ]


def with_masks(
    clip: Path,
    request: Request,
    held: Manifest,
    report: Report,
    export: Callable[[Request], object],
) -> Manifest:
    """The manifest with what half precision costs the masks of `clip`, written too."""
    start = time.perf_counter()
    with report.working(f"comparing masks of {clip.name} with those in float32"):
        held = replace(held, masks=measure(clip, request, held, export))
    manifest.write(request.out, held)
    seconds = time.perf_counter() - start
    report.note(
        f"masks of {clip.name}: IoU {held.masks['mask_iou']:.4f} with those in float32,"
        f" {seconds:.1f} s"
    )
    return held


def measure(
    clip: Path,
    request: Request,
    held: Manifest,
    export: Callable[[Request], object],
    frames: int = FRAMES,
) -> dict[str, Any]:
    """Export the same weights in float32 beside, run both and compare: what goes into the
    manifest.
    """
    with tempfile.TemporaryDirectory() as folder:
        export(
            replace(
                request, nets=NETS, out=Path(folder), precision="fp32", verify=False, target="onnx"
            )
        )
        full, halved = (
            segment_clip(clip, EngineFolder(each, "cpu", StrictEngine), Settings(max_frames=frames))
            for each in (folder, request.out)
        )
    return {"key": _key(clip, held), "clip": clip.name, **figures(full, halved), "limit": LEAST_IOU}


def figures(full: Result, halved: Result) -> dict[str, Any]:
    """Frames compared, and the IoU of moving pixels over all of them and in the worst one."""
    a, b = full.labels > 0, halved.labels > 0
    worst = min(map(iou, a, b))
    return {
        "frames": len(a),
        "objects": len(full.objects),
        "mask_iou": iou(a, b),
        "worst_frame_iou": worst,
    }


def judge(masks: Mapping[str, Any]) -> None:
    """Raises ParityError where half precision costs more of the masks than it may."""
    if masks["mask_iou"] < masks["limit"]:
        raise ParityError(
            f"masks of {masks['clip']} in half precision overlap those of float32 by"
            f" {masks['mask_iou']:.4f},"
            f" expected {masks['limit']}; use --precision fp32"
        )


def iou(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Of two boolean arrays; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _key(clip: Path, held: Manifest) -> str:
    facts = [
        clip.name,
        str(clip.stat().st_size),
        *(f"{n} {e.onnx_sha256}" for n, e in sorted(held.engines.items())),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
