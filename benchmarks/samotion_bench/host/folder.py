"""An engine folder of the stand-in: the contract's engines at a preset's official sizes."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samotion import manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import DYNAMIC, NETS, PATCH_PX, SIGNATURES, Tensor, engines_of
from samotion.manifest import Entry, Manifest
from samotion.presets import Preset
from samotion_export.trt.profiles import profiles

from samotion_bench.host.cudart import NAME, Cudart
from samotion_bench.host.meter import Meter
from samotion_bench.host.scene import Scene
from samotion_bench.host.tensorrt import VERSION, TensorRT

SAM2_CHANNELS = {"C0": 32, "C1": 64, "C": 256, "D": 64}  # the same in all official sizes
NANO_CHANNELS = {"C0": 16, "C1": 32, "C": 128, "D": 64}
SAM2_META = {"memory_frames": 7, "max_pointers": 16, "pads": True}


def write_folder(folder: Path, preset: Preset) -> None:
    """Engine files that the stand-in opens, and their manifest."""
    names = [n for net in NETS for n in engines_of(net, getattr(preset, net), on_gpu=True)]
    entries = {name: _write(folder, name, preset) for name in names}
    manifest.write(folder, Manifest(preset.name, {}, entries, numbers_of(preset)))


def _write(folder: Path, name: str, preset: Preset) -> Entry:
    signature = SIGNATURES[name]
    sizes = _sizes(signature.net, preset)
    inputs, outputs = (
        {tensor.name: _dims(tensor, sizes) for tensor in side}
        for side in (signature.inputs, signature.outputs)
    )
    facts = {
        "name": name,
        "inputs": inputs,
        "outputs": outputs,
        "dtypes": {t.name: t.dtype for t in (*signature.inputs, *signature.outputs)},
        "profiles": profiles(preset, name, inputs),
        "per_frame": signature.per_frame,
        "strides": _strides(name, preset),
    }
    data = json.dumps(facts).encode()
    (folder / f"{name}.engine").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    meta = SAM2_META if name == "sam2_track" else {}
    return Entry(
        f"{name}.engine",
        *(digest, digest, digest, "fp16", inputs, outputs, {}, digest, meta, NAME, VERSION),
    )


def official_dims(tensor: Tensor, preset: Preset) -> list[int | str]:
    """The dims of an engine's input at a preset's official sizes; letters where they vary."""
    net = next(s.net for s in SIGNATURES.values() if tensor in s.inputs)
    return _dims(tensor, _sizes(net, preset))


def _dims(tensor: Tensor, sizes: Mapping[str, int]) -> list[int | str]:
    return [d if isinstance(d, int) or d in DYNAMIC else sizes[d] for d in tensor.dims]


def _sizes(net: str, preset: Preset) -> dict[str, int]:
    """The letters of a net that its preset fixes."""
    tracks, side = preset.tracks, preset.sam2.image_size_px
    if net == "tracks":
        return {
            **{"C": tracks.channels[3], "C'": tracks.channels[1]},
            **{"S": tracks.refine_px, "S/8": tracks.refine_px // 8, "S/4": tracks.refine_px // 4},
            **{"R": tracks.mixer_blocks * tracks.iterations, "D": 4 * tracks.mixer_width},
        }
    if net == "sam2":
        channels = NANO_CHANNELS if preset.sam2.config == "nano" else SAM2_CHANNELS
        grid = side // 16
        return {**channels, "S": side, "M": side // 4, "M/2": side // 8, "G": grid, "L": grid**2}
    return {"C": preset.motion.dino_channels}


def _strides(name: str, preset: Preset) -> dict[str, int]:
    stride = preset.dino.stride_px
    return {"patch": PATCH_PX, "GH": stride, "GW": stride} if name == "dino" else {}


@contextmanager
def installed(meter: Meter, scene: Scene) -> Iterator[None]:
    """`import tensorrt` and cuda-python find the stand-ins while this lasts."""
    cuda = Cudart("cuda.bindings.runtime", meter)
    parents: dict[str, Any] = {n: types.ModuleType(n) for n in ("cuda", "cuda.bindings")}
    for parent in parents.values():
        parent.__path__ = []
    modules = {**parents, cuda.__name__: cuda, "tensorrt": TensorRT(cuda, scene)}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
