"""What a folder's manifest says of its engines on a GPU: proved, failed, or nothing yet.

A proof holds for one GPU, driver and TensorRT, and for the very file that was proved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samotion.backends.proof.measures import excess
from samotion.backends.trt_backend import Backend
from samotion.checks.proof_table import PLACE
from samotion.contract import SIGNATURES
from samotion.errors import ParityError
from samotion.manifest import Entry

Proof = Mapping[str, Any]  # the manifest's
Figures = Mapping[str, Mapping[str, float]]  # by output
DRIVER_FILE = Path("/proc/driver/nvidia/version")
LEAST_IOU = 0.98


def place_of(backend: Backend) -> dict[str, str]:
    """The GPU, its driver and the TensorRT, as a proof names them."""
    return {
        "gpu": backend.gpu,
        "driver": _driver(backend),
        "tensorrt": f"{backend.title} {backend.version}",
    }


def _driver(backend: Backend) -> str:
    """The driver's version; where it does not tell, the newest CUDA that it knows."""
    try:
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", DRIVER_FILE.read_text())
    except OSError:
        found = None
    return found.group() if found else f"for CUDA {backend.device.driver}"


def started(proof: Proof, place: Mapping[str, str]) -> dict[str, Any]:
    """The proof so far where it was made in the same place, else an empty one."""
    if is_of(proof, place):
        return {**proof, "engines": dict(proof["engines"])}
    return {**place, "engines": {}}


def is_of(proof: Proof, place: Mapping[str, str]) -> bool:
    """Was the proof made in this place?"""
    return all(proof.get(key) == place[key] for key in PLACE)


def is_tried(proof: Proof, place: Mapping[str, str], name: str, entry: Entry) -> bool:
    """Was this very file tried in this place, whatever came out?"""
    if not is_of(proof, place):
        return False
    known = proof["engines"].get(name, {})
    return bool(known.get("sha256") == entry.sha256)


def problem(name: str, known: Mapping[str, Any]) -> str | None:
    """What is wrong with an engine that was tried; None: it is proved."""
    if said := known.get("problem"):
        return str(said)
    for output in SIGNATURES[name].output_names:
        if beyond := excess(output, known.get("outputs", {}).get(output, {})):
            return f"engine {name!r} answers otherwise than its graph on a CPU: {beyond}"
    return None


def judge(proof: Proof) -> None:
    """Raises ParityError for the first engine that failed, and for masks that do not overlap."""
    for name, known in proof["engines"].items():
        if said := problem(name, known):
            raise ParityError(f"{said}; {_where(proof)}")
    masks = proof.get("masks", {})
    if masks and not masks["mask_iou"] >= masks["limit"]:
        raise ParityError(
            f"masks of {masks['clip']} through the engines overlap those of the graphs by"
            f" {masks['mask_iou']:.4f}, expected {masks['limit']}; {_where(proof)}"
        )


def require_none_failed(
    proof: Proof, place: Mapping[str, str], name: str, entry: Entry, rebuild: str
) -> None:
    """Raises ParityError for an engine that is known to answer wrongly in this place."""
    said = problem(name, proof["engines"][name]) if is_tried(proof, place, name, entry) else None
    if said:
        raise ParityError(
            f"{said}; build it again: {rebuild} --force, or run graphs of --target onnx"
        )


def warning(
    proof: Proof, place: Mapping[str, str], engines: Mapping[str, Entry], folder: str
) -> str | None:
    """What to say of engines that were never tried in this place."""
    untried = [name for name, entry in engines.items() if not is_tried(proof, place, name, entry)]
    if not untried:
        return None
    return (
        f"{len(untried)} of {len(engines)} engines were not proved on {place['gpu']} with driver"
        f" {place['driver']} and {place['tensorrt']}: samotion-check --engine-dir {folder!r}"
    )


def summary(proof: Proof) -> str:
    """What was tried where, in a line."""
    engines = proof["engines"]
    wrong = [name for name, known in engines.items() if problem(name, known)]
    masks = proof.get("masks")
    parts = [f"{proof['gpu']}, driver {proof['driver']}, {proof['tensorrt']}"]
    parts += [f"{len(engines) - len(wrong)} of {len(engines)} engines answer as their graphs do"]
    parts += [f"masks of {masks['clip']}: IoU {masks['mask_iou']:.4f}"] if masks else []
    return ": ".join([parts[0], ", ".join(parts[1:])])


def _where(proof: Proof) -> str:
    return (
        f"on {proof['gpu']}, driver {proof['driver']}, {proof['tensorrt']}; try another driver or"
        " TensorRT, or --target onnx"
    )
