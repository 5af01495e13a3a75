"""What the page is told: plain values, lengths in px of its pictures, times in s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from samotion import __version__
from samotion.results.material import Material
from samotion.results.report import frames, objects, points
from samotion.results.result import Result
from samotion.results.windows import scores_of

MADE_BY = f"made by samotion {__version__}; this file needs no network and holds the whole page"
BINS = 40


def collect(material: Material, pictures: frames.Pictures) -> dict[str, Any]:
    """All that the scripts draw."""
    result, info = material.result, material.record
    chosen, clip = pictures.chosen, result.clip
    times = clip.timestamps_s[chosen] - clip.timestamps_s[chosen[0]]
    scores = scores_of(result)
    return {
        "size": pictures.size_wh,
        "frames": pictures.jpegs,
        "masks": pictures.runs,
        "chosen": chosen,
        "numbers": clip.indices[chosen].tolist(),
        "allNumbers": clip.indices.tolist(),
        "times": np.round(times, 4).tolist(),
        "objects": objects.describe(result, pictures),
        "cuts": np.searchsorted(clip.indices[chosen], list(result.cuts)).tolist(),
        "tracks": points.pack(result, scores, pictures),
        "histogram": _histogram(scores, result.evidence.threshold),
        "stages": {name: round(ms, 1) for name, ms in result.timings.items()},
        "depth": frames.maps(result.evidence.depth, "depth"),
        "motion": frames.maps(result.evidence.motion, "motion"),
        "command": info.get("command") or _in_python(result, info),
        "settings": _pairs(asdict(result.settings)),
        "engines": _engines(info),
        "versions": _pairs(info.get("versions", {})),
    }


def headline(material: Material) -> list[tuple[str, str]]:
    """The facts under the title: a value, and what it is."""
    result, info = material.result, material.record
    clip, count = result.clip, len(result.objects)
    height, width = clip.source_hw
    length_s = float(clip.timestamps_s[-1] - clip.timestamps_s[0])
    facts = [
        (str(count), f"moving object{'s' * (count != 1)}"),
        (str(len(result.labels)), f"frames over {length_s:.1f} s"),
        (f"{width}×{height}", "pixels"),
        (str(result.track_count), "tracks"),
        (f"{sum(result.timings.values()) / 1000:.1f} s", "to compute"),
    ]
    if "preset" in info:
        facts.append((str(info["preset"]), f"on {info.get('device', 'a device')}"))
    return facts


def _histogram(scores: np.ndarray, threshold: float | None) -> dict[str, Any]:
    counts, _ = np.histogram(scores, BINS, (0.0, 1.0))
    return {"counts": counts.tolist(), "threshold": threshold, "total": len(scores)}


def _pairs(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = {None: "no limit"}
    return [(str(name), told.get(value, str(value))) for name, value in table.items()]


def _engines(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each engine with its precision and the start of its hash."""
    told = info.get("engines", {})
    return [
        (str(name), f"{one['precision']}, sha256 {one['sha256'][:16]}…")
        for name, one in told.items()
    ]


def _in_python(result: Result, info: Mapping[str, Any]) -> str:
    """How a result is made again that no command made."""
    folder = repr(info["engine_folder"]) if "engine_folder" in info else ""
    path = "frames" if result.clip.path is None else repr(result.clip.path)
    settings = ", ".join(f"{name}={value}" for name, value in asdict(result.settings).items())
    return (
        f"import samotion\n\nwith samotion.open_engines({folder}) as engines:\n"
        f"    result = samotion.segment_clip({path}, engines, samotion.Settings({settings}))"
    )
