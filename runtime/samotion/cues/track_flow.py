"""Tracks made steady by dense optical flow: the tracker says where a point is, flow how it gets to
the next frame.

A small tracker is right about the place within a few px but jitters from frame to frame, and what
moves by itself shows in the steps. Each track becomes the most likely chain of places, given both
and how far each can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from samotion.backends.engines import Engines
from samotion.tracks import tracking
from samotion.tracks.records import RawTracks, visibility_of

Array = np.ndarray[Any, Any]
# flow is read where the last round put the track; later rounds change delta-avg by less than 0.002
ROUNDS = 3
PLACE_PX = 2.0  # error of the tracker's places; 1 to 8 are within 0.01 delta-avg of each other
# error of a step of flow, beside what its forward-backward check shows; 0.2 costs 0.01
STEP_PX = 0.05
OUTLIER_PX = 2.0  # places farther than this from the chain lose their weight
PIN = 1e4  # weight of the query, which is where it is
# of what the tracker takes for hidden: keeps the chain defined
LEAST_TRUST, LEAST_STEP = 1e-3, 0.02
CENTRE_PX = 0.5  # the tracker counts px from the image's corner, flow from the first pixel's centre


@dataclass
class FlowCache(tracking.FrameCache):
    """A frame cache that computes the optical flow between its frames once as well."""

    @cached_property
    def flows(self) -> Array:
        """Optical flow of the frames, both ways."""
        return flows_of(self.frames)


def track(engines: Engines, frames: Array | FlowCache, queries: Array, **options: Any) -> RawTracks:
    """As `samotion.tracks.track`, its places fused with optical flow; the logits are the tracker's.

    The flows take 0.5 MB a frame.
    """
    cache = frames if isinstance(frames, FlowCache) else FlowCache(frames)
    raw = tracking.track(engines, cache, queries, **options)
    visibility, confidence = visibility_of(raw.occlusion, raw.expected_dist)
    frame = np.rint(queries[:, 0]).astype(np.int64)
    smooth = steady(raw.tracks, visibility * confidence, frame, queries[:, :0:-1], cache.flows)
    return raw._replace(tracks=smooth)


def steady(tracks: Array, trust: Array, query_frame: Array, query_xy: Array, flows: Array) -> Array:
    """Tracks (N,T,2) px, fused with the optical flow between neighbouring frames (see `flows_of`).

    `trust` (N,T) in [0,1] is how sure the tracker is of a place; in `query_frame` (N,) the place is
    `query_xy` (N,2). A track's answer depends on no other track. Steps whose flow back does not
    lead home count less.
    """
    if not len(flows) or not len(tracks):
        return tracks
    own = np.arange(len(tracks))
    places = tracks.astype(np.float64) - CENTRE_PX
    places[own, query_frame] = query_xy - CENTRE_PX
    chain, weight = places, (trust + LEAST_TRUST) / PLACE_PX**2
    both = np.minimum(trust[:, :-1], trust[:, 1:]) + LEAST_STEP
    for _ in range(ROUNDS):
        steps, doubt_px = _read(flows, chain)
        off_px = np.linalg.norm(chain - places, axis=2)
        anchor = weight / (1 + (off_px / OUTLIER_PX) ** 2)
        anchor[own, query_frame] = PIN
        chain = _most_likely(places, anchor, steps, both / (STEP_PX**2 + doubt_px**2))
    return (chain + CENTRE_PX).astype(np.float32)


def flows_of(frames: Array) -> Array:
    """Flow of each of `frames` (T,H,W,3) uint8 to the next and back, (T-1,2,H,W,2) px in half
    precision.

    0.5 MB per frame of 256 px.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    found = np.empty((len(grey) - 1, 2, *grey[0].shape, 2), np.float16)
    for both, here, there in zip(found, grey, grey[1:]):
        both[0] = flow.calc(here, there, np.zeros_like(both[0], np.float32))
        both[1] = flow.calc(there, here, np.zeros_like(both[1], np.float32))
    return found


def _read(flows: Array, xy: Array) -> tuple[Array, Array]:
    """The flow under each point (N,T-1,2), and how far from home the flow back leads (N,T-1),
    px.
    """
    steps = np.empty((len(xy), len(flows), 2))
    doubt_px = np.empty((len(xy), len(flows)))
    for t, (forth, back) in enumerate(flows):
        steps[:, t] = _lookup(forth, xy[:, t])
        doubt_px[:, t] = np.linalg.norm(steps[:, t] + _lookup(back, xy[:, t] + steps[:, t]), axis=1)
    return steps, doubt_px


def _lookup(flow: Array, xy: Array) -> Array:
    """Bilinear, (N,2); beyond the border as at it."""
    x, y = np.ascontiguousarray(xy.T[:, :, None], np.float32)
    found = cv2.remap(
        flow.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return found[:, 0]


def _most_likely(places: Array, anchor: Array, steps: Array, stiffness: Array) -> Array:
    """The chains (N,T,2) that minimise anchor * |x_t - place_t|^2 + stiffness * |x_t+1 - x_t -
    step_t|^2.

    A tridiagonal system per track, solved for all tracks at once by forward elimination and back
    substitution.
    """
    diagonal = anchor.copy()
    diagonal[:, :-1] += stiffness
    diagonal[:, 1:] += stiffness
    pull = stiffness[..., None] * steps
    right = anchor[..., None] * places
    right[:, :-1] -= pull
    right[:, 1:] += pull
    for t in range(1, places.shape[1]):
        factor = stiffness[:, t - 1] / diagonal[:, t - 1]
        diagonal[:, t] -= factor * stiffness[:, t - 1]
        right[:, t] += factor[:, None] * right[:, t - 1]
    chain = right / diagonal[..., None]
    for t in range(places.shape[1] - 2, -1, -1):
        chain[:, t] += (stiffness[:, t] / diagonal[:, t])[:, None] * chain[:, t + 1]
    return chain
