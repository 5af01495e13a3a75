"""What half precision costs: the demo clip through float32 and half-precision graphs of nano,
rounded as a GPU rounds.

    python -m samotion_bench.half_check

Writes benchmarks/results/half-nano.md. Takes minutes: graphs that keep all their rounding run
unfused on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from samotion import dino, motion
from samotion.backends.engines import EngineFolder, Engines
from samotion.backends.proof.measures import FAR_PX
from samotion.contract import NETS
from samotion.manifest import read
from samotion.pipeline import Result, segment_clip
from samotion.tracks.records import Tracks
from samotion_export.export import export
from samotion_export.half_precision import KEPT_NETS
from samotion_export.parity.clip import StrictEngine, iou
from samotion_export.parity.half import worst
from samotion_export.report import Report
from samotion_export.request import Request

from samotion_bench import pages


def main() -> None:
    """The command."""
    argparse.ArgumentParser(
        description="What half precision costs nano; writes benchmarks/results/half-nano.md."
    ).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = {precision: Path(folder) / precision for precision in ("fp32", "fp16")}
        for precision, out in folders.items():
            export(
                Request(NETS, "nano", out, precision=precision, verify=precision == "fp16"),
                Report(),
            )
        full, half = (EngineFolder(out, "cpu", StrictEngine) for out in folders.values())
        whole, halved = segment_clip(pages.DEMO, full), segment_clip(pages.DEMO, half)
        found = [*clip_lines(whole, halved), *score_lines(full, half, whole, halved)]
        lines = ["# Half precision against float32: nano", ""]
        lines += ["`python -m samotion_bench.half_check`", ""]
        lines += [*(f"- {line}" for line in found), ""]
        lines += graph_lines(folders["fp32"], folders["fp16"])
    print(pages.write(pages.RESULTS / "half-nano.md", lines))


def clip_lines(full: Result, half: Result) -> list[str]:
    """Masks, tracks and scores of the demo clip."""
    a, b = full.labels > 0, half.labels > 0
    lines = [
        f"Demo clip, moving pixels: IoU {iou(a, b):.4f}, worst frame {min(map(iou, a, b)):.4f}."
    ]
    for found in full.objects:
        lines.append(
            f"Object {found.id}: IoU {iou(full.labels == found.id, half.labels == found.id):.4f}."
        )
    if len(full.tracks) != len(half.tracks):
        return [*lines, f"{len(full.tracks)} and {len(half.tracks)} tracks were kept."]
    px: np.ndarray[Any, Any] = np.linalg.norm(full.tracks.xy - half.tracks.xy, axis=-1)
    return [
        *lines,
        f"Tracks: median {np.median(px):.4f} px of the clip, {(px < FAR_PX).mean():.2%} within"
        f" {FAR_PX} px.",
    ]


def score_lines(
    full_engines: Engines, half_engines: Engines, full: Result, half: Result
) -> list[str]:
    """Motion scores: the net alone on the same inputs, and what the nets before it add to that."""
    if len(full.tracks) != len(half.tracks):
        return []
    frames, found = np.asarray(full.clip.frames), full.tracks
    before = judge(full_engines, full_engines, frames, found)
    parts = {
        "the motion net alone, same inputs": judge(half_engines, full_engines, frames, found),
        "with depth and features in half precision, same tracks": judge(
            half_engines, half_engines, frames, found
        ),
        "with tracks in half precision, all else the same": judge(
            full_engines, full_engines, frames, half.tracks
        ),
        "with all of them in half precision": half.scores,
    }
    return [f"Scores, {what}: {_apart(before, scores)}." for what, scores in parts.items()]


def judge(
    motion_engines: Engines, engines: Engines, frames: np.ndarray, found: Tracks
) -> np.ndarray:
    """Scores (N,) of tracks by the motion net of one folder, depth and features from another."""
    hw = frames.shape[1], frames.shape[2]
    disparity = motion.disparity_under(engines, frames, found)
    features = dino.under_tracks(engines, frames, found)
    return motion.score_tracks(motion_engines, hw, found, disparity, features)


def _apart(before: np.ndarray, after: np.ndarray) -> str:
    apart = np.abs(before - after)
    most = np.percentile(apart, 99)
    return (
        f"median {np.median(apart):.4f}, 99 % within {most:.4f}, largest"
        f" {apart.max():.4f} of {len(apart)} tracks"
    )


def graph_lines(full: Path, half: Path) -> list[str]:
    """Each graph's size and the measure that is nearest to its limit."""
    before, after = read(full), read(half)
    rows, total = [], [0, 0]
    for name, entry in after.engines.items():
        sizes = [(full / f"{name}.onnx").stat().st_size, (half / f"{name}.onnx").stat().st_size]
        if entry.precision == "fp16":
            total = [t + s for t, s in zip(total, sizes)]
            output, measure = worst(entry.parity)
            figures = entry.parity[output]
            said = (
                f"{output}: {measure} {figures[measure]:.2g} (limit"
                f" {figures[f'{measure}_limit']:.2g})"
            )
        else:
            said = "stays float32"
        rows.append((before.engines[name].file[:-5], *(f"{s / 1e6:.2f}" for s in sizes), said))
    kept = f"All but {', '.join(KEPT_NETS)}: {total[1] / total[0]:.3f} of float32's size."
    head = ("graph", "MB float32", "MB half", "nearest to its limit")
    return [*pages.table(head, rows), "", kept]


if __name__ == "__main__":
    main()
