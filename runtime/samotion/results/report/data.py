"""What the page is told: plain values, lengths in px of its pictures, times in s."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from samotion import __version__, geometry
from samotion.results.colours import hex_colour
from samotion.results.material import Material
from samotion.results.report import frames
from samotion.results.result import Result

Array = np.ndarray[Any, Any]

MADE_BY = f"made by samotion {__version__}; this file needs no network and holds the whole page"
BINS = 40
MAX_TRACKS = 600  # drawn at most, as many of them moving as still where there are
HIDDEN, SUBPIXEL, MARGIN_PX = 65535, 16, 64  # how places of tracks are packed into 16 bits


def collect(material: Material) -> dict[str, Any]:
    """All that the scripts draw."""
    result, info = material.result, material.record
    pictures = frames.encode(result)
    chosen = pictures.chosen
    clip = result.clip
    times = clip.timestamps_s[chosen] - clip.timestamps_s[chosen[0]]
    return {
        "size": pictures.size_wh,
        "frames": pictures.jpegs,
        "masks": pictures.runs,
        "chosen": chosen,
        "numbers": clip.indices[chosen].tolist(),
        "allNumbers": clip.indices.tolist(),
        "times": np.round(times, 4).tolist(),
        "objects": [_object(result, k, pictures) for k in range(len(result.objects))],
        "tracks": _tracks(result, pictures),
        "histogram": _histogram(result),
        "stages": {name: round(ms, 1) for name, ms in result.timings.items()},
        "depth": frames.maps(result.evidence.depth, "depth"),
        "motion": frames.maps(result.evidence.motion, "motion"),
        "command": info.get("command", _in_python(result)),
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
        (str(len(result.scores)), "tracks"),
        (f"{sum(result.timings.values()) / 1000:.1f} s", "to compute"),
    ]
    if "preset" in info:
        facts.append((str(info["preset"]), f"on {info.get('device', 'a device')}"))
    return facts


def _object(result: Result, k: int, pictures: frames.Pictures) -> dict[str, Any]:
    one = result.objects[k]
    areas, boxes = frames.areas_and_boxes(result.labels, one.id, pictures)
    prompts = result.evidence.prompts
    clicks = prompts[k].clicks if k < len(prompts) else ()
    members = prompts[k].members if k < len(prompts) else None
    place = {frame: index for index, frame in enumerate(pictures.chosen)}
    points: dict[int, list[list[float]]] = {}
    for click in clicks:
        xy = _to_picture(click.points_xy, result, pictures)
        inside = (np.asarray(click.labels) > 0).astype(int)
        rows = np.column_stack([np.round(xy, 1), inside]).tolist()
        points.setdefault(click.frame, []).extend(rows)
    return {
        "id": one.id,
        "colour": hex_colour(one.id),
        "score": round(one.score, 4),
        "confidence": round(one.confidence, 4),
        "areas": areas,
        "boxes": boxes,
        "tracks": 0 if members is None else len(members),
        "prompts": sorted(place[frame] for frame in points if frame in place),
        "clicks": points,
        "sureness": [] if members is None else _sureness(result, members, pictures.chosen),
    }


def _sureness(result: Result, members: Array, chosen: list[int]) -> list[float | None]:
    """How sure an object's visible tracks are, on the mean; None where none is visible."""
    visible = result.tracks.visible[members][:, chosen]
    sure = (result.tracks.visibility * result.tracks.confidence)[members][:, chosen]
    counts = visible.sum(axis=0)
    means = (sure * visible).sum(axis=0) / np.maximum(counts, 1)
    return [round(float(mean), 3) if n else None for mean, n in zip(means, counts)]


def _tracks(result: Result, pictures: frames.Pictures) -> dict[str, Any]:
    """Some of the tracks, packed: x and y of track by track, frame by frame."""
    drawn = _drawn(result)
    tracks = result.tracks.take(drawn)
    xy = _to_picture(tracks.xy[:, pictures.chosen], result, pictures)
    packed = np.round((xy + MARGIN_PX) * SUBPIXEL)
    hidden = ~tracks.visible[:, pictures.chosen] | ~np.isfinite(packed).all(axis=-1)
    packed = np.nan_to_num(packed).clip(0, HIDDEN - 1).astype("<u2")
    packed[hidden] = HIDDEN
    return {
        "xy": b64encode(packed.tobytes()).decode(),
        "scores": np.round(result.scores[drawn].astype(np.float64), 3).tolist(),
    }


def _drawn(result: Result) -> Array:
    """Which tracks are drawn: half of them the moving ones, spread over their scores."""
    order = np.argsort(result.scores, kind="stable")
    if len(order) <= MAX_TRACKS:
        return order
    threshold = result.evidence.threshold
    split = int(np.count_nonzero(result.scores <= (0.5 if threshold is None else threshold)))
    still, moving = order[:split], order[split:]
    moving = _spread(moving, max(MAX_TRACKS // 2, MAX_TRACKS - len(still)))
    return np.concatenate([_spread(still, MAX_TRACKS - len(moving)), moving])


def _spread(items: Array, most: int) -> Array:
    """At most so many, evenly taken."""
    if len(items) <= most:
        return items
    return np.asarray(items[np.linspace(0, len(items) - 1, most).astype(int)])


def _to_picture(xy: Array, result: Result, pictures: frames.Pictures) -> Array:
    """Points in px of the clip's frames, as px of the page's pictures."""
    height, width = result.labels.shape[1:]
    to_hw = pictures.size_wh[1], pictures.size_wh[0]
    return geometry.resized_xy(np.asarray(xy, np.float64), (height, width), to_hw)


def _histogram(result: Result) -> dict[str, Any]:
    counts, _ = np.histogram(result.scores, BINS, (0.0, 1.0))
    return {
        "counts": counts.tolist(),
        "threshold": result.evidence.threshold,
        "total": len(result.scores),
    }


def _pairs(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in table.items()]


def _engines(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each engine with its precision and the start of its hash."""
    told = info.get("engines", {})
    return [
        (str(name), f"{one['precision']}, sha256 {one['sha256'][:16]}…")
        for name, one in told.items()
    ]


def _in_python(result: Result) -> str:
    """How a result is made again that no command made."""
    path = "frames" if result.clip.path is None else repr(result.clip.path)
    settings = ", ".join(f"{name}={value}" for name, value in asdict(result.settings).items())
    return (
        "import samotion\n\nwith samotion.open_engines() as engines:\n"
        f"    result = samotion.segment_clip({path}, engines, samotion.Settings({settings}))"
    )
