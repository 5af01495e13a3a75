"""How well nano's confidences hold: a reliability diagram of groups and of clips.

`python -m samotion_training.reliability GROUPS --out docs/reliability.svg`, where
`samotion_training.fit_objects --groups GROUPS` wrote the groups. Each clip is judged by the
regression that was fitted to all others, excerpts of the same sequence left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from samotion.manifest import write_atomically

from samotion_training import commands
from samotion_training.fit_objects import Examples, fit, load_groups

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)  # of the bins
SIDE, MARGIN = 320, 56  # px of the diagram
COLOURS = {"groups": "#4269d0", "clips": "#ff725c"}


class Bin(NamedTuple):
    """Of the confidences in one bin: their mean, which share moves, and how many there are."""

    mean: float
    moving: float
    size: int


def leave_one_out(clips: dict[str, Examples]) -> list[np.ndarray]:
    """The confidences of each clip's groups by a fit to all other clips but excerpts of the same
    sequence, whose names begin with the same word.
    """
    confidences = []
    for name, (features, _) in clips.items():
        others = [one for other, one in clips.items() if other.split()[0] != name.split()[0]]
        weights, bias = fit(others, by_clip=True)
        confidences.append(1 / (1 + np.exp(-(features @ weights + bias))))
    return confidences


def bins(confidences: np.ndarray, moving: np.ndarray) -> list[Bin]:
    """The bins that hold any of the confidences (n,); `moving` (n,) bool is the truth."""
    index = np.digitize(confidences, EDGES[1:-1])
    found = []
    for k in np.unique(index):
        here = index == k
        found.append(Bin(confidences[here].mean(), moving[here].mean(), int(here.sum())))
    return found


def diagram(curves: dict[str, list[Bin]]) -> str:
    """An SVG with a point for each bin: confidence to the right, share that moves upwards."""
    low, high = MARGIN, MARGIN + SIDE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE + 2 * MARGIN}"'
        f' height="{SIDE + 2 * MARGIN}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<rect x="{low}" y="{low}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>',
        f'<line x1="{low}" y1="{high}" x2="{high}" y2="{low}" stroke="#bbb"/>',
        _text(low + SIDE / 2, high + 40, "confidence"),
        _text(low + SIDE / 2, low - 30, "share that moves"),
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(low + tick * SIDE, high + 18, f"{tick:g}"))
        parts.append(_text(low - 18, high - tick * SIDE + 4, f"{tick:g}"))
    for row, (name, points) in enumerate(curves.items()):
        colour = COLOURS[name]
        parts.append(_text(low + 40, low + 20 + 16 * row, name, colour))
        for one in points:
            x, y = low + one.mean * SIDE, high - one.moving * SIDE
            title = f"{name}: {one.size} of mean {one.mean:.2f}, {one.moving:.2f} of them move"
            radius = 2 + one.size**0.5
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"'
                f' fill-opacity="0.5"><title>{title}</title></circle>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, colour: str = "black") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" fill="{colour}">{text}</text>'


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Draw how well confidences hold.")
    options.add_argument("groups", type=Path, help="that fit_objects --groups wrote")
    options.add_argument("--out", type=Path, required=True, help="the diagram, SVG")
    return options


def _work(args: argparse.Namespace) -> None:
    with commands.reading(args.groups, "groups that fit_objects --groups wrote"):
        clips = load_groups(args.groups)
    commands.require_output(args.out)
    found = leave_one_out(clips)
    surest = np.array([one.max(initial=0) for one in found])
    anything = np.array([moving.any() for _, moving in clips.values()])
    moving = np.concatenate([moving for _, moving in clips.values()])
    curves = {"groups": bins(np.concatenate(found), moving), "clips": bins(surest, anything)}
    write_atomically(args.out, diagram(curves).encode())
    for name, points in curves.items():
        for one in points:
            print(f"{name}: {one.size} of mean {one.mean:.2f}, {one.moving:.2f} of them move")


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
