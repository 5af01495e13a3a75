"""Refinement on larger frames: the published second round, in PyTorch, as graphs, and through
the runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import graphs, tiny_tracks
from helpers.fakes import FakeEngines
from samotion import tracks
from samotion.backends.engines import Engines
from samotion.errors import EngineError, UsageError
from samotion.presets import NANO
from samotion.settings import Settings, resolve
from samotion_export import tracks as exporter
from samotion_export.examples import frames
from samotion_export.spelling import Spelling
from samotion_export.tracks import maps as tapir_maps
from samotion_export.tracks import tapir

LARGE_PX = 512
LARGE = replace(tiny_tracks.TINY, refine_px=LARGE_PX)
TRACK_PX, LOGIT = 0.005, 0.002

Pair = tuple[Engines, tapir.Tapir]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with tiny_tracks.opened(LARGE, tmp_path_factory.mktemp("large")) as both:
        yield both


@pytest.fixture(scope="module")
def clip() -> tuple[np.ndarray, np.ndarray]:
    """The same frames at 256 and at 512 px."""
    large = frames(3, LARGE_PX, LARGE_PX)
    return tracks.resize_for_tracking(large), large


@pytest.fixture
def queries(rng: np.random.Generator) -> np.ndarray:
    found = rng.uniform(0, 255, (7, 3)).astype(np.float32)
    found[:, 0] = np.arange(7) % 3
    return found


def published(
    net: tapir.Tapir, clip: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> list[np.ndarray]:
    """As published, in px of the larger frames: two rounds from one initial guess, and the mean
    of their answers.
    """
    tyx = torch.from_numpy(queries)
    small_grids, grids = (net.features(torch.from_numpy(each)) for each in clip)
    states = list(net.states(*small_grids, *net.query(*small_grids, tyx), tyx))
    tracks_px = states[-1].tracks.transpose(0, 1) * (LARGE_PX / 256)
    logits = torch.stack((states[0].occlusion, states[0].expected_dist), -1).transpose(0, 1)
    lowres, hires = grids
    query_features = net.query(lowres, hires, tyx)
    features = torch.cat(query_features[::-1], 1).expand(len(clip[0]), -1, -1)
    for _ in range(net.iterations):
        by_hires, by_lowres = features.split([net.hires_width, net.lowres_width], 2)
        xy = tracks_px * (256 / LARGE_PX)
        pairs = (
            (hires, by_hires),
            (lowres, by_lowres),
            (tapir_maps.pool(lowres), by_lowres),
        )
        around = [tapir_maps.correlations([grid], [query], xy) for grid, query in pairs]
        inputs = torch.cat((torch.zeros_like(xy), logits, features, *around), 2)
        change = net.torch_pips_mixer(inputs.transpose(0, 1)).transpose(0, 1)
        tracks_px, logits, features = (
            tracks_px + change[..., :2],
            logits + change[..., 2:4],
            features + change[..., 4:],
        )
    second = (tracks_px * (256 / LARGE_PX), logits[..., 0], logits[..., 1])
    return [((one + two.transpose(0, 1)) / 2).numpy() for one, two in zip(states[-1], second)]


@torch.no_grad()
@pytest.mark.parametrize("point_frames", [6000, 7])
def test_the_answer_is_the_published_mean_of_two_rounds(
    pair: Pair, clip: tuple[np.ndarray, np.ndarray], queries: np.ndarray, point_frames: int
) -> None:
    engines, net = pair
    expected = published(net, clip, queries)
    got = tracks.track(engines, clip[0], queries, large=clip[1], point_frames=point_frames)
    for one, other, allowed in zip(got, expected, (TRACK_PX, LOGIT, LOGIT)):
        np.testing.assert_allclose(one, other, rtol=0, atol=allowed)
    without = tracks.track(engines, clip[0], queries)
    assert np.abs(without.tracks - got.tracks).max() > 10 * TRACK_PX


@torch.no_grad()
def test_without_large_frames_nothing_changes(
    pair: Pair, clip: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> None:
    """The net that can refine on larger frames answers on small ones as the one that cannot."""
    engines, net = pair
    plain = exporter.build_module(tiny_tracks.TINY).eval()
    plain.load_state_dict(net.state_dict())
    tyx = torch.from_numpy(queries)
    one, other = (module(torch.from_numpy(clip[0]), tyx)[-1] for module in (net, plain))
    assert all(torch.equal(a, b) for a, b in zip(one, other))
    got = tracks.track(engines, clip[0], queries)
    np.testing.assert_allclose(got.tracks, other.tracks, rtol=0, atol=TRACK_PX)


def test_windows_take_their_part_of_the_large_frames(
    pair: Pair, clip: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> None:
    engines, _ = pair
    still = [np.repeat(each[:1], 5, 0) for each in clip]
    queries[:, 0] = 0
    whole = tracks.track(engines, still[0], queries, large=still[1])
    parts = tracks.track(
        engines, still[0], queries, large=still[1], window_frames=4, overlap_frames=3
    )
    assert np.isfinite(parts.tracks).all() and parts.tracks.shape == whole.tracks.shape
    same = slice(0, 4)
    alone = tracks.track(engines, still[0][same], queries, large=still[1][same])
    np.testing.assert_allclose(parts.tracks[:, same], alone.tracks, rtol=0, atol=TRACK_PX)


def test_graphs_answer_as_pytorch_and_suit_tensorrt(pair: Pair, tmp_path: Path) -> None:
    made = {g.name: g for g in exporter.graphs(LARGE, pair[1])}
    large = {name for name in made if name.endswith("_large")}
    assert len(large) == 3 and len(made) == 6
    for name in large:
        model = graphs.check(made[name], tmp_path)
        assert graphs.most_axes(model) <= 4
        graphs.check_for_tensorrt(model, name, Spelling.CPU)


def test_what_cannot_be_refined_is_refused(
    pair: Pair, clip: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> None:
    with pytest.raises(UsageError, match=r"resize_for_tracking\(frames, 512\)"):
        tracks.track(pair[0], clip[0], queries, large=clip[1][:2])
    with pytest.raises(EngineError, match="--refine-px 512"):
        tracks.track(FakeEngines(), clip[0], queries, large=clip[1])
    with pytest.raises(UsageError, match="--refine-px 512"):
        resolve(Settings(refine_px=LARGE_PX), NANO)
    with pytest.raises(UsageError, match="refine_px is 300"):
        Settings(refine_px=300)


@pytest.mark.parametrize(
    ("asked", "shape"), [(None, (2, 512, 512, 3)), (512, (2, 512, 512, 3)), (256, None)]
)
def test_a_run_brings_the_frames_it_was_asked_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, asked: int | None, shape: tuple[int, ...] | None
) -> None:
    engines, _ = pair
    seen: list[Any] = []
    track = tracks.track

    def spy(*args: Any, large: np.ndarray | None = None, **options: Any) -> Any:
        seen.append(None if large is None else large.shape)
        return track(*args, large=large, **options)

    numbers = resolve(Settings(max_tracks=4, refine_px=asked), engines.preset)
    clip = frames(2, 60, 90)
    tracks.sample_and_track(
        engines, clip, step_frames=10, max_tracks=4, seed=0, refine_px=numbers.refine_px, track=spy
    )
    assert seen == [shape]
