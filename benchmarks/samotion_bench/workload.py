"""What is benchmarked: a rendered clip as a file, and fixed loads for stages whose work the clip
would decide.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from samotion import dino, geometry, motion, sam2, tracks
from samotion.backends.engines import Engines
from samotion.pipeline import segment_clip
from samotion.results import overlay
from samotion.settings import Settings

from samotion_bench.scenes.data import open_library
from samotion_bench.scenes.render import render
from samotion_bench.scenes.scenes import SceneSettings, build_scene

SCENE_SEED = 20_000_004
FPS = 24.0


@dataclass(frozen=True)
class Workload:
    """A clip in memory (T,H,W,3) and as a file, the settings of its runs, and a folder that
    results may go to.
    """

    frames: np.ndarray
    path: Path
    settings: Settings
    out: Path

    @property
    def hw(self) -> tuple[int, int]:
        """Size of the frames, px."""
        return self.frames.shape[1], self.frames.shape[2]


@contextmanager
def prepared(frame_count: int, hw: tuple[int, int], settings: Settings) -> Iterator[Workload]:
    """Render a clip with moving objects and a moving camera, and write it as H.264."""
    scene = build_scene(
        SCENE_SEED,
        open_library(None, held_out=True),
        SceneSettings(frames=frame_count, no_mover_share=0, still_camera_share=0, blur_share=0),
    )
    frames = render(scene, hw).frames
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mp4"
        overlay.write_overlay(path, frames, np.arange(frame_count) / FPS)
        yield Workload(frames, path, settings, Path(folder) / "out")


@dataclass(frozen=True)
class Run:
    """One run from file to files: wall time and stages in ms, and when masks came."""

    wall_ms: float
    stages: dict[str, float]
    first_mask_ms: float | None
    steady_frame_ms: float | None
    objects: int
    tracks: int


def run_whole(engines: Engines, load: Workload) -> Run:
    """A clip from the file to written masks, as samotion-run does but for overlay and report."""
    start = time.perf_counter()
    marks: list[float] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "masks" and done:
            marks.append((time.perf_counter() - start) * 1000)

    result = segment_clip(load.path, engines, load.settings, progress)
    saved = time.perf_counter()
    result.save(load.out, save=["masks", "coco", "tracks"], overwrite=True)
    end = time.perf_counter()
    stages = {**result.timings, "output": (end - saved) * 1000}
    gaps = np.diff(marks)
    return Run(
        (end - start) * 1000,
        stages,
        marks[0] if marks else None,
        float(np.median(gaps)) if len(gaps) else None,
        len(result.objects),
        len(result.tracks),
    )


def follow(engines: Engines, load: Workload, count: int) -> Callable[[], Any]:
    """A call that tracks `count` points through the clip."""
    step = load.settings.step or engines.preset.query_step_frames
    queries = tracks.sample_queries(len(load.frames), load.hw, step, count, load.settings.seed)
    grid = geometry.queries_to_grid(queries, load.hw)
    small = tracks.resize_for_tracking(load.frames)
    return lambda: tracks.track(engines, small, grid)


def propagate(engines: Engines, frames: np.ndarray, objects: int) -> Callable[[], Any]:
    """A call that follows `objects` clicked objects through the clip; what the clicks hit does
    not change the cost.
    """
    height, width = frames.shape[1:3]
    clicks = [
        sam2.Click(
            k + 1,
            0,
            np.array([[(k + 0.5) * width / objects, height / 2]], np.float32),
            np.ones(1, np.int32),
        )
        for k in range(objects)
    ]
    return lambda: sam2.propagate(engines, frames, clicks)


def judge(engines: Engines, frame_count: int, track_count: int) -> Callable[[], Any]:
    """A call that scores `track_count` tracks of any kind; every number costs the same."""
    rng = np.random.default_rng(0)
    shape = track_count, frame_count
    inputs = {
        "xy_px": rng.uniform(0, 100, (*shape, 2)).astype(np.float32),
        "hw": (100, 100),
        "visible": np.ones(shape, bool),
        "visibility": np.ones(shape, np.float32),
        "confidence": np.ones(shape, np.float32),
        "disparity": rng.random(shape).astype(np.float32),
        "dino": rng.standard_normal((track_count, engines.preset.motion.dino_channels)).astype(
            np.float32
        ),
    }
    return lambda: motion.score(engines, **inputs)  # type: ignore[arg-type]


def rehearse(engines: Engines, load: Workload, objects: int) -> None:
    """Call every engine at the sizes of a run, whatever the clip shows: `max_tracks` tracks and
    `objects` objects.
    """
    count = load.settings.max_tracks or engines.preset.max_tracks
    dino.describe(engines, load.frames[:1])
    judge(engines, len(load.frames), count)()
    propagate(engines, load.frames[: max(2, min(len(load.frames), 10))], objects)()


def spread(most: int, parts: Sequence[float] = (0.25, 0.5, 1.0), least: int = 1) -> list[int]:
    """Sizes for a curve up to `most`, all different."""
    return sorted({max(least, round(most * part)) for part in parts})
