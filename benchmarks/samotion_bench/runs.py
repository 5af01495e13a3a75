"""Masks for an evaluation, made by the pipeline; what is there already, from the same engines
and settings, stays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from samotion.backends.engines import EngineFolder
from samotion.errors import InputError
from samotion.pipeline import segment_clip
from samotion.settings import Settings, resolve

from samotion_bench.datasets import Clip


def segment_all(
    clips: Sequence[Clip],
    engines: EngineFolder,
    results: Path,
    settings: Settings,
    console: Console,
) -> None:
    """Write `results/SEQ/masks/00000.png` for every frame of every clip, skipping clips that are
    done.
    """
    for number, clip in enumerate(clips, start=1):
        if not clip.images:
            raise InputError(
                f"{clip.name}: its frames are not known; add --images with the folder of frames"
            )
        whole = replace(settings, max_frames=max(2, len(clip.images)))
        about = {
            "engines": engine_hashes(engines),
            "evaluated": asdict(resolve(whole, engines.preset)),
        }
        if is_done(results / clip.name, about):
            console.print(
                f"[{number}/{len(clips)}] {clip.name}: done before", highlight=False, markup=False
            )
            continue
        result = segment_clip(clip.images[0].parent, engines, whole)
        result.save(results, save=["masks"], overwrite=True, run_info=about)
        seconds = sum(result.timings.values()) / 1000
        console.print(
            f"[{number}/{len(clips)}] {clip.name}: {len(clip.images)} frames,"
            f" {len(result.objects)} objects,"
            f" {seconds:.1f} s",
            highlight=False,
            markup=False,
        )


def engine_hashes(engines: EngineFolder) -> dict[str, str]:
    """The sha256 of every engine file by name."""
    return {name: entry.sha256 for name, entry in engines.manifest.engines.items()}


def is_done(folder: Path, about: dict[str, Any]) -> bool:
    """Whether a run with the same engines and settings has finished in `folder`."""
    try:
        record = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return False
    return record.get("status") == "done" and all(
        record.get(key) == value for key, value in about.items()
    )
