"""The objects in the page: how large, how sure, and where they were prompted, frame by frame."""

from __future__ import annotations

from bisect import bisect
from typing import Any

import numpy as np

from samotion.results.colours import hex_colour
from samotion.results.report import points
from samotion.results.report.frames import Pictures
from samotion.results.result import Result
from samotion.results.windows import windows_of


def describe(result: Result, pictures: Pictures) -> list[dict[str, Any]]:
    """What the page tells of each object."""
    counts, sureness = _of_tracks(result, pictures.chosen)
    areas = _areas(result)
    seen = np.count_nonzero(areas, axis=0)
    means = areas.sum(axis=0) / np.maximum(seen, 1)
    # a frame of the page stands for those up to the next
    largest = np.maximum.reduceat(areas, pictures.chosen)
    described = []
    for k, one in enumerate(result.objects):
        clicks = _clicks(result, k, pictures)
        described.append(
            {
                "id": one.id,
                "colour": hex_colour(one.id),
                "score": one.score,
                "confidence": one.confidence,
                "seen": int(seen[k]),
                "area": round(float(means[k]), 6),
                "areas": np.round(largest[:, k], 6).tolist(),
                "boxes": pictures.boxes[one.id],
                "names": pictures.names[one.id],
                "tracks": counts[one.id],
                "prompts": sorted({bisect(pictures.chosen, frame) - 1 for frame in clicks}),
                "clicks": clicks,
                "sureness": sureness[one.id],
            }
        )
    return described


def _areas(result: Result) -> np.ndarray:
    """The share of the picture (T,n) of each object on every frame; the page may have fewer."""
    count, height, width = result.labels.shape
    ids = [one.id for one in result.objects]
    areas = np.zeros((count, len(ids)))
    for own, labels in zip(areas, result.labels):
        own[:] = np.bincount(labels.reshape(-1), minlength=256)[ids] / (height * width)
    return areas


def _clicks(result: Result, k: int, pictures: Pictures) -> dict[int, list[list[float]]]:
    """By frame, the points of an object's prompts: x, y px of the page, and 1 inside, 0 outside."""
    prompts = result.evidence.prompts
    by_frame: dict[int, list[list[float]]] = {}
    for click in prompts[k].clicks if k < len(prompts) else ():
        xy = points.to_picture(click.points_xy, result, pictures)
        inside = (np.asarray(click.labels) > 0).astype(int)
        rows = np.column_stack([np.round(xy, 1), inside]).tolist()
        by_frame.setdefault(click.frame, []).extend(rows)
    return by_frame


def _of_tracks(
    result: Result, chosen: list[int]
) -> tuple[dict[int, int], dict[int, list[float | None]]]:
    """Of each object, how many tracks it has, and on each frame how sure its visible ones are, on
    the mean; None where none is visible.
    """
    ids = [one.id for one in result.objects]
    counts = dict.fromkeys(ids, 0)
    sums = {one: np.zeros((2, len(result.labels))) for one in ids}
    for window in windows_of(result):
        tracks, frames = window.tracks, slice(window.first, window.end)
        for one in ids:
            own = np.flatnonzero(window.owners == one)
            visible = tracks.visible[own]
            sure = tracks.visibility[own] * tracks.confidence[own] * visible
            counts[one] += len(own)
            sums[one][:, frames] += sure.sum(axis=0), visible.sum(axis=0)
    return counts, {one: _means(*sums[one][:, chosen]) for one in ids}


def _means(totals: np.ndarray, counts: np.ndarray) -> list[float | None]:
    means = np.round(totals / np.maximum(counts, 1), 3).tolist()
    return [mean if count else None for mean, count in zip(means, counts)]
