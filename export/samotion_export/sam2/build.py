"""SAM 2: its module and its graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from samotion.contract import SIGNATURES
from samotion.presets import Sam2Net
from torch import nn

from samotion_export.graph import Graph, run_module
from samotion_export.sam2 import resize
from samotion_export.sam2.modules import ImageGraph, MemoryGraph, PromptGraph, TrackGraph
from samotion_export.sam2.net import build_module
from samotion_export.spelling import Spelling

__all__ = ["build_module", "graphs"]

# Largest differences that float32 may show: of image features and memories as a part of their range
# (Hiera's activations reach hundreds in single channels), of decoded masks and scores in logits.
# Nano shows 1e-5 and 1e-6.
RELATIVE = {"level0": 1e-3, "level1": 1e-3, "level2": 1e-3, "query": 1e-3, "memory": 1e-3}
ABSOLUTE = {"masks": 5e-3, "iou": 1e-3, "pointer": 2e-3, "object_score": 5e-3, "memory": 5e-3}
Arrays = dict[str, np.ndarray]


def graphs(net: Sam2Net, module: nn.Module, spelling: Spelling = Spelling.CPU) -> list[Graph]:
    """The four graphs of a loaded module, with examples that follow a clip of two frames and two
    objects; for a GPU, before them the one that resizes frames.
    """
    sam: Any = module.eval()
    with torch.no_grad():
        image, prompt = (
            _graph("sam2_image", ImageGraph(sam, spelling)),
            _graph("sam2_prompt", PromptGraph(sam)),
        )
        memory, track = (
            _graph("sam2_memory", MemoryGraph(sam)),
            _graph("sam2_track", TrackGraph(sam, spelling), _meta(sam, spelling)),
        )
    frames = example_frames(net.image_size_px, 2)
    image = _with(image, (frames[:1],), (frames,))
    levels = run_module(image, (frames,))
    shots = [{name: array[i : i + 1] for name, array in levels.items()} for i in range(2)]
    prompt = _with(
        prompt,
        *(_prompts(shot, net.image_size_px, 2 - i, 2 * i + 1) for i, shot in enumerate(shots)),
    )
    decoded = [run_module(prompt, example) for example in prompt.examples]
    memory = _with(
        memory, *((s["level2"], d["masks"], d["object_score"]) for s, d in zip(shots, decoded))
    )
    known = [run_module(memory, example)["memory"] for example in memory.examples]
    track = _with(
        track,
        _step(shots[1], known[0], decoded[0]["pointer"], frames=2, pointers=3),
        _step(shots[0], known[1], decoded[1]["pointer"], frames=1, pointers=5),
    )
    others = [resize.graph(net.image_size_px)] if spelling is Spelling.GPU else []
    return [*others, image, prompt, memory, track]


def example_frames(size_px: int, count: int) -> np.ndarray:
    """Frames (count,S,S,3) uint8: two discs that move over a smooth, textured ground."""
    y, x = np.mgrid[:size_px, :size_px] / size_px
    frames = np.empty((count, size_px, size_px, 3), np.uint8)
    for t in range(count):
        frame = np.stack([80 + 60 * x, 90 + 50 * y, 100 + 40 * np.sin(20 * x + 13 * y)], axis=-1)
        for (cx, cy), colour in zip(_centres(t), ((220, 60, 40), (30, 80, 210))):
            frame[(x - cx) ** 2 + (y - cy) ** 2 < 0.02] = colour
        frames[t] = frame
    return frames


def _centres(t: int) -> np.ndarray:
    """Where the two discs are (2,2), as parts of the side."""
    return np.array([[0.3 + 0.03 * t, 0.35], [0.7, 0.6 - 0.03 * t]])


def _graph(name: str, module: nn.Module, meta: dict[str, Any] | None = None) -> Graph:
    relative = name in ("sam2_image", "sam2_memory")
    return Graph(name, module, (), RELATIVE if relative else ABSOLUTE, relative, meta or {})


def _with(graph: Graph, *examples: tuple[np.ndarray, ...]) -> Graph:
    tolerance = {name: graph.tolerance[name] for name in SIGNATURES[graph.name].output_names}
    return replace(graph, examples=examples, tolerance=tolerance)


def _meta(sam: Any, spelling: Spelling) -> dict[str, Any]:
    """What the runtime needs to choose memories: how many frames and how many object pointers
    are attended to, and whether the graph `pads`: takes slots and ages of -1 as not there.
    """
    meta = {"memory_frames": sam.num_maskmem, "max_pointers": sam.max_obj_ptrs_in_encoder}
    return {**meta, "pads": True} if spelling is Spelling.GPU else meta


def _prompts(shot: Arrays, size_px: int, objects: int, points: int) -> tuple[np.ndarray, ...]:
    """One disc each: `points` points on it, and for the second object a mask prompt too."""
    rng = np.random.default_rng(points)
    xy = _centres(0)[:objects, None] + rng.uniform(-0.05, 0.05, (objects, points, 2))
    side = size_px // 4
    y, x = np.mgrid[:side, :side] / side
    masks = [
        np.clip(200 * (0.14 - np.hypot(x - cx, y - cy)), -10, 10)
        for cx, cy in _centres(0)[:objects]
    ]
    labels = np.ones((objects, points), np.int64)
    labels[:, 3:] = 0
    has_mask = np.arange(objects) == 1
    prompts = (
        (xy * size_px).astype(np.float32),
        labels,
        np.stack(masks).astype(np.float32),
        has_mask.astype(np.uint8),
    )
    return shot["level0"], shot["level1"], shot["level2"], *prompts


def _step(
    shot: Arrays, memory: np.ndarray, pointer: np.ndarray, frames: int, pointers: int
) -> tuple[np.ndarray, ...]:
    """A bank that repeats one remembered frame, with a little noise to tell its frames apart."""
    rng = np.random.default_rng(frames)
    shape = (memory.shape[0], frames, *memory.shape[1:])
    bank = memory[:, None] + rng.normal(0, 0.1 * memory.std(), shape)
    near = pointer[:, None] + rng.normal(
        0, 0.1 * pointer.std(), (len(pointer), pointers, pointer.shape[1])
    )
    slot = np.broadcast_to(np.arange(6, 6 - frames, -1), shape[:2])
    age = np.broadcast_to(np.linspace(0, 1, pointers), near.shape[:2])
    remembered = (
        bank.astype(np.float32),
        slot.copy(),
        near.astype(np.float32),
        age.astype(np.float32),
    )
    return *shot.values(), *remembered
