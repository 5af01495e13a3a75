"""What the motion net is trained on: tracks of scenes, with errors drawn at random or made by
the nano nets.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from samotion import dino, motion
from samotion.backends.engines import Engines
from samotion.cues import track_flow
from samotion.tracks import Tracks, sample_and_track
from samotion_bench.track_metrics import starts_on

from samotion_training import samples
from samotion_training.samples import Sample

Rng = np.random.Generator
CUTS = ((0.5, 8, 12), (0.7, 14, 24), (1.0, 24, 48))  # share of the tracks; fewest and most frames
CUT_CHANCES = (0.6, 0.34, 0.06)
STEP_FRAMES = 10  # between frames whose points are followed
DINO_LENGTH = 8.0  # of a made-up feature: about that of trained keys


class TrackSet(NamedTuple):
    """The motion net's inputs for one clip, and the truth."""

    xy: np.ndarray  # (N, T, 2) float32 in [-1, 1], not yet clamped
    visible: np.ndarray  # (N, T) bool
    visibility: np.ndarray  # (N, T) float32
    confidence: np.ndarray  # (N, T) float32
    disparity: np.ndarray  # (N, T) float32 in [0, 1]
    dino: np.ndarray  # (N, C) float32
    moving: np.ndarray  # (N,) bool


def from_nets(
    engines: Engines, frames: np.ndarray, moving_masks: np.ndarray, max_tracks: int, seed: int
) -> TrackSet:
    """Tracks, depth and features of `frames` (T, H, W, 3) as samotion-run makes them; a track moves
    if its query does.

    `moving_masks` (T, H, W) bool.
    """
    hw = frames.shape[1:3]
    found, disparity, features = through_nets(engines, frames, max_tracks, seed)
    moving = starts_on(found, moving_masks)
    unit = 2 * found.xy / np.array([hw[1], hw[0]], np.float32) - 1
    return TrackSet(
        unit, found.visible, found.visibility, found.confidence, disparity, features, moving
    )


def inputs_of(tracks: TrackSet) -> dict[str, np.ndarray]:
    """What the motion engine is given of tracks, by the contract's names."""
    inputs = tracks._replace(xy=tracks.xy.clip(-1, 1), visible=tracks.visible.astype(np.uint8))
    return {name: array for name, array in inputs._asdict().items() if name != "moving"}


def through_nets(
    engines: Engines, frames: np.ndarray, max_tracks: int, seed: int
) -> tuple[Tracks, np.ndarray, np.ndarray]:
    """Tracks of frames (T, H, W, 3), the disparity under them (N, T) and their features (N, C)."""
    found = sample_and_track(
        engines,
        frames,
        step_frames=STEP_FRAMES,
        max_tracks=max_tracks,
        seed=seed,
        track=track_flow.track,
    )
    disparity = motion.disparity_under(engines, frames, found)
    return found, disparity, dino.under_tracks(engines, frames, found)


def from_truth(rng: Rng, sample: Sample, size_px: int, channels: int) -> TrackSet:
    """Exact tracks with the kinds of error that trackers and depth nets make, in random
    strength.
    """
    seen = sample.visible
    wander = 1.5 * np.cumsum(rng.normal(0, 0.15, sample.xy.shape), 1) * rng.random()
    error = rng.normal(0, np.exp(rng.uniform(np.log(0.02), np.log(0.6))), sample.xy.shape) + wander
    error += np.where(seen, 0, 1)[..., None] * rng.normal(0, 6, (len(seen), 1, 2))
    lost = (rng.random(len(seen)) < rng.uniform(0, 0.06))[:, None] * (rng.random(seen.shape) < 0.3)
    error += lost[..., None] * rng.normal(0, 30, sample.xy.shape)
    unit = 2 * (sample.xy + error * size_px / 256 + 0.5) / size_px - 1
    wrong = rng.random(seen.shape) < rng.uniform(0, 0.08)
    visibility = _sure(rng, seen ^ wrong)
    confidence = _sure(
        rng, (np.linalg.norm(error, axis=-1) < 6) ^ (rng.random(seen.shape) < 0.03)
    ) * (visibility > 0)
    depth = sample.point_disparity.astype(np.float32) ** np.exp(rng.normal(0, 0.4))
    depth += rng.normal(0, rng.uniform(0, 0.1), (len(seen), 1)) + rng.normal(0, 0.02, seen.shape)
    names = rng.normal(0, 1, (int(sample.instance.max()) + 1, channels))
    dino = names[sample.instance] + rng.normal(0, rng.uniform(0.3, 1.5), (len(seen), channels))
    dino *= DINO_LENGTH / np.linalg.norm(dino, axis=1, keepdims=True)
    moving = sample.instance_moving[sample.instance]
    floats = (unit, visibility, confidence, depth.clip(0, 1), dino)
    xy, seen_by, sure_of, depth_of, features = (a.astype(np.float32) for a in floats)
    return TrackSet(xy, seen_by * sure_of > 0.5, seen_by, sure_of, depth_of, features, moving)


