"""The DINO net: official names, parity with the original, and its export at sizes it was not
traced at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from helpers import graphs, parity
from samotion import open_engines
from samotion.presets import DINO_BASE, NANO, VitNet
from samotion_export import dino
from samotion_export.examples import frames

TINY = replace(NANO.dino, vit=VitNet(192, 3, pos_grid=4))
PARITY = 0.01  # the expected features are float16, which is 0.002 at their size; measured 0.002


def test_names_and_shapes_are_the_official_ones(parity_folder: Path) -> None:
    with torch.device("meta"):
        built = dino.build_module(DINO_BASE).state_dict()
    assert {name: tuple(value.shape) for name, value in built.items()} == parity.shapes(
        parity_folder, "dino"
    )


def test_graph_answers_as_pytorch_at_every_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (graph,) = dino.graphs(TINY, dino.build_module(TINY))
    sizes = ((1, 14, 14), (1, 35, 35), (3, 28, 98), (2, 154, 70))  # 35: the trained grid itself
    model = graphs.check(graph, tmp_path, [(frames(*size),) for size in sizes])
    # 3 heads, 2 at once, in all blocks but the last, which never runs
    assert sum(node.op_type == "Softmax" for node in model.graph.node) == 2 * (TINY.vit.depth - 1)


def test_gradients_reach_what_the_keys_depend_on() -> None:
    net = dino.build_module(TINY)
    net(torch.from_numpy(frames(1, 28, 28))).square().mean().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None}
    assert {
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks.0.mlp.fc2.weight",
        "blocks.2.attn.qkv.weight",
    } <= reached
    assert not any(name.startswith("blocks.2.mlp") for name in reached)


def test_parity_with_the_original_through_onnxruntime(parity_folder: Path, tmp_path: Path) -> None:
    clip = np.load(parity_folder / "clip.npz")["frames"]
    expected = np.load(parity_folder / "dino.npz")["features"].astype(np.float32)
    with open_engines(
        parity.engines(parity_folder, tmp_path / "engines", "dino"), "cpu", threads=2
    ) as engines:
        got = engines["dino"](frames=clip[:1, :140, :196])["features"][0]
    assert np.abs(got - expected).max() < PARITY
