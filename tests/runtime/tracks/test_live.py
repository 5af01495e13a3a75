"""The causal tracker: frame by frame as for a whole clip, in PyTorch, as a graph and through the
runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
import torch
import torch.nn.functional as F
from helpers import graphs, official, parity, tiny_tracks
from helpers.fakes import FakeEngines
from samotion import tracks
from samotion.backends.engines import Engines
from samotion.errors import EngineError, UsageError
from samotion.manifest import sha256_of
from samotion.presets import CAUSAL_BOOTSTAPIR, PRESETS
from samotion.tracks.live import ONLINE_POINTS
from samotion_export import tracks as exporter
from samotion_export.examples import frames
from samotion_export.export import export
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.spelling import Spelling
from samotion_export.tracks import mixer as tapir_mixer
from samotion_export.tracks import tapir
from torch import Tensor

CAUSAL = replace(tiny_tracks.TINY, causal=True)
TRACK_PX, LOGIT = 0.02, 0.002  # promised; what is reached at official sizes is 100 times closer
STEP_PX = 1e-3  # one and the same float32 net, its frames taken one by one
NO_FRAME = -1.0  # a query frame that is not in the clip

Pair = tuple[Engines, tapir.Tapir]
# by iteration, block and convolution: its last two inputs (N,channels,2)
Kept = list[list[list[Tensor]]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with tiny_tracks.opened(CAUSAL, tmp_path_factory.mktemp("causal")) as both:
        yield both


@pytest.fixture(scope="module")
def clip() -> np.ndarray[Any, Any]:
    return frames(5, 256, 256)


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return rng.uniform(0, 255, (7, 2)).astype(np.float32)


def nothing(net: tapir.Tapir, points: int) -> Kept:
    """What the published model keeps before the first frame."""
    width = net.past_shape[-1]
    blocks = len(net.torch_pips_mixer.blocks)
    return [
        [[torch.zeros(points, width, 2), torch.zeros(points, 4 * width, 2)] for _ in range(blocks)]
        for _ in range(net.iterations)
    ]


def convolve(x: Tensor, conv: torch.nn.Conv1d, kept: list[Tensor], which: int) -> Tensor:
    """One frame (N,channels,1) through a temporal convolution, after the two frames that `kept`
    remembers.
    """
    seen = torch.cat((kept[which], x), 2)
    kept[which] = seen[:, :, 1:]
    return F.conv1d(seen, conv.weight, conv.bias, groups=conv.groups)


def published_mixer(mixer: tapir_mixer.Mixer, x: Tensor, kept: list[list[Tensor]]) -> Tensor:
    """(N,inputs) -> (N,outputs), with the layers as published."""
    x = mixer.linear(x)
    for block, its_kept in zip(mixer.blocks, kept):
        assert isinstance(block, tapir_mixer.MixerBlock)
        y = F.gelu(
            convolve(block.layer_norm(x)[:, :, None], block.mlp1_up, its_kept, 0),
            approximate="tanh",
        )
        y = convolve(y, block.mlp1_up_1, its_kept, 1)[:, :, 0]
        x = x + y[:, 0::4] + y[:, 1::4] + y[:, 2::4] + y[:, 3::4]
        x = x + block.conv_channels_mixer(block.layer_norm_1(x))
    out: Tensor = mixer.linear_1(mixer.layer_norm(x))
    return out


def published_step(
    net: tapir.Tapir, frame: np.ndarray[Any, Any], query_features: tuple[Tensor, Tensor], kept: Kept
) -> Any:
    """The causal model on one frame: tracks (N,2) and logits (N,2). `kept` is brought up to
    date.
    """
    lowres, hires = net.features(torch.from_numpy(frame[None]))
    rounds = iter(kept)

    def mix(inputs: Tensor) -> Tensor:
        return published_mixer(net.torch_pips_mixer, inputs[0], next(rounds))[None]

    guess = net._guess(lowres, query_features[0])
    start = tapir._grids(lowres, hires), tapir._features(*query_features)
    *_, last = net._refinements(*start, *guess, mix=mix)
    return last


def compare(raw: tracks.RawTracks, expected: Any) -> None:
    assert np.abs(raw.tracks - expected.tracks.numpy()).max() < TRACK_PX
    assert np.abs(raw.occlusion - expected.occlusion.numpy()).max() < LOGIT
    assert np.abs(raw.expected_dist - expected.expected_dist.numpy()).max() < LOGIT


def query_features_of(
    net: tapir.Tapir, frame: np.ndarray[Any, Any], points: np.ndarray[Any, Any]
) -> tuple[Tensor, Tensor]:
    queries = np.column_stack((np.zeros(len(points)), points[:, ::-1])).astype(np.float32)
    return net.query(*net.features(torch.from_numpy(frame[None])), torch.from_numpy(queries))


@torch.no_grad()
def follow_and_compare(engines: Engines, net: tapir.Tapir, clip: Any, points: Any) -> float:
    """Follow `points` of the first frame; compare each frame. How far tracks move in all, px."""
    tracker = tracks.start(engines)
    query_features, kept = query_features_of(net, clip[0], points), nothing(net, len(points))
    seen = []
    for number, frame in enumerate(clip):
        raw, tracker = tracks.step(engines, frame, tracker, points if number == 0 else None)
        compare(raw, published_step(net, frame, query_features, kept))
        seen.append(raw.tracks)
    return float(np.ptp(np.concatenate(seen, 1), axis=1).max())


def test_engines_answer_as_the_published_model_frame_by_frame(
    pair: Pair, clip: Any, points: Any
) -> None:
    assert follow_and_compare(*pair, clip, points) > 1


@torch.no_grad()
def test_steps_answer_as_the_whole_clip(pair: Pair, clip: Any, points: Any) -> None:
    _, net = pair
    grids = net.features(torch.from_numpy(clip))
    query_features = query_features_of(net, clip[2], points)
    whole = net.refine(*grids, *query_features, torch.full((len(points), 3), NO_FRAME))
    past = torch.zeros(net.past_shape[0], len(points), *net.past_shape[2:])
    for t in range(len(clip)):
        state, past = net.step(grids[0][t : t + 1], grids[1][t : t + 1], *query_features, past)
        for one, all_frames in zip(state, whole):
            torch.testing.assert_close(one, all_frames[:, t : t + 1], rtol=0, atol=STEP_PX)


@torch.no_grad()
def test_later_frames_change_nothing_before_them(pair: Pair, clip: Any, points: Any) -> None:
    """Of a causal net; of one that is not they do."""
    changed = clip.copy()
    changed[3:] = 255 - changed[3:]
    queries = torch.from_numpy(np.column_stack((np.zeros(len(points)), points)).astype(np.float32))
    for net, same in ((pair[1], True), (exporter.build_module(tiny_tracks.TINY).eval(), False)):
        one, other = (
            net(torch.from_numpy(each), queries)[-1].tracks[:, :3] for each in (clip, changed)
        )
        assert torch.allclose(one, other, atol=1e-4) == same


def test_points_added_later_join_those_that_are_followed(
    pair: Pair, clip: Any, points: Any
) -> None:
    engines, _ = pair
    both, late = tracks.start(engines), tracks.start(engines)
    for t, frame in enumerate(clip):
        raw, both = tracks.step(engines, frame, both, {0: points[:3], 2: points[3:]}.get(t))
        if t >= 2:
            alone, late = tracks.step(engines, frame, late, points[3:] if t == 2 else None)
            for one, other in zip(raw, alone):
                np.testing.assert_allclose(one[3:], other, atol=STEP_PX)
    assert len(both) == 7 and len(late) == 4


def test_the_tracker_is_a_value(pair: Pair, clip: Any, points: Any) -> None:
    engines, _ = pair
    _, tracker = tracks.step(engines, clip[0], tracks.start(engines), points)
    kept = tracker.past.copy()
    first, _ = tracks.step(engines, clip[1], tracker)
    again, after = tracks.step(engines, clip[1], tracker)
    np.testing.assert_array_equal(first.tracks, again.tracks)
    np.testing.assert_array_equal(tracker.past, kept)
    assert np.abs(after.past - kept).max() > 0
    some = np.array([5, 1])
    fewer, rest = tracks.step(engines, clip[1], tracker.take(some))
    np.testing.assert_allclose(fewer.tracks, first.tracks[some], atol=STEP_PX)
    assert len(rest) == 2


def test_more_points_than_are_followed_at_once(pair: Pair, clip: Any) -> None:
    engines, _ = pair
    many = np.random.default_rng(0).uniform(0, 255, (ONLINE_POINTS + 3, 2)).astype(np.float32)
    raw, tracker = tracks.step(engines, clip[0], tracks.start(engines), many)
    last, _ = tracks.step(engines, clip[0], tracks.start(engines), many[-2:])
    np.testing.assert_allclose(raw.tracks[-2:], last.tracks, atol=STEP_PX)
    assert tracker.past.shape[1] == len(many)


def test_no_points_are_fine(pair: Pair, clip: Any) -> None:
    raw, tracker = tracks.step(pair[0], clip[0], tracks.start(pair[0]))
    assert raw.tracks.shape == (0, 1, 2) and len(tracker) == 0


def test_what_cannot_be_followed_is_refused(pair: Pair, clip: Any) -> None:
    tracker = tracks.start(pair[0])
    with pytest.raises(UsageError, match="resize_for_tracking"):
        tracks.step(pair[0], clip, tracker)
    with pytest.raises(UsageError, match=r"expected \[M, 2\]"):
        tracks.step(pair[0], clip[0], tracker, np.zeros((2, 3)))
    with pytest.raises(EngineError, match="--preset live"):
        tracks.start(FakeEngines())


def test_the_graph_answers_as_pytorch_and_suits_tensorrt(pair: Pair, tmp_path: Path) -> None:
    """At numbers of points that it was not traced at."""
    _, net = pair
    (graph,) = (g for g in exporter.graphs(CAUSAL, net) if g.name == "tracks_online")
    *rest, past = graph.examples[0]
    inputs = [
        (
            *rest[:2],
            *(np.resize(look, (count, look.shape[1])) for look in rest[2:]),
            np.resize(past, (*shape,)),
        )
        for count in (1, 33)
        for shape in [(past.shape[0], count, *past.shape[2:])]
    ]
    model = graphs.check(graph, tmp_path, inputs)
    assert graphs.most_axes(model) <= 4
    graphs.check_for_tensorrt(model, "tracks_online", Spelling.CPU)


def test_the_live_preset_tracks_with_the_causal_weights() -> None:
    live, fast = PRESETS["live"], PRESETS["fast"]
    assert live.tracks == CAUSAL_BOOTSTAPIR and live.tracks.causal and not fast.tracks.causal
    assert replace(live, name="fast", tracks=fast.tracks) == fast


def test_the_checkpoint_of_the_other_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tensors have the same names and shapes, so only the hash tells them apart."""
    file = official.checkpoint(tmp_path, "tracks", CAUSAL)
    causal = replace(CAUSAL, weights=replace(CAUSAL.weights, sha256=sha256_of(file)))
    other = replace(
        tiny_tracks.TINY, weights=replace(CAUSAL.weights, file="other.pt", sha256="0" * 64)
    )
    for name, net in (("tiny-live", causal), ("tiny", other)):
        monkeypatch.setitem(PRESETS, name, replace(PRESETS["nano"], name=name, tracks=net))
    with pytest.raises(EngineError, match="the tracker of preset 'tiny-live'; expected other"):
        export(Request(("tracks",), "tiny", tmp_path, checkpoints={"tracks": file}), Report(-1))


@pytest.mark.slow
def test_parity_at_the_official_sizes(parity_folder: Path, tmp_path: Path) -> None:
    """The live preset's engines, from a file in the published format, against the published
    layers frame by frame.
    """
    folder = parity.engines(parity_folder, tmp_path / "engines", "tracks", preset="live")
    net = exporter.build_module(CAUSAL_BOOTSTAPIR).eval()
    net.load_state_dict(parity.state(parity_folder, "tracks"))
    clip = np.load(parity_folder / "clip.npz")["frames"][:4]
    points = np.load(parity_folder / "tracks.npz")["query_tyx"][:16, :0:-1]
    with samotion.open_engines(folder, "cpu", threads=1) as engines:
        assert follow_and_compare(engines, net, clip, points) > 1
