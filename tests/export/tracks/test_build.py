"""The tracker's net: official names, parity with the original, its shortcuts against the
obvious, and its export.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import samotion
import torch
import torch.nn.functional as F
from helpers import graphs, parity
from helpers.tiny_tracks import TINY
from samotion.presets import BOOTSTAPIR, NANO
from samotion_export.examples import frames
from samotion_export.tracks import build as tracks
from samotion_export.tracks import maps as tapir_maps
from samotion_export.tracks import mixer as tapir_mixer
from samotion_export.tracks import tapir

TRACK_PX, LOGIT = 0.005, 0.002  # an exact float32 port comes closer; a wrong GELU shows at 0.006 px
EXACT: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # the same sums in another order


@pytest.fixture(scope="module")
def net() -> tapir.Tapir:
    torch.manual_seed(0)
    return tracks.build_module(TINY).eval()


@pytest.fixture(scope="module")
def exported(
    net: tapir.Tapir, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, onnx.ModelProto]:
    """The three graphs, each compared with PyTorch at sizes it was not traced at."""
    folder = tmp_path_factory.mktemp("graphs")
    inputs: dict[str, list[tuple[np.ndarray, ...]]] = defaultdict(list)
    for count, points in ((1, 5), (9, 1)):
        clip = frames(count, 256, 256, seed=count)
        queries = np.random.default_rng(points).uniform(0, 255.9, (points, 3)).astype(np.float32)
        queries[:, 0] = np.arange(points) % count
        with torch.no_grad():
            grids = net.features(torch.from_numpy(clip))
            looks = net.query(*grids, torch.from_numpy(queries))
        inputs["tracks_features"].append((clip,))
        inputs["tracks_query"].append((*(g.numpy() for g in grids), queries))
        inputs["tracks_refine"].append((*(g.numpy() for g in (*grids, *looks)), queries))
    return {
        graph.name: graphs.check(graph, folder, inputs[graph.name])
        for graph in tracks.graphs(TINY, net)
    }


def test_names_and_shapes_are_the_official_ones(parity_folder: Path) -> None:
    official = {
        name: tuple(value.shape) for name, value in parity.state(parity_folder, "tracks").items()
    }
    with torch.device("meta"):
        built = tracks.build_module(BOOTSTAPIR).state_dict()
    assert {name: tuple(value.shape) for name, value in built.items()} == official


@pytest.mark.parametrize("name", ["tracks_features", "tracks_query", "tracks_refine"])
def test_graph_answers_as_pytorch_at_every_size(
    exported: dict[str, onnx.ModelProto], name: str
) -> None:
    assert len(exported[name].graph.output) == len(samotion.contract.SIGNATURES[name].outputs)


def test_no_array_in_the_graphs_has_more_than_four_axes(
    exported: dict[str, onnx.ModelProto],
) -> None:
    for model in exported.values():
        known = onnx.shape_inference.infer_shapes(model)
        ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in known.graph.value_info}
        assert max(ranks.values()) <= 4
        samplers = [node for node in model.graph.node if node.op_type == "GridSample"]
        assert all(ranks[name] == 4 for node in samplers for name in node.input)


def test_onnxruntime_fuses_every_gelu_and_needs_no_pad(
    exported: dict[str, onnx.ModelProto], tmp_path: Path
) -> None:
    gelus = {
        "tracks_features": 1,
        "tracks_query": 0,
        "tracks_refine": 2 * TINY.mixer_blocks * TINY.iterations,
    }
    for name, expected in gelus.items():
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns that an optimised file suits this machine only
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        onnxruntime.InferenceSession(
            exported[name].SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
        assert kinds.count("FastGelu") == expected and "Tanh" not in kinds
        assert "Pad" not in kinds


def test_parity_with_the_original_through_the_public_api(
    parity_folder: Path, tmp_path: Path
) -> None:
    clip = np.load(parity_folder / "clip.npz")["frames"]
    expected = np.load(parity_folder / "tracks.npz")
    folder = parity.engines(parity_folder, tmp_path / "engines", "tracks")
    with samotion.open_engines(folder, "cpu", threads=2) as engines:
        got = samotion.tracks.track(engines, clip, expected["query_tyx"], point_frames=8 * 40)
    assert np.abs(got.tracks - expected["tracks_xy"]).max() < TRACK_PX
    assert np.abs(got.occlusion - expected["occlusion"]).max() < LOGIT
    assert np.abs(got.expected_dist - expected["expected_dist"]).max() < LOGIT


def test_training_reaches_every_parameter_through_every_state(net: tapir.Tapir) -> None:
    queries = torch.tensor([[0.0, 20, 30], [1, 200, 100]])
    states = net(torch.from_numpy(frames(2, 256, 256)), queries)
    assert len(states) == 1 + TINY.iterations
    assert torch.equal(states[0].tracks[[0, 1], [0, 1]], queries[:, [2, 1]])
    for state in states:
        assert [tuple(value.shape) for value in state] == [(2, 2, 2), (2, 2), (2, 2)]
    sum(value.square().mean() for state in states for value in state).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    net.zero_grad()


def test_float_and_byte_frames_have_the_same_features(net: tapir.Tapir) -> None:
    clip = torch.from_numpy(frames(1, 256, 256))
    with torch.no_grad():
        for one, other in zip(net.features(clip), net.features(clip.float())):
            assert torch.equal(one, other)
            torch.testing.assert_close(one.norm(dim=-1), torch.ones(one.shape[:-1]), **EXACT)


def test_tiled_convolution_is_the_convolution() -> None:
    torch.manual_seed(0)
    conv, maps = torch.nn.Conv2d(16, 1, 3, padding=1), torch.randn(3, 16, 32, 32)
    torch.testing.assert_close(tapir_maps.tiled_conv(maps, conv), conv(maps), **EXACT)


def test_without_convolutions_the_guess_is_the_similarities_peak(
    rng: np.random.Generator,
) -> None:
    """As of convolutions that give their input back."""
    plain, head = tapir_maps.SoftArgmax(), tapir_maps.CostVolumeHead()
    maps = torch.from_numpy(rng.random((5, 32, 32), np.float32))
    with torch.no_grad():
        for one in head.parameters():
            one.zero_()
        for conv in (head.hid1, head.hid2):
            conv.weight[0, 0, 1, 1] = 1
        plain.logits.copy_(torch.tensor([-2.0, 3.0]))
        head.occ_out.bias.copy_(plain.logits)
        torch.testing.assert_close(plain(maps), head(maps), **EXACT)


def test_nanos_guess_has_no_convolutions() -> None:
    names = tracks.build_module(NANO.tracks).state_dict()
    head = [name for name in names if name.startswith("torch_cost_volume")]
    assert head == ["torch_cost_volume_track_mods.logits"]


@pytest.mark.parametrize(("causal", "around"), [(False, (1, 1)), (True, (2, 0))])
def test_folded_temporal_convolution_is_the_published_pair(
    causal: bool, around: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    block, x = tapir_mixer.MixerBlock(8, causal=causal), torch.randn(2, 5, 8)
    up, down = block.mlp1_up, block.mlp1_up_1
    y = F.conv1d(F.pad(block.layer_norm(x).transpose(1, 2), around), up.weight, up.bias, groups=8)
    y = F.conv1d(F.pad(F.gelu(y, approximate="tanh"), around), down.weight, down.bias, groups=32)
    mixed = x + y.reshape(2, 8, 4, 5).sum(2).transpose(1, 2)
    expected = mixed + block.conv_channels_mixer(block.layer_norm_1(mixed))
    torch.testing.assert_close(block(x), expected, **EXACT)


def test_peak_is_the_weighted_mean_around_the_best_cell(rng: np.random.Generator) -> None:
    heat = rng.normal(0, 0.2, (6, 32, 32)).astype(np.float32)
    heat[0, 0, 31] = heat[1, 31, 0] = 3.0
    got = tapir_maps.peak(torch.from_numpy(heat.reshape(6, -1))).numpy()
    for one, map_yx in zip(got, heat.astype(np.float64)):
        best = np.unravel_index(map_yx.argmax(), (32, 32))
        cells = [(y, x) for y, x in np.ndindex(32, 32) if np.hypot(y - best[0], x - best[1]) < 5]
        weight = np.array([np.exp(20 * map_yx[cell]) for cell in cells])
        y, x = (weight @ (np.array(cells) + 0.5) / weight.sum()) * 8
        np.testing.assert_allclose(one, (x, y), atol=1e-3)


def test_correlations_are_dot_products_of_sampled_features(rng: np.random.Generator) -> None:
    """One grid after the other, each of its own size."""
    grids = [rng.normal(size=(2, cells, cells, 4)).astype(np.float32) for cells in (16, 8)]
    query = rng.normal(size=(2, 5, 4)).astype(np.float32)
    xy = rng.uniform(-20, 276, (2, 5, 2)).astype(np.float32)
    tensors = [torch.from_numpy(grid) for grid in grids]
    queries = [torch.from_numpy(query)] * 2
    got = tapir_maps.correlations(tensors, queries, torch.from_numpy(xy)).numpy()
    assert got.shape == (2, 5, 98)
    for t, n, k in np.ndindex(2, 5, 98):
        expected = correlation(grids[k // 49][t], query[t, n], xy[t, n], k % 49)
        assert abs(got[t, n, k] - expected) < 1e-3


def correlation(grid: np.ndarray, query: np.ndarray, xy: np.ndarray, k: int) -> float:
    """The k-th of 7 x 7 bilinear samples of one frame's `grid` (S,S,C) around `xy`, by `query`."""
    cells = len(grid)
    place = xy[::-1] * cells / 256 - 0.5 + (k // 7 - 3, k % 7 - 3)  # y outer
    corner = np.floor(place).astype(int)
    value = 0.0
    for dy, dx in np.ndindex(2, 2):
        y, x = corner[0] + dy, corner[1] + dx
        if 0 <= y < cells and 0 <= x < cells:
            value += np.prod(1 - np.abs(place - (y, x))) * (grid[y, x] @ query)
    return value


def test_query_features_are_clamped_at_the_border(rng: np.random.Generator) -> None:
    grid = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
    queries = np.array([[0, 0, 0], [1, 255.9, 255.9], [1, 4, 12], [0, 8, 8]], np.float32)
    got = tapir_maps.sample_queries(torch.from_numpy(grid), torch.from_numpy(queries)).numpy()
    middle = grid[0, :2, :2].mean((0, 1))  # 8 px is the corner of four cells
    np.testing.assert_allclose(
        got, [grid[0, 0, 0], grid[1, -1, -1], grid[1, 0, 1], middle], **EXACT
    )
