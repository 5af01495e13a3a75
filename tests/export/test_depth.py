"""The depth net: official names, parity with the original, and its export at sizes it was not
traced at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import graphs, parity
from samotion import open_engines
from samotion.presets import DEPTH_LARGE, DEPTH_SMALL, NANO, VitNet
from samotion_export import depth
from samotion_export.examples import frames

TINY = replace(NANO.depth, vit=VitNet(64, 4, pos_grid=3), features=8, out_channels=(4, 6, 8, 8))
PARITY = 1e-3  # of the disparity's range; measured 2e-6 in PyTorch, 2e-6 through onnxruntime


@pytest.fixture(scope="module")
def tiny() -> depth.Depth:
    torch.manual_seed(0)
    return depth.build_module(TINY).eval()


def test_names_and_shapes_are_the_official_ones(parity_folder: Path) -> None:
    with torch.device("meta"):
        built = depth.build_module(DEPTH_SMALL).state_dict()
    assert {name: tuple(value.shape) for name, value in built.items()} == parity.shapes(
        parity_folder, "depth"
    )


def test_large_has_335_million_parameters() -> None:
    with torch.device("meta"):
        assert sum(
            p.numel() for p in depth.build_module(DEPTH_LARGE).parameters()
        ) == pytest.approx(335e6, rel=2e-3)


def test_graph_answers_as_pytorch_at_every_size(tiny: depth.Depth, tmp_path: Path) -> None:
    (graph,) = depth.graphs(TINY, tiny)
    sizes = ((1, 14, 14), (1, 42, 42), (3, 28, 98), (2, 154, 70))  # 42: the trained grid itself
    graphs.check(graph, tmp_path, [(frames(*size),) for size in sizes])


def test_net_starts_with_its_last_relu_open_and_gradients_reach_all_it_uses() -> None:
    net = depth.build_module(TINY)
    disparity = net(torch.from_numpy(frames(1, 56, 70)))
    assert disparity.shape == (1, 56, 70) and (disparity > 0).float().mean() > 0.9
    disparity.square().mean().backward()
    without = {name for name, p in net.named_parameters() if p.grad is None}
    unused = {
        f"depth_head.scratch.refinenet4.resConfUnit1.conv{i}.{kind}"
        for i in (1, 2)
        for kind in ("weight", "bias")
    }
    assert without == unused | {"pretrained.mask_token"}


def test_parity_with_the_original_through_onnxruntime(parity_folder: Path, tmp_path: Path) -> None:
    clip = np.load(parity_folder / "clip.npz")["frames"]
    expected = np.load(parity_folder / "depth.npz")["disparity"]
    with open_engines(
        parity.engines(parity_folder, tmp_path / "engines", "depth"), "cpu", threads=2
    ) as engines:
        got = engines["depth"](frames=clip[:2, :196, :252])["disparity"]
    assert np.abs(got - expected).max() < PARITY * np.ptp(expected)
