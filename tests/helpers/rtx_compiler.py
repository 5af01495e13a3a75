"""A child that plays the compiler of TensorRT for RTX, and a fake of that without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from samotion_export.trt import build as trt_build

from helpers import fake_tensorrt

VERSION = "1.7.1"
COST = {"kernels": 1, "fused": 0, "unfused": 0, "loops": 0, "scratch_mb": [0], "seconds": 0.0}
INPUTS = {"frames": ["uint8", [-1, -1, -1, 3]]}
OUTPUTS = {"disparity": ["float32", [-1, -1, -1]]}
COMPILER = """
import json, sys
job = json.load(open(sys.argv[1]))
{trouble}
profiles = job["shapes"]
header = json.dumps({{"version": {version!r}, "profiles": profiles, "wrong": {wrong!r}}}).encode()
with open(job["graph"], "rb") as graph, open(job["plan"], "wb") as plan:
    plan.write({magic!r} + header + b"\\n" + graph.read())
with open(job["facts"], "w") as facts:
    json.dump({facts}, facts)
"""


def use(
    monkeypatch: pytest.MonkeyPatch,
    version: str = VERSION,
    trouble: str = "",
    wrong: float = 0.0,
    **facts: Any,
) -> None:
    """Install both. The compiler runs `trouble` first, tells `facts`, and its engines are wrong by
    this part of every number.
    """
    gpu = fake_tensorrt.Gpu(has_driver=False)
    fake_tensorrt.install(monkeypatch, version, gpu, "tensorrt_rtx")
    told = {"inputs": INPUTS, "outputs": OUTPUTS, "cost": COST, **facts}
    magic = fake_tensorrt.MAGIC
    script = COMPILER.format(version=version, trouble=trouble, magic=magic, facts=told, wrong=wrong)
    monkeypatch.setattr(trt_build, "COMPILER", script)
