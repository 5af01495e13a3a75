"""Tracks smoothed with dense optical flow: the tracker says where a point is, flow how it gets to
the next frame; docs/method.md, section 7.1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.backends.threads import mapped
from samotion.tracks import tracking
from samotion.tracks.features import FrameCache
from samotion.tracks.records import RawTracks, visibility_of

# flow is read where the last round put the track; later rounds change delta-avg by less than 0.002
ROUNDS = 3
# standard error of the tracker's positions; 1 to 8 are within 0.01 delta-avg of each other
POSITION_SIGMA_PX = 2.0
# standard error of a step of flow, beside its forward-backward error; 0.2 costs 0.01
STEP_SIGMA_PX = 0.05
# scale of Cauchy's weights: positions farther than this from the chain lose theirs
OUTLIER_PX = 2.0
QUERY_WEIGHT = 1e4  # the query is where it is
# certainty of what the tracker takes for hidden: keeps the chain defined
LEAST_POSITION, LEAST_STEP = 1e-3, 0.02


class FlowCache(FrameCache):
    """A frame cache that computes the optical flow between its frames once as well."""

    @cached_property
    def flows(self) -> list[np.ndarray]:
        """Optical flow of the frames, both ways."""
        return optical_flow(self.frames)


def track(
    engines: Engines, frames: np.ndarray | FlowCache, queries: np.ndarray, **options: Any
) -> RawTracks:
    """As `samotion.tracks.track`, its positions smoothed with optical flow; the logits are the
    tracker's.
    """
    cache = frames if isinstance(frames, FlowCache) else FlowCache(frames)
    raw = tracking.track(engines, cache, queries, **options)
    visibility, confidence = visibility_of(raw.occlusion, raw.expected_dist)
    return raw._replace(tracks=smooth(raw.tracks, visibility * confidence, queries, cache.flows))


def smooth(
    tracks: np.ndarray, certainty: np.ndarray, queries: np.ndarray, flows: list[np.ndarray]
) -> np.ndarray:
    """Tracks (N,T,2) px of the tracker, smoothed with the optical flow between neighbouring frames
    (see `optical_flow`).

    `certainty` (N,T) in [0,1] is how sure the tracker is of a position; that of `queries` (N,3) t,
    y, x is known. A track's answer depends on no other track. Iteratively reweighted least squares:
    positions far from the chain and steps with a forward-backward error count less.
    """
    if not len(flows) or not len(tracks):
        return tracks
    asked = np.arange(len(tracks)), np.rint(queries[:, 0]).astype(np.int64)
    # the tracker counts px from the picture's corner
    measured = geometry.from_corner(tracks.astype(np.float64))
    measured[asked] = geometry.from_corner(queries[:, :0:-1])
    information = (certainty + LEAST_POSITION) / POSITION_SIGMA_PX**2
    both_ends = np.minimum(certainty[:, :-1], certainty[:, 1:]) + LEAST_STEP
    chain = measured
    for _ in range(ROUNDS):
        steps, backward_error_px = _flow_under(flows, chain)
        residual_px = np.linalg.norm(chain - measured, axis=2)
        weight = information / (1 + (residual_px / OUTLIER_PX) ** 2)
        weight[asked] = QUERY_WEIGHT
        stiffness = both_ends / (STEP_SIGMA_PX**2 + backward_error_px**2)
        chain = _solve_chain(measured, weight, steps, stiffness)
    return geometry.to_corner(chain).astype(np.float32)


def optical_flow(frames: np.ndarray) -> list[np.ndarray]:
    """Flow of each of `frames` (T,H,W,3) uint8 to the next and back, T-1 of (2,H,W,2) px in half
    precision.

    0.5 MB per frame of 256 px.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]

    def both_ways(t: int) -> np.ndarray:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        here, there = grey[t : t + 2]
        start = np.zeros((*here.shape, 2), np.float32)
        both = dis.calc(here, there, start.copy()), dis.calc(there, here, start)
        return np.array(both, np.float16)

    return list(mapped(both_ways, range(len(grey) - 1)))


def _flow_under(flows: list[np.ndarray], xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The forward flow under each point (N,T-1,2), and its forward-backward error (N,T-1), px."""
    steps = np.empty((len(xy), len(flows), 2))
    error_px = np.empty((len(xy), len(flows)))
    for t, (forward, backward) in enumerate(flows):
        steps[:, t] = _bilinear(forward, xy[:, t])
        returned = _bilinear(backward, xy[:, t] + steps[:, t])
        error_px[:, t] = np.linalg.norm(steps[:, t] + returned, axis=1)
    return steps, error_px


def _bilinear(flow: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The flow (N,2) at points (N,2) px; beyond the border as at it."""
    x, y = np.ascontiguousarray(xy.T[:, :, None], np.float32)
    values = cv2.remap(
        flow.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return values[:, 0]


def _solve_chain(
    measured: np.ndarray, weight: np.ndarray, steps: np.ndarray, stiffness: np.ndarray
) -> np.ndarray:
    """The chains (N,T,2) that minimise weight * |x_t - measured_t|^2 + stiffness * |x_t+1 - x_t -
    step_t|^2.

    A tridiagonal system per track, solved for all tracks at once by forward elimination and back
    substitution.
    """
    diagonal = weight.copy()
    diagonal[:, :-1] += stiffness
    diagonal[:, 1:] += stiffness
    pull = stiffness[..., None] * steps
    right = weight[..., None] * measured
    right[:, :-1] -= pull
    right[:, 1:] += pull
    for t in range(1, measured.shape[1]):
        factor = stiffness[:, t - 1] / diagonal[:, t - 1]
        diagonal[:, t] -= factor * stiffness[:, t - 1]
        right[:, t] += factor[:, None] * right[:, t - 1]
    chain: np.ndarray = right / diagonal[..., None]
    for t in range(measured.shape[1] - 2, -1, -1):
        chain[:, t] += (stiffness[:, t] / diagonal[:, t])[:, None] * chain[:, t + 1]
    return chain
