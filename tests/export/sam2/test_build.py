"""SAM 2's module and graphs: the package's own answers, and exports at sizes they were not
traced at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import graphs
from helpers import sam2_reference as reference
from samotion.backends import squares
from samotion.errors import UsageError
from samotion.presets import SAM21_TINY
from samotion_export.sam2 import build as sam2
from samotion_export.sam2 import resize
from samotion_export.sam2.attention import attend, cut, rope_tables, rotate
from samotion_export.sam2.modules import (
    ImageGraph,
    MaskHead,
    MemoryEncoder,
    TrackGraph,
    sine_encoding,
)
from samotion_export.sam2.net import CONFIGS, build_module
from samotion_export.spelling import Spelling

SMALL = reference.SMALL
SIDE = 8  # cells of SMALL's coarsest level
EXACT = 1e-5  # float32 through a few layers, added up in another order


@pytest.fixture(scope="module")
def module() -> Any:
    return reference.small_module()


@pytest.mark.parametrize("spelling", Spelling)
def test_graphs_answer_as_pytorch_at_sizes_they_were_not_traced_at(
    module: Any, tmp_path: Path, spelling: Spelling
) -> None:
    for graph in sam2.graphs(SMALL, module, spelling):
        is_resize = graph.name == "sam2_resize"  # which has a test of its own
        more = [] if is_resize else [grown(graph.name, graph.examples[0], 3)]
        model = graphs.check(graph, tmp_path, more)
        graphs.check_for_tensorrt(model, graph.name, spelling)
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"Loop", "If", "Scan", "NonZero", "ScatterND"}


def grown(name: str, arrays: tuple[np.ndarray, ...], batch: int) -> tuple[np.ndarray, ...]:
    """Inputs for more objects, with fewer remembered frames and more points than any example."""
    shared = {"sam2_image": 0, "sam2_prompt": 3, "sam2_memory": 1, "sam2_track": 4}[name]
    own = [np.resize(a, (batch, *a.shape[1:])) for a in arrays[shared:]]
    if name == "sam2_prompt":
        own[:2] = [np.resize(own[0], (batch, 6, 2)), np.resize(own[1], (batch, 6))]
    if name == "sam2_track":
        own = [a[:, :1] for a in own]
    return *arrays[:shared], *own


@pytest.mark.parametrize("spelling", Spelling)
def test_track_step_is_the_packages(module: Any, spelling: Spelling) -> None:
    """Memory attention alone, with real-valued rotations, folded values and shared first
    self-attention.
    """
    rng = torch.Generator().manual_seed(0)
    level2 = torch.randn(1, 128, SIDE, SIDE, generator=rng)
    bank, slot = (
        torch.randn(2, 3, SIDE * SIDE, 64, generator=rng),
        torch.tensor([[6, 1, 0], [6, 5, 0]]),
    )
    pointers, age = torch.randn(2, 4, 128, generator=rng), torch.tensor([[0.5, 0.1, 0.2, 0.3]] * 2)
    graph = TrackGraph(module, spelling)
    with torch.no_grad():
        position = module.image_encoder.neck.position_encoding(level2).flatten(2).permute(2, 0, 1)
        image = level2.flatten(2).permute(2, 0, 1)
        aged = module.obj_ptr_tpos_proj(sine_encoding(age, 128)).repeat_interleave(2, dim=1)
        placed = graph.position[slot].flatten(1, 2)
        expected = module.memory_attention(
            curr=[image.expand(-1, 2, -1)],
            curr_pos=[position.expand(-1, 2, -1)],
            memory=torch.cat([bank.flatten(1, 2), pointers.reshape(2, 8, 64)], 1).transpose(0, 1),
            memory_pos=torch.cat([placed, aged], 1).transpose(0, 1),
            num_obj_ptr_tokens=8,
        ).transpose(0, 1)
        first = ImageGraph(module, spelling).first
        query = first((image + 0.1 * position).transpose(0, 1))
        got = graph._remember(query, bank, slot, pointers, age)
    torch.testing.assert_close(got, expected, atol=EXACT, rtol=EXACT)


def test_what_is_not_there_weighs_nothing(module: Any, tmp_path: Path) -> None:
    """Objects with memories and pointers of their own number, padded to one shape with noise."""
    (graph,) = (g for g in sam2.graphs(SMALL, module, Spelling.GPU) if g.name == "sam2_track")
    assert graph.meta["pads"] is True
    graphs.check(graph, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "sam2_track.onnx"))
    levels, (bank, slot, pointers, age) = graph.examples[0][:4], graph.examples[0][4:]
    names, rng = [i.name for i in session.get_inputs()], np.random.default_rng(0)

    def answers(*memories: np.ndarray) -> list[np.ndarray]:
        return list(session.run(None, dict(zip(names, (*levels, *memories)))))

    plain = answers(bank, slot, pointers, age)
    padded = answers(
        with_noise(bank, 5, rng),
        np.pad(slot, ((0, 0), (0, 5)), constant_values=-1),
        with_noise(pointers, 9, rng),
        np.pad(age, ((0, 0), (0, 9)), constant_values=-1),
    )
    for expected, got in zip(plain, padded):
        np.testing.assert_allclose(got, expected, atol=EXACT * np.abs(expected).max())
    there = answers(
        with_noise(bank, 5, rng), np.pad(slot, ((0, 0), (0, 5))), pointers, age
    )  # the same noise, as memories that are there
    assert np.abs(there[0] - plain[0]).max() > 0.1


@pytest.mark.parametrize("kernel", [squares.BICUBIC, squares.LANCZOS])
@pytest.mark.parametrize("hw", [(96, 170), (300, 200), (128, 128), (1, 3), (700, 31)])
def test_frames_are_resized_as_the_runtime_does_to_the_bit(
    tmp_path: Path, rng: np.random.Generator, hw: tuple[int, int], kernel: squares.Kernel
) -> None:
    """To squares of any size."""
    graph = resize.graph(128)
    frames = rng.integers(0, 256, (2, *hw, 3), np.uint8)
    frames[0] = 255 * (frames[0] > 127)  # what overshoots on both sides
    graphs.check(graph, tmp_path, [(frames, *squares.taps_of(hw, 128, kernel))])
    session = onnxruntime.InferenceSession(str(tmp_path / "sam2_resize.onnx"))
    for side in (128, 48):
        index, weight = squares.taps_of(hw, side, kernel)
        (got,) = session.run(None, {"frames": frames, "index": index, "weight": weight})
        wanted = np.stack([squares.resample(frame, side, kernel) for frame in frames])
        np.testing.assert_array_equal(got, wanted)


def with_noise(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(B,K,...) with more along the second axis."""
    noise = rng.normal(0, 3, (len(x), count, *x.shape[2:]))
    return np.concatenate([x, noise.astype(np.float32)], axis=1)


