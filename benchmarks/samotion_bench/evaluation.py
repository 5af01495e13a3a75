"""What samotion-eval does: the measures of every clip, and of rendered ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from samotion import __version__
from samotion.backends.engines import EngineFolder
from samotion.commands.streams import note
from samotion.errors import InputError
from samotion.settings import Settings

from samotion_bench import synthetic
from samotion_bench.datasets import Clip, Truth, read_found, read_truth
from samotion_bench.runs import engine_hashes, segment_all
from samotion_bench.scores import ObjectScores, score_movers, score_objects
from samotion_bench.worst import draw_worst, worst_clips


@dataclass(frozen=True)
class Scored:
    """One clip's ground truth, masks and measures, restricted to the frames that count.

    `unseen`: labels that count as objects, and that none of these frames shows.
    """

    clip: Clip
    truth: Truth
    found: np.ndarray
    objects: list[ObjectScores]
    unseen: list[int]


def score_clip(clip: Clip, results: Path, task: str, all_frames: bool) -> Scored:
    """Measure the masks of one clip below `results`. Raises InputError where no frame is left to
    count.
    """
    truth = read_truth(clip)
    labels = truth.objects  # before frames are left out: the first one says which objects there are
    last = len(clip.frames) - 1
    keep = [i for i, a in enumerate(clip.annotations) if all_frames or a.frame not in (0, last)]
    if not keep:
        raise InputError(
            f"{clip.name}: no frame counts without the first and the last; use --all-frames"
        )
    chosen = replace(clip, annotations=tuple(clip.annotations[i] for i in keep))
    truth = Truth(truth.labels[keep], truth.void[keep])
    found = read_found(chosen, results, truth.labels.shape[1:])
    if task == "mos":
        truth = truth.as_movers
        return Scored(
            chosen, truth, found, score_movers(truth.labels, found, truth.void), unseen=[]
        )
    objects = score_objects(truth.labels, found, truth.void, labels)
    return Scored(chosen, truth, found, objects, sorted(set(labels) - set(np.unique(truth.labels))))


def evaluate(
    clips: Sequence[Clip],
    results: Path,
    task: str,
    all_frames: bool,
    worst: tuple[Path, int] | None = None,
) -> dict[str, list[ObjectScores]]:
    """Measure all clips, one at a time; draw the `worst` (folder, count) of them. Says on stderr
    which objects are counted that none of these frames shows.
    """
    scored = {}
    for clip in clips:
        one = score_clip(clip, results, task, all_frames)
        scored[clip.name] = one.objects
        if one.unseen:
            note(
                f"{clip.name}: no frame that counts shows {', '.join(map(str, one.unseen))}, but"
                " labels up to the largest count, as in the official program; where nothing is"
                " found for them, J and F are 1"
            )
    if not any(scored.values()):
        raise InputError(
            "no sequence shows an object in its first annotated frame; there is nothing to"
            " measure in task fine,"
            " try --task mos"
        )
    if worst:
        means = {
            name: float(np.mean([o.j for o in objects]))
            for name, objects in scored.items()
            if objects
        }
        by_name = {clip.name: clip for clip in clips}
        for rank, name in enumerate(worst_clips(means, worst[1]), start=1):
            again = score_clip(by_name[name], results, task, all_frames)
            j = np.mean([o.j for o in again.objects], axis=0)
            draw_worst(again.clip, again.truth, again.found, j, worst[0] / f"{rank:02d}_{name}.png")
    return scored


def measure_synthetic(
    engines: EngineFolder,
    count: int,
    frames: int,
    photos: Path | None,
    first_seed: int,
    seed: int,
    console: Console,
) -> dict[str, Any]:
    """Render clips, measure every stage on them, and print the table."""

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    clips = f"{count} clip{'s' * (count != 1)}"
    tell(f"samotion {__version__}: rendering and measuring {clips}")
    found = synthetic.run(engines, count, frames, photos, first_seed, seed, tell)
    synthetic.print_table(found, Console())
    return found | _origin(engines, seed)


def make_masks(
    engines: EngineFolder, clips: Sequence[Clip], folder: Path, seed: int, console: Console
) -> dict[str, Any]:
    """Write masks of all clips below `folder`, and tell which engines and seed made them."""
    segment_all(clips, engines, folder, Settings(seed=seed), console)
    return _origin(engines, seed)


def _origin(engines: EngineFolder, seed: int) -> dict[str, Any]:
    return {"preset": engines.preset.name, "seed": seed, "engines": engine_hashes(engines)}