def _sure(rng: Rng, yes: np.ndarray) -> np.ndarray:
    """Probabilities that mostly agree with `yes`."""
    return np.asarray(np.where(yes, 1, 0) + np.where(yes, -1, 1) * rng.beta(0.5, 6, yes.shape))


def augment(rng: Rng, tracks: TrackSet, count: int) -> TrackSet:
    """At most `count` tracks, mirrored, zoomed, reversed, at another speed, some lost: still a
    possible clip.

    Most cuts are short: a step on 64 tracks and 10 frames takes an eighth of one on 144 tracks and
    20 frames.
    """
    frames = tracks.visible.shape[1]
    share, low, high = CUTS[int(rng.choice(len(CUTS), p=CUT_CHANCES))]
    length = min(frames, int(rng.integers(low, high + 1)))
    stride = int(rng.integers(1, min(3, max(1, (frames - 1) // max(1, length - 1))) + 1))
    first = int(rng.integers(frames - stride * (length - 1)))
    index = (first + stride * np.arange(length))[:: rng.choice([1, -1])]
    zoom, shift = rng.uniform(0.85, 1.3, 2) * rng.choice([-1, 1], 2), rng.uniform(-0.15, 0.15, 2)
    zoom[1] = abs(zoom[1]) if rng.random() < 0.9 else zoom[1]
    able = np.flatnonzero(tracks.visible[:, index].any(1))
    some = _choose(rng, able, tracks.moving, int(count * share))
    xy = tracks.xy[some][:, index] * zoom.astype(np.float32) + shift.astype(np.float32)
    if rng.random() < 0.6:
        xy = turn_camera(rng, xy, tracks.moving[some])
    visible = tracks.visible[some][:, index] & (np.abs(xy) < 1).all(-1)
    rest = (tracks.visibility, tracks.confidence, tracks.disparity)
    visibility, confidence, disparity = (a[some][:, index] for a in rest)
    if len(some):  # attention needs one key
        visible[visibility.argmax(0), np.arange(length)] |= ~visible.any(0)
    return TrackSet(
        xy, visible, visibility, confidence, disparity, tracks.dino[some], tracks.moving[some]
    )


def turn_camera(rng: Rng, xy: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """xy (N, T, 2) as seen by a camera that also pans, rolls and zooms, or keeps its eye on one of
    the points.

    Turning and zooming shift the picture as a whole and add no parallax, so this is exact up to the
    lens: the net cannot go on taking what is fast for what moves, and meets objects that stand
    still in the picture.
    """
    count = xy.shape[1]
    time = np.linspace(-1, 1, count)[:, None]
    if rng.random() < 0.5 and len(xy):
        able = np.flatnonzero(moving) if moving.any() and rng.random() < 0.7 else np.arange(len(xy))
        eye = xy[rng.choice(able)].astype(np.float64).clip(-1.5, 1.5)
        pan = -rng.uniform(0.6, 1.0) * (eye - eye[count // 2])
    else:
        size = np.exp(rng.uniform(np.log(0.01), np.log(0.4)))
        pan = size * (
            rng.normal(0, 1, 2) * time
            + rng.normal(0, 0.3, 2) * np.sin(4 * time + rng.uniform(0, 6, 2))
        )
    angle = (rng.normal(0, 0.06) * time[:, 0]) * (rng.random() < 0.5)
    scale = np.exp(rng.normal(0, 0.1) * time[:, 0] * (rng.random() < 0.5))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turned = np.stack(
        [xy[..., 0] * cos - xy[..., 1] * sin, xy[..., 0] * sin + xy[..., 1] * cos], -1
    )
    return np.asarray(turned + pan, np.float32)


def _choose(rng: Rng, able: np.ndarray, moving: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the tracks `able`, now and then a quarter of that; movers, few in most
    clips, go first until they make up a random share.
    """
    count = count if rng.random() < 0.85 else count // 4
    able = rng.permutation(able)
    movers, others = able[moving[able]], able[~moving[able]]
    movers = movers[: int(count * rng.uniform(0.1, 0.5))]
    return np.concatenate([movers, others])[:count]


def save(path: Path, tracks: TrackSet) -> None:
    """Write tracks in half precision; the file appears whole."""
    halved = {k: v.astype(np.float16) for k, v in _floats(tracks).items() if k != "xy"}
    samples.save(path, tracks._replace(**halved))


def load(path: Path) -> TrackSet:
    """Tracks that `save` wrote, in float32. Raises InputError where the file is broken."""
    tracks = samples.read(path, TrackSet, "tracks of samotion_training.make_tracks")
    return tracks._replace(**{k: v.astype(np.float32) for k, v in _floats(tracks).items()})


def _floats(tracks: TrackSet) -> dict[str, np.ndarray]:
    return {name: array for name, array in tracks._asdict().items() if array.dtype.kind == "f"}