def test_a_cpus_graphs_do_not_pad(module: Any) -> None:
    (graph,) = (g for g in sam2.graphs(SMALL, module) if g.name == "sam2_track")
    assert "pads" not in graph.meta


@pytest.mark.parametrize("score", [2.0, -2.0])
@pytest.mark.parametrize("from_points", [True, False])
def test_memory_is_the_packages(module: Any, score: float, from_points: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    level2, masks = (
        torch.randn(1, 128, SIDE, SIDE, generator=rng),
        torch.randn(1, 32, 32, generator=rng),
    )
    wide = torch.nn.functional.interpolate(masks[None], (128, 128), mode="bilinear")
    logit = torch.full((1, 1), score)
    with torch.no_grad():
        expected, _ = module._encode_new_memory(
            [level2.flatten(2).permute(2, 0, 1)], [(SIDE, SIDE)], wide, logit, from_points
        )
        got = MemoryEncoder(module)(level2, masks, logit[:, 0], from_points)
    torch.testing.assert_close(got, expected.flatten(2).transpose(1, 2), atol=EXACT, rtol=EXACT)


def test_unstable_single_masks_give_way_to_the_best_of_three(module: Any) -> None:
    head, decoder = MaskHead(module), module.sam_mask_decoder
    grid = torch.linspace(-1, 1, 32).expand(32, 32)
    for scale in (100.0, 0.01):  # steep edges: stable; flat ones: not
        masks = torch.stack([grid * scale, grid, -grid, grid.T])[None]
        iou = torch.tensor([[0.1, 0.2, 0.9, 0.3]])
        expected, _ = decoder._dynamic_multimask_via_stability(masks, iou)
        stable = head._stable(masks[:, 0])
        assert torch.equal(
            torch.where(stable[:, None, None], masks[:, 0], masks[:, 2]), expected[:, 0]
        )
        assert bool(stable) == (scale > 1)


def test_rotations_are_the_packages_complex_ones() -> None:
    from sam2.modeling.position_encoding import apply_rotary_enc, compute_axial_cis

    rng = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 1, 25, 32, generator=rng), torch.randn(1, 1, 25, 32, generator=rng)
    rotated_q, rotated_k = apply_rotary_enc(q, k, compute_axial_cis(32, 5, 5))
    order = torch.cat([torch.arange(0, 32, 2), torch.arange(1, 32, 2)])
    tables = rope_tables(32, 5)
    torch.testing.assert_close(rotate(q[..., order], *tables), rotated_q[..., order])
    torch.testing.assert_close(rotate(k[..., order], *tables), rotated_k[..., order])


def test_chunks_of_queries_answer_as_the_whole() -> None:
    rng = torch.Generator().manual_seed(0)
    q, keys, v = (torch.randn(2, n, c, generator=rng) for n, c in ((100, 16), (16, 40), (40, 8)))
    whole = attend(q, keys, v, cut(100, None))
    assert cut(100, 16) == (0, 16, 32, 48, 64, 80, 96, 100) and cut(100, 25) == (0, 100)
    torch.testing.assert_close(attend(q, keys, v, cut(100, 16)), whole)


def test_2_0_does_not_tell_pointers_by_age() -> None:
    old: Any = build_module(replace(SMALL, config="sam2_hiera_t"))
    track = TrackGraph(old)
    assert not any(p.any() for p in track.age_projection.parameters())
    assert not track.encode.absent.any()
    assert old.image_size == 128 and old.max_cond_frames_in_attn == -1


def test_tiny_has_its_published_size() -> None:
    assert sum(p.numel() for p in build_module(SAM21_TINY).parameters()) == pytest.approx(
        38.9e6, rel=3e-3
    )


def test_unknown_configurations_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'sam3' is unknown; choose nano or one of sam2_hiera_t"):
        build_module(replace(SMALL, config="sam3"))
    assert len(CONFIGS) == 8


def test_nano_learns_in_all_its_parts() -> None:
    built: Any = build_module(SMALL)
    images = torch.randn(1, 3, 128, 128)
    levels = built.forward_image(images)["backbone_fpn"]
    sum(level.square().mean() for level in levels).backward()
    assert all(p.grad is not None for p in built.image_encoder.trunk.stages[:3].parameters())
