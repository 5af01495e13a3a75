"""TAPIR in PyTorch: features, query features, initial guess and refinement of point tracks at 256
px.

Parameter names are those of the official BootsTAPIR checkpoint (docs/method.md, section 4.1).
Shapes: T frames, N tracks. The same code is trained, exported and compared with: what differs from
the published layers is exact arithmetic. A causal net (`TracksNet.causal`) looks back in time only;
it answers for a whole clip, or frame by frame (`step`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from samotion.contract import TRACKER_PX
from samotion.presets import TracksNet
from torch import Tensor, nn

from samotion_export.tracks.layers import ExtraConvs, ResNet
from samotion_export.tracks.maps import (
    WINDOW,
    CostVolumeHead,
    SoftArgmax,
    correlations,
    pool,
    sample_queries,
    similarities,
    unit_length,
)
from samotion_export.tracks.mixer import KEPT, Mixer

Grids = tuple[Tensor, Tensor, Tensor]
Mix = Callable[[Tensor], Tensor]  # (T,N,inputs) -> (T,N,outputs)


class State(NamedTuple):
    """Where every track is believed to be: tracks (N,T,2) x, y px of 256; occlusion and
    expected_dist (N,T) logits.
    """

    tracks: Tensor
    occlusion: Tensor
    expected_dist: Tensor


class Tapir(nn.Module):
    """The tracker. `features` once per frame, `query` once per point, then `refine`, or `step`
    with each frame.
    """

    def __init__(self, net: TracksNet) -> None:
        super().__init__()
        self.hires_width, self.lowres_width = net.channels[1], net.channels[3]
        self.iterations = net.iterations
        self.refine_px = net.refine_px
        # no track's
        self.past_shape = (net.iterations * net.mixer_blocks, 0, KEPT, net.mixer_width)
        state = 4 + self.hires_width + self.lowres_width
        self.resnet_torch = ResNet(net)
        self.extra_convs = ExtraConvs(self.lowres_width, net.extra_convs)
        self.torch_cost_volume_track_mods = CostVolumeHead() if net.guess_convs else SoftArgmax()
        self.torch_pips_mixer = Mixer(
            state + 3 * WINDOW**2, state, net.mixer_width, net.mixer_blocks, net.causal
        )
        self._prepare_training()

    def _prepare_training(self) -> None:
        """Start where the initial guess follows the plain similarities and refinement changes
        little.
        """
        head = self.torch_cost_volume_track_mods
        with torch.no_grad():
            if isinstance(head, CostVolumeHead):
                head.hid1.weight.mul_(0.1)[:, :, 1, 1] += 1.0
                head.hid2.weight.mul_(0.1)[:, :, 1, 1] += 1.0 / head.hid2.in_channels
            self.torch_pips_mixer.linear_1.weight.mul_(0.1)

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """`frames` (T,256,256,3) RGB, uint8 or float in [0, 255] -> lowres (T,32,32,C), hires
        (T,64,64,C').

        Larger frames have proportionally larger grids.
        """
        dtype = self.resnet_torch.initial_conv.weight.dtype
        images = frames.to(dtype).permute(0, 3, 1, 2) * (2 / 255) - 1
        hires, lowres = self.resnet_torch(images)
        lowres = self.extra_convs(lowres)
        return unit_length(lowres.permute(0, 2, 3, 1)), unit_length(hires.permute(0, 2, 3, 1))

    def query(self, lowres: Tensor, hires: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N,C), (N,C') of `queries` (N,3) t, y, x px of 256."""
        return sample_queries(lowres, queries), sample_queries(hires, queries)

    def states(
        self,
        lowres: Tensor,
        hires: Tensor,
        query_lowres: Tensor,
        query_hires: Tensor,
        queries: Tensor,
    ) -> Iterator[State]:
        """The initial guess, then the state after each refinement; all differentiable."""
        tracks, logits = self._guess(lowres, query_lowres)
        tracks = _at_queries(tracks, queries)
        yield _state(tracks, logits)
        grids, features = _grids(lowres, hires), _features(query_lowres, query_hires)
        yield from self._refinements(grids, features, tracks, logits)

    def refine(
        self,
        lowres: Tensor,
        hires: Tensor,
        query_lowres: Tensor,
        query_hires: Tensor,
        queries: Tensor,
    ) -> State:
        """The state after the last refinement."""
        *_, last = self.states(lowres, hires, query_lowres, query_hires, queries)
        return last

    def refine_large(
        self,
        lowres: Tensor,
        query_lowres: Tensor,
        large_lowres: Tensor,
        large_hires: Tensor,
        query_large_lowres: Tensor,
        query_large_hires: Tensor,
        start: Tensor,
    ) -> State:
        """The state after another round of refinements of tracks `start` (N,T,2), on the grids of
        larger frames.

        As published, only positions go on: logits start from the initial guess again, features from
        the query.
        """
        _, logits = self._guess(lowres, query_lowres)
        grids, features = (
            _grids(large_lowres, large_hires),
            _features(query_large_lowres, query_large_hires),
        )
        *_, last = self._refinements(
            grids, features, start.transpose(0, 1), logits, TRACKER_PX / self.refine_px
        )
        return last

    def step(
        self, lowres: Tensor, hires: Tensor, query_lowres: Tensor, query_hires: Tensor, past: Tensor
    ) -> tuple[State, Tensor]:
        """The state in one more frame (T = 1), and what the next frame needs to know of this one
        and those before.

        `past`: (iterations x blocks,N,4,W), zeros for tracks that begin. No track is held to its
        query here.
        """
        rounds = torch.split(past, len(self.torch_pips_mixer.blocks))
        present: list[Tensor] = []

        def mix(inputs: Tensor) -> Tensor:
            change, kept = self.torch_pips_mixer.step(inputs[0], rounds[len(present)])
            present.append(kept)
            return change.unsqueeze(0)

        tracks, logits = self._guess(lowres, query_lowres)
        grids, features = _grids(lowres, hires), _features(query_lowres, query_hires)
        *_, last = self._refinements(grids, features, tracks, logits, mix=mix)
        return last, torch.cat(present)

    def forward(self, frames: Tensor, queries: Tensor) -> list[State]:
        """All states for `frames` (T,256,256,3) and `queries` (N,3): initial guess first, answer
        last.
        """
        lowres, hires = self.features(frames)
        return list(self.states(lowres, hires, *self.query(lowres, hires, queries), queries))

    def _guess(self, lowres: Tensor, query_lowres: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (T,N,2) and logits (T,N,2) from the similarities alone."""
        frames, cells = lowres.shape[0], lowres.shape[1]
        maps = similarities(lowres, query_lowres.unsqueeze(0)).reshape(-1, cells, cells)
        tracks, logits = self.torch_cost_volume_track_mods(maps)
        return tracks.reshape(frames, -1, 2), logits.reshape(frames, -1, 2)

    def _refinements(
        self,
        grids: Grids,
        features: Tensor,
        tracks: Tensor,
        logits: Tensor,
        px: float = 1,
        mix: Mix | None = None,
    ) -> Iterator[State]:
        """The state after each iteration. `px`: of 256, in one px of the frames that the grids
        are of.
        """
        for _ in range(self.iterations):
            inputs = self._inputs(grids, features, tracks, logits)
            change = (mix or self._mix)(inputs)
            moved = change[..., :2] if px == 1 else change[..., :2] * px
            tracks, logits, features = (
                tracks + moved,
                logits + change[..., 2:4],
                features + change[..., 4:],
            )
            yield _state(tracks, logits)

    def _inputs(self, grids: Grids, features: Tensor, tracks: Tensor, logits: Tensor) -> Tensor:
        """What the mixer reads. `features` (T or 1,N,C'+C); positions are constants for the
        sampling, as in RAFT.
        """
        hires, lowres = torch.split(features, [self.hires_width, self.lowres_width], 2)
        around = correlations(grids, (hires, lowres, lowres), tracks.detach())
        features = features.expand(tracks.shape[0], -1, -1)
        return torch.cat((torch.zeros_like(tracks), logits, features, around), 2)

    def _mix(self, inputs: Tensor) -> Tensor:
        change: Tensor = self.torch_pips_mixer(inputs.transpose(0, 1)).transpose(0, 1)
        return change


def _grids(lowres: Tensor, hires: Tensor) -> Grids:
    """What correlations are taken with."""
    return hires, lowres, pool(lowres)


def _features(query_lowres: Tensor, query_hires: Tensor) -> Tensor:
    """(1,N,C'+C): what a track looks like before anything is known of its frames."""
    return torch.cat((query_hires, query_lowres), 1).unsqueeze(0)


def _at_queries(tracks: Tensor, queries: Tensor) -> Tensor:
    """`tracks` (T,N,2), each at its query in its query's frame."""
    frame = torch.arange(tracks.shape[0], device=queries.device).unsqueeze(1)
    is_query = (frame == queries[:, 0].round().long()).unsqueeze(2)
    return torch.where(is_query, queries[:, 1:].flip(1), tracks)


def _state(tracks: Tensor, logits: Tensor) -> State:
    logits = logits.transpose(0, 1)
    return State(tracks.transpose(0, 1), logits[..., 0], logits[..., 1])
