"""Engine folders of small graphs, and the backends that open them: one suite for all."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import samotion
from samotion import manifest
from samotion.backends.engines import EngineFolder
from samotion.checks.preset_numbers import numbers_of
from samotion.manifest import Entry, Manifest
from samotion.presets import NANO

from helpers import fake_tensorrt

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
# Graphs with the contract's names, small enough to know their answers by heart.
GRAPHS = {
    "depth": """depth (uint8[B, H, W, 3] frames) => (float[B, H, W] disparity)
        <int64[1] last = {3}> { wide = Cast <to = 1> (frames) disparity = ReduceSum <keepdims = 0> (wide, last) }""",
    "sam2_prompt": """sam2_prompt (float[1, 2, M, M] level0, float[1, 2, M2, M2] level1, float[1, 4, G, G] level2,
        float[B, P, 2] points, int64[B, P] labels, float[B, M, M] mask_prompt, uint8[B] has_mask)
        => (float[B, M, M] masks, float[B] iou, float[B, 4] pointer, float[B] object_score)
        <int64[2] inner = {1, 2}, int64[1] inside = {1}, int64[3] all = {1, 2, 3}, int64[1] first = {0},
         int64[2] grid = {2, 3}, float half = {0.5}>
        { has = Cast <to = 1> (has_mask) column = Unsqueeze(has, inner) masks = Mul(mask_prompt, column)
          wide = Cast <to = 1> (labels) iou = ReduceSum <keepdims = 0> (wide, inside)
          object_score = ReduceMean <axes = [1, 2], keepdims = 0> (points)
          sums = ReduceSum <keepdims = 0> (level2, grid) zero = Mul(iou, half) rows = Unsqueeze(zero, inside)
          pointer = Add(sums, rows) }""",
    "sam2_memory": """sam2_memory (float[1, 4, G, G] level2, float[B, M, M] masks, float[B] object_score)
        => (float[B, L, D] memory)
        <int64[2] inner = {1, 2}, int64[1] batch = {0}> { score = Unsqueeze(object_score, inner)
          memory = Add(masks, score) }""",
    "tracks_online": """tracks_online (float[1, 32, 32, 2] lowres, float[1, 64, 64, 2] hires, float[N, 2] query_lowres,
        float[N, 2] query_hires, float[R, N, 4, D] past) => (float[N, 1, 2] tracks, float[N, 1] occlusion,
        float[N, 1] expected_dist, float[R, N, 4, D] present)
        <int64[1] frame = {1}, float one = {1}> { tracks = Unsqueeze(query_hires, frame)
          occlusion = ReduceSum <keepdims = 1> (query_lowres, frame)
          expected_dist = ReduceSum <keepdims = 1> (query_hires, frame) present = Add(past, one) }""",
}
PROFILES: dict[str, list[fake_tensorrt.Profile]] = {
    "depth": [
        {"frames": ((1, 2, 2, 3), (1, 4, 4, 3), (2, 8, 8, 3))},
        {"frames": ((1, 9, 9, 3), (1, 9, 9, 3), (3, 16, 16, 3))},
    ],
    "sam2_prompt": [
        {
            "level0": ((1, 2, 8, 8),) * 3,
            "level1": ((1, 2, 4, 4),) * 3,
            "level2": ((1, 4, 2, 2),) * 3,
            "points": ((1, 1, 2), (1, 2, 2), (2, 6, 2)),
            "labels": ((1, 1), (1, 2), (2, 6)),
            "mask_prompt": ((1, 8, 8), (1, 8, 8), (2, 8, 8)),
            "has_mask": ((1,), (1,), (2,)),
        }
    ],
    "sam2_memory": [
        {
            "level2": ((1, 4, 2, 2),) * 3,
            "masks": ((1, 8, 8), (1, 8, 8), (2, 8, 8)),
            "object_score": ((1,), (1,), (2,)),
        }
    ],
    "tracks_online": [
        {
            "lowres": ((1, 32, 32, 2),) * 3,
            "hires": ((1, 64, 64, 2),) * 3,
            "query_lowres": ((1, 2), (1, 2), (3, 2)),
            "query_hires": ((1, 2), (1, 2), (3, 2)),
            "past": ((2, 1, 4, 5), (2, 1, 4, 5), (2, 3, 4, 5)),
        }
    ],
}


def onnx_folder(folder: Path) -> Manifest:
    """A folder of all graphs, as export writes it. Returns its manifest."""
    entries = {}
    for name, text in GRAPHS.items():
        model = onnx.parser.parse_model(HEADER + text)
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entries[name] = Entry(f"{name}.onnx", digest, digest, "w", "fp32", {}, {}, {}, "s")
    held = Manifest("nano", {}, entries, numbers_of(NANO))
    manifest.write(folder, held)
    return held


def tensorrt_folder(folder: Path, version: str, gpu: str = "Fake GPU", **changes: Any) -> Manifest:
    """The same, built for the fake TensorRT."""
    held = onnx_folder(folder)
    entries = {}
    for name, entry in held.engines.items():
        data = fake_tensorrt.build(folder / entry.file, version, PROFILES[name])
        (folder / f"{name}.engine").write_bytes(data)
        facts: dict[str, Any] = {
            "file": f"{name}.engine",
            "sha256": hashlib.sha256(data).hexdigest(),
            "gpu": gpu,
            "tensorrt": version,
        }
        entries[name] = replace(entry, **{**facts, **changes})
    held = replace(held, engines=entries)
    manifest.write(folder, held)
    return held


def rtx_folder(folder: Path, version: str, **changes: Any) -> Manifest:
    """The same, built for the fake TensorRT for RTX."""
    facts: dict[str, Any] = {"gpu": None, "rtx": True}
    return tensorrt_folder(folder, version, **{**facts, **changes})


def open_backend(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> EngineFolder:
    """`cpu`, or `tensorrt-VERSION` or `tensorrt_rtx-VERSION` on the fake."""
    if kind == "cpu":
        onnx_folder(folder)
        return samotion.open_engines(folder, "cpu", threads=1)
    module, _, version = kind.partition("-")
    fake_tensorrt.install(monkeypatch, version, module=module)
    build = tensorrt_folder if module == "tensorrt" else rtx_folder
    build(folder, version)
    return samotion.open_engines(folder, "tensorrt")


def prompt_inputs(
    rng: np.random.Generator, objects: int = 2, points: int = 3
) -> dict[str, np.ndarray]:
    """What engine sam2_prompt takes, for some objects with some points each."""
    return {
        "level0": rng.normal(size=(1, 2, 8, 8)).astype(np.float32),
        "level1": rng.normal(size=(1, 2, 4, 4)).astype(np.float32),
        "level2": rng.normal(size=(1, 4, 2, 2)).astype(np.float32),
        "points": rng.uniform(0, 32, (objects, points, 2)).astype(np.float32),
        "labels": rng.integers(0, 2, (objects, points)),
        "mask_prompt": rng.normal(size=(objects, 8, 8)).astype(np.float32),
        "has_mask": np.arange(objects, dtype=np.uint8) % 2,
    }
