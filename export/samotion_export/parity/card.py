"""The proof on the card: after a build, on a machine with a GPU, every engine beside its graph,
and a whole clip's masks.

Graphs alone cannot show that a TensorRT computes rightly on a GPU. What was tried before with the
same engine, GPU, driver and TensorRT is not tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from samotion import manifest
from samotion.backends.engines import EngineFolder, open_engines
from samotion.backends.proof import record
from samotion.backends.proof.run import prove
from samotion.contract import NETS, engines_of
from samotion.errors import DeviceError
from samotion.manifest import Manifest
from samotion.pipeline import segment_clip
from samotion.settings import Settings

from samotion_export.parity.clip import FRAMES, StrictEngine, clip_of, figures, iou
from samotion_export.report import Report
from samotion_export.request import Request


def with_proof(request: Request, held: Manifest, report: Report) -> Manifest:
    """The manifest with the proof of all engines, written too where that is new.

    Engines of TensorRT for RTX stay unproved where no GPU is. Raises ParityError, after writing,
    for engines that answer otherwise than their graphs.
    """
    names = [name for name, entry in held.engines.items() if entry.tensorrt]
    try:
        proof = prove(
            request.out,
            held,
            names,
            lambda name: report.detail(f"{name}: comparing with its graph on the CPU"),
        )
    except DeviceError as error:
        if request.target != "rtx":
            raise
        report.note(
            f"not proved on a GPU ({error}); where the engines are to run, type:"
            f" samotion-check --engine-dir {str(request.out)!r}"
        )
        return held
    held = _written(request.out, held, proof, report)
    clip = clip_of(request)
    if clip and _is_whole(held) and proof.get("masks", {}).get("bytes") != clip.stat().st_size:
        with report.working(f"comparing masks of {clip.name} with those of the graphs"):
            proof = {**proof, "masks": compare_masks(clip, request.out)}
        held = _written(request.out, held, proof, report)
    return held


def compare_masks(clip: Path, folder: Path) -> dict[str, Any]:
    """Masks of a clip through a folder's engines, beside those of its graphs on the CPU."""
    settings = Settings(max_frames=FRAMES)
    with EngineFolder(folder, "cpu", StrictEngine) as graphs:
        wanted = segment_clip(clip, graphs, settings)
    with open_engines(folder, "tensorrt") as engines:
        got = segment_clip(clip, engines, settings)
    by_frame = [round(iou(a, b), 4) for a, b in zip(wanted.labels > 0, got.labels > 0)]
    found = figures(wanted, got)
    size = clip.stat().st_size
    return {"clip": clip.name, "bytes": size, **found, "iou": by_frame, "limit": record.LEAST_IOU}


def _written(out: Path, held: Manifest, proof: Mapping[str, Any], report: Report) -> Manifest:
    """The manifest with a proof, in its folder if that is new; raises ParityError for a bad one."""
    if proof != held.proof:
        held = replace(held, proof=proof)
        manifest.write(out, held)
        report.note(f"proved on {record.summary(proof)}")
    record.judge(proof)
    return held


def _is_whole(held: Manifest) -> bool:
    """Is every engine of the preset there, built?"""
    preset = held.get_preset()
    wanted = [name for net in NETS for name in engines_of(net, getattr(preset, net))]
    return all(name in held.engines and held.engines[name].tensorrt for name in wanted)
