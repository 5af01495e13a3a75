"""A held-out set of rendered clips, with truth for every stage, and what the engines make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from samotion import depth, geometry, tracks
from samotion.backends.engines import Engines
from samotion.commands.series import Series, left
from samotion.cues import track_flow
from samotion.pipeline import segment_clip
from samotion.settings import Settings

from samotion_bench.report import MEASURES, average, measures
from samotion_bench.scenes.data import Library, open_library
from samotion_bench.scenes.render import Clip, TruthTracks, render, shown_hw, surface_points, track
from samotion_bench.scenes.scenes import SceneSettings, build_scene
from samotion_bench.scores import score_movers, score_objects
from samotion_bench.tables import make_table
from samotion_bench.track_metrics import area_under_curve, starts_on, track_scores

PROTOCOL = "DAVIS measures against rendered masks, all frames, no void"
FIRST_SEED = 10_000_000  # far beyond any that training uses
SHORT_SIDE_PX = 256
POINTS = 256
# of all pixels of a clip: less than 11 x 11 px of 256 x 256 is no mover to miss
MIN_MOVER_SHARE = 0.002


@dataclass(frozen=True)
class Kind:
    """What is fixed about one sort of clip; everything else is drawn from its seed."""

    name: str
    movers: bool
    still_camera: bool


KINDS = (
    Kind("static camera", movers=True, still_camera=True),
    Kind("moving camera", movers=True, still_camera=False),
    Kind("moving camera", movers=True, still_camera=False),
    Kind("nothing moves", movers=False, still_camera=False),
)


@dataclass(frozen=True)
class Example:
    """One rendered clip, its kind and the truth of some tracks through it."""

    seed: int
    kind: Kind
    clip: Clip
    tyx: np.ndarray
    truth: TruthTracks


@dataclass(frozen=True)
class Measured:
    """What was measured on one clip. `scores` (N,) and `moving` (N,) of its tracks are pooled
    for one AUC.
    """

    seed: int
    kind: str
    figures: dict[str, float]
    movers: dict[str, float] | None
    objects: list[dict[str, float]]
    scores: np.ndarray
    moving: np.ndarray
    alarm: bool


def examples(
    count: int,
    frames: int,
    library: Library,
    short_side_px: int = SHORT_SIDE_PX,
    seed: int = FIRST_SEED,
) -> Iterator[Example]:
    """`count` clips from a seed on, the kinds in turn. Seeds whose movers hardly show are passed
    over.
    """
    for index in range(count):
        kind = KINDS[index % len(KINDS)]
        while (example := _example(seed, kind, frames, library, short_side_px)) is None:
            seed += 1
        yield example
        seed += 1


def _example(
    seed: int, kind: Kind, frames: int, library: Library, short_side_px: int
) -> Example | None:
    settings = SceneSettings(
        frames=frames,
        no_mover_share=float(not kind.movers),
        still_camera_share=float(kind.still_camera),
    )
    scene = build_scene(seed, library, settings)
    clip = render(scene, shown_hw(scene, short_side_px))
    if kind.movers and clip.masks.mean() < MIN_MOVER_SHARE:
        return None
    tyx = surface_points(np.random.default_rng(seed), clip, POINTS)
    return Example(seed, kind, clip, tyx, track(scene, clip, tyx))


def measure(engines: Engines, example: Example, seed: int = 0) -> Measured:
    """Run the pipeline on one clip and compare every stage with its truth."""
    clip = example.clip
    result = segment_clip(
        clip.frames, engines, Settings(seed=seed, max_frames=max(2, len(clip.frames)))
    )
    true_labels = clip.moving_labels
    void = np.zeros(true_labels.shape, bool)
    movers, objects = None, []
    if example.kind.movers:
        movers = measures(score_movers(true_labels, result.labels, void)[0])
        shown = [int(label) for label in np.unique(true_labels) if label]
        objects = [measures(o) for o in score_objects(true_labels, result.labels, void, shown)]
    figures = _measure_tracks(engines, example) | {"depth_error": _depth_error(engines, clip)}
    moving = starts_on(result.tracks, clip.masks)
    return Measured(
        example.seed,
        example.kind.name,
        figures,
        movers,
        objects,
        result.scores,
        moving,
        bool(result.labels.any()),
    )


def _measure_tracks(engines: Engines, example: Example) -> dict[str, float]:
    hw = example.clip.frames.shape[1:3]
    queries = geometry.queries_to_grid(example.tyx, hw)
    track = tracks.track if engines.preset.cues is None else track_flow.track
    raw = track(engines, tracks.resize_for_tracking(example.clip.frames), queries)
    visibility, confidence = tracks.visibility_of(raw.occlusion, raw.expected_dist)
    visible = visibility * confidence > 0.5
    true_xy = geometry.xy_to_grid(example.truth.xy, hw)
    counts = np.arange(visible.shape[1]) != example.tyx[:, :1].astype(int)
    return asdict(track_scores(raw.tracks, visible, true_xy, example.truth.visible, counts))


def _depth_error(engines: Engines, clip: Clip) -> float:
    """Mean absolute difference of disparity, both spread over [0,1] in each frame as the motion
    net sees it.
    """
    return float(
        np.abs(depth.estimate(engines, clip.frames) - depth.to_unit_range(clip.disparity)).mean()
    )


def summarise(measured: Sequence[Measured]) -> dict[str, Any]:
    """The figures over all clips, and J and F by kind of camera."""
    moved = [m for m in measured if m.movers is not None]
    still = [m for m in measured if m.movers is None]
    return {
        "clips": len(measured),
        "protocol": PROTOCOL,
        "movers": {
            kind: average([m.movers for m in moved if m.movers and m.kind == kind])
            for kind in dict.fromkeys(m.kind for m in moved)
        },
        "objects": average([figures for m in moved for figures in m.objects])
        | {"n": sum(len(m.objects) for m in moved)},
        **{
            name: float(np.mean([m.figures[name] for m in measured]))
            for name in measured[0].figures
        },
        "motion_auc": area_under_curve(
            np.concatenate([m.scores for m in measured]),
            np.concatenate([m.moving for m in measured]),
        ),
        "false_alarms": float(np.mean([m.alarm for m in still])) if still else None,
        "missed_clips": float(np.mean([not m.alarm for m in moved])) if moved else None,
        "per_clip": [
            {
                "seed": m.seed,
                "kind": m.kind,
                **m.figures,
                "movers": m.movers,
                "objects": m.objects,
                "any_mask": m.alarm,
            }
            for m in measured
        ],
    }


def run(
    engines: Engines,
    count: int,
    frames: int,
    photos: Path | None,
    first_seed: int,
    seed: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Render, run and measure `count` clips from `first_seed` on: procedural textures, or
    photographs held out from training.
    """
    library = open_library(photos, held_out=True)
    measured, series = [], Series(count)
    series.start()
    clips = examples(count, frames, library, seed=first_seed)
    for number, example in enumerate(clips, start=1):
        found = measure(engines, example, seed)
        measured.append(found)
        j = "no movers, " + ("a mask" if found.alarm else "no mask")
        if found.movers:
            j = f"J {found.movers['J_mean']:.2f}, objects " + " ".join(
                f"{o['J_mean']:.2f}" for o in found.objects
            )
        series.end()
        series.start()
        rest = left(series.left_s()) if number < count else ""
        report(f"[{number}/{count}] seed {example.seed}, {found.kind}: {j}{rest}")
    return {
        "synthetic": {
            "frames": frames,
            "first_seed": first_seed,
            "photos": str(photos) if photos else None,
        },
        **summarise(measured),
    }


def print_table(report: dict[str, Any], console: Console) -> None:
    """The figures of `summarise`."""
    title = f"samotion-eval on {report['clips']} held-out rendered clips: {PROTOCOL}"
    table = make_table(title, ["figure", *(name.replace("_", " ") for name in MEASURES)], console)
    for name, figures in (*report["movers"].items(), ("per object", report["objects"])):
        table.add_row(name, *("-" if figures[m] is None else f"{figures[m]:.3f}" for m in MEASURES))
    console.print(table)
    for name, value in report.items():
        if isinstance(value, float):
            console.print(f"{name.replace('_', ' ')}: {value:.3f}", highlight=False)
