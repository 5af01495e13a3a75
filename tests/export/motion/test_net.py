"""The motion net: official names, parity with the original, its channels, its loop, and its
export at other sizes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import graphs, parity
from helpers.disparity import lookup_misplaced
from samotion import motion as runtime
from samotion import open_engines
from samotion.presets import MOSEG, NANO
from samotion_export.examples import tracks
from samotion_export.graph import run_module
from samotion_export.motion import net as motion
from samotion_export.motion.attention import Attention
from samotion_export.motion.whole import WholeAttention
from samotion_export.spelling import Spelling

PARITY = 1e-3  # in logits; measured 1e-5
EXACT = 1e-5  # float32 sums in another order


def torch_tracks(count: int, frames: int, seed: int = 0) -> list[torch.Tensor]:
    return [torch.from_numpy(a) for a in tracks(count, frames, NANO.motion.dino_channels, seed)]


@pytest.fixture(scope="module")
def net() -> motion.Motion:
    """Random, with heads sharp enough that attention matters."""
    torch.manual_seed(0)
    module = motion.build_module(NANO.motion).eval()
    for name, parameter in module.named_parameters():
        if name.endswith("in_proj_weight"):
            torch.nn.init.normal_(parameter, std=0.5)
    return module


def test_names_and_shapes_are_the_official_ones(parity_folder: Path) -> None:
    built = {
        name: tuple(value.shape) for name, value in motion.build_module(MOSEG).state_dict().items()
    }
    assert built == parity.shapes(parity_folder, "motion")


def test_graph_answers_as_pytorch_at_every_size(net: motion.Motion, tmp_path: Path) -> None:
    graph = motion.graphs(NANO.motion, net)[0]
    others = [
        tracks(n, t, NANO.motion.dino_channels, 5) for n, t in ((1, 1), (1, 9), (70, 1), (8, 40))
    ]
    model = graphs.check(graph, tmp_path, others)
    # 6 along time, 4 across tracks, 12 in MSDE
    assert sum(node.op_type == "Loop" for node in model.graph.node) == 22


def test_whole_attention_answers_alike_and_has_no_loop(net: motion.Motion, tmp_path: Path) -> None:
    """A GPU's graph gives the scores of the CPU's, in float32 before its export to the last bits."""
    graph = motion.graphs(NANO.motion, net, Spelling.GPU)[0]
    sizes = [(1, 1), (1, 9), (70, 1), (8, 40)]
    others = [tracks(n, t, NANO.motion.dino_channels, 5) for n, t in sizes]
    hidden = list(tracks(12, 6, NANO.motion.dino_channels, 0))
    hidden[1] = hidden[1].copy()
    hidden[1][:4], hidden[1][:, 2] = (
        0,
        0,
    )  # half precision may not round what tells masked keys apart
    model = graphs.check(graph, tmp_path, [*others, tuple(hidden)])
    graphs.check_for_tensorrt(model, "motion", Spelling.GPU)
    kinds = [node.op_type for node in model.graph.node]
    assert "Loop" not in kinds and kinds.count("Softmax") == 22
    for inputs in others:
        wanted, got = (
            run_module(replace(graph, module=module), inputs)["score"]
            for module in (net, graph.module)
        )
        assert np.abs(got - wanted).max() < EXACT


def test_88_channels_in_their_order() -> None:
    xy, visible, visibility, confidence, disparity, _ = torch_tracks(3, 4)
    seen = visible.float()
    seen[0, 2] = 0
    xy[0, 0, 0] = 1.5  # clamped before anything else is computed from it
    got = motion.track_channels(xy, seen, visibility, confidence, disparity)
    assert got.shape == (3, 4, 88)
    p = xy.clamp(-1, 1)
    for n in range(3):
        for t in range(4):
            moves = t < 3 and seen[n, t + 1] > 0
            step = p[n, t + 1] - p[n, t] if moves else torch.zeros(2)
            climb = disparity[n, t + 1] - disparity[n, t] if moves else torch.zeros(())
            expected = []
            for z in (p[n, t], step):
                expected += [z]
                for octave in range(10):
                    expected += [torch.sin(2**octave * z), torch.cos(2**octave * z)]
            last = torch.stack([disparity[n, t], climb, visibility[n, t], confidence[n, t]])
            assert torch.allclose(got[n, t], torch.cat([*expected, last]), atol=1e-6)


@pytest.mark.parametrize("kind", [Attention, WholeAttention])
def test_attention_is_pytorchs_with_masked_keys(kind: type[Attention]) -> None:
    torch.manual_seed(0)
    attention, reference = (
        kind(16, 4),
        torch.nn.MultiheadAttention(16, 4, batch_first=True),
    )
    torch.nn.init.normal_(attention.in_proj_weight)
    reference.load_state_dict(attention.state_dict())
    x, memory = torch.randn(2, 5, 6, 16)
    hidden = torch.rand(5, 6) < 0.4
    hidden[:, 0] = hidden[0] = False
    mask = hidden.float() * motion.MASKED
    in_time = reference(x, memory, memory, key_padding_mask=hidden)[0]
    assert torch.allclose(attention.along_time(x, memory, mask), in_time, atol=EXACT)
    frames = x.transpose(0, 1)
    in_space = reference(frames, frames, frames, key_padding_mask=hidden.T)[0].transpose(0, 1)
    assert torch.allclose(attention.across_tracks(x, mask), in_space, atol=EXACT)
    assert torch.allclose(
        attention(x[0], memory[0]), reference(x[0], memory[0], memory[0])[0], atol=EXACT
    )


def test_order_of_tracks_does_not_matter_and_order_of_time_does(net: motion.Motion) -> None:
    inputs = torch_tracks(12, 6)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = net.logits(*inputs)
        assert torch.allclose(net.logits(*(a[order] for a in inputs)), logits[order], atol=EXACT)
        backwards = (*(a.flip(1) for a in inputs[:5]), inputs[5])
        assert (net.logits(*backwards) - logits).abs().max() > 100 * EXACT


def test_encoder_takes_no_hidden_point_as_key(net: motion.Motion) -> None:
    x, mask = torch.randn(12, 6, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(12, 6)
    changed = x.clone()
    changed[0, 3] += 1
    encoder = net.joint_encoder.transformer_model["encoder"]
    with torch.no_grad():
        seen = encoder(x, mask), encoder(changed, mask)
        mask[0, 3] = motion.MASKED
        hidden = encoder(x, mask), encoder(changed, mask)
    assert torch.allclose(hidden[0][1:], hidden[1][1:], atol=EXACT)
    assert torch.allclose(hidden[0][0, :3], hidden[1][0, :3], atol=EXACT)
    assert (seen[0][1:] - seen[1][1:]).abs().max() > 100 * EXACT


def test_tracks_hidden_throughout_leave_scores_finite(net: motion.Motion) -> None:
    inputs = torch_tracks(12, 6)
    inputs[1][:] = 0
    with torch.no_grad():
        assert torch.isfinite(net.logits(*inputs)).all()


def test_gradients_reach_every_parameter() -> None:
    net = motion.build_module(NANO.motion)
    labels = (torch.arange(12) % 3 == 0).float()
    torch.nn.functional.binary_cross_entropy_with_logits(
        net.logits(*torch_tracks(12, 6)), labels
    ).backward()
    own = {name: p for name, p in net.named_parameters() if not name.startswith("map.")}
    assert not [name for name, p in own.items() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("target", ["onnx", "onnx-gpu"])
def test_parity_with_the_original_through_onnxruntime(
    parity_folder: Path, tmp_path: Path, target: str
) -> None:
    data = np.load(parity_folder / "motion.npz")
    hw = data["disparity"].shape[1:]
    with open_engines(
        parity.engines(parity_folder, tmp_path / "engines", "motion", target=target),
        "cpu",
        threads=2,
    ) as engines:
        score = runtime.score(
            engines,
            xy_px=data["tracks_xy"],
            hw=hw,
            visible=data["visible"],
            visibility=data["visibility"],
            confidence=data["confidence"],
            disparity=lookup_misplaced(data["disparity"], data["tracks_xy"], hw),
            dino=data["dino"],
        )
    assert np.abs(logit(score) - logit(data["score"])).max() < PARITY


def logit(score: np.ndarray) -> np.ndarray:
    return np.log(score / (1 - score))
