"""How often samotion's stages between the nets, from motion scores to labels, agree with the
published method.

`python -m samotion_bench.published [CASES.npz] [--scenes 200]` compares them with labels that the
original program wrote for the same tracks and the same stand-in for SAM 2, where a file of such
cases is given, and with a literal reading of the method on random scenes.

CASES.npz holds `count`, and for each case k: `k_parts` (T,H,W), `k_xy` (N,T,2), `k_visible` (packed
bits of (N,T)), `k_confidence` (N,T) and `k_labels` (T,H,W), the original's. All of its tracks move.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from samotion import masks, prompts
from samotion.presets import REFERENCE
from samotion.sam2 import Click
from samotion.tracks import Tracks

from samotion_bench import literal, stand_in
from samotion_bench.stand_in import Scene


def find(scene: Scene) -> list[prompts.ObjectPrompt]:
    """samotion's objects and prompts."""
    queries = np.zeros(len(scene.xy), int), scene.xy[:, 0]
    tracks = Tracks(
        scene.xy, scene.visible, scene.visible.astype(np.float32), scene.confidence, *queries
    )

    def segment(click: Click) -> np.ndarray:
        return stand_in.answer(scene.parts[click.frame], click.points_xy)

    return prompts.published(
        tracks, scene.scores, segment, scene.parts.shape[1:], REFERENCE.prompting
    )


def calls(found: prompts.ObjectPrompt) -> dict[int, list[np.ndarray]]:
    """The points (P,2) of every call of SAM 2 by frame."""
    by_frame: dict[int, list[np.ndarray]] = {}
    for click in found.clicks:
        by_frame.setdefault(click.frame, []).append(click.points_xy)
    return by_frame


def label(scene: Scene, objects: list[prompts.ObjectPrompt]) -> np.ndarray:
    """samotion's labels (T,H,W) for its objects."""
    found = {one.object_id: stand_in.follow(scene.parts, calls(one)) for one in objects}
    return masks.to_labels(masks.merge(found), scene.parts.shape)


def find_literally(scene: Scene) -> list[literal.Found]:
    """The same by the literal reading."""
    tracked = literal.Tracked(scene.xy, scene.visible, scene.confidence)

    def answer(frame: int, points: list[literal.Point]) -> np.ndarray:
        return stand_in.answer(scene.parts[frame], points)

    moving = literal.moving_tracks(scene.scores.tolist(), tracked.frames)
    objects = literal.find_objects(tracked, moving, answer)
    for one in objects:
        literal.prompt(one, tracked, answer)
    return objects


def label_literally(scene: Scene, objects: list[literal.Found]) -> np.ndarray:
    """The labels (T,H,W) of the literal reading."""
    return literal.label(
        [stand_in.follow(scene.parts, one.calls) for one in objects], scene.parts.shape
    )


def same_areas(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two label maps show the same objects, whatever their numbers are."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    ground = ((pairs[0] == 0) == (pairs[1] == 0)).all()
    return bool(ground and len(pairs[0]) == len(np.unique(a)) == len(np.unique(b)))


def read_cases(path: Path) -> Iterator[Scene]:
    """The cases of a file."""
    with np.load(path) as data:
        for k in range(int(data["count"])):
            xy = data[f"{k}_xy"]
            shape = xy.shape[:2]
            visible = (
                np.unpackbits(data[f"{k}_visible"], count=shape[0] * shape[1])
                .astype(bool)
                .reshape(shape)
            )
            confidence = data[f"{k}_confidence"].astype(np.float32)
            scores = np.ones(shape[0], np.float32)
            yield Scene(data[f"{k}_parts"], xy, visible, confidence, scores, data[f"{k}_labels"])


def count_cases(path: Path) -> tuple[int, int]:
    """In how many cases the labels are the original's, and of how many."""
    agree = [
        same_areas(label(scene, find(scene)), scene.labels)
        for scene in read_cases(path)
        if scene.labels is not None
    ]
    return sum(agree), len(agree)


def count_scenes(count: int) -> int:
    """In how many random scenes labels, numbers included, are those of the literal reading."""
    scenes = map(stand_in.random_scene, range(count))
    return sum(
        np.array_equal(label(s, find(s)), label_literally(s, find_literally(s))) for s in scenes
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "cases", nargs="?", type=Path, help="cases with the original's labels, as above"
    )
    parser.add_argument(
        "--scenes", type=int, default=200, help="random scenes to compare with the literal reading"
    )
    asked = parser.parse_args()
    if asked.cases:
        agree, count = count_cases(asked.cases)
        print(f"{agree} of {count} cases have the original's labels")
    print(
        f"{count_scenes(asked.scenes)} of {asked.scenes} random scenes have the labels of the"
        f" literal reading"
    )


if __name__ == "__main__":
    main()
