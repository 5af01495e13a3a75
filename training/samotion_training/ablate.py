"""What each part of the motion net's input and attention is worth: the drop in J and AUC when it is
zeroed.

`python -m samotion_training.ablate --engine-dir engines [--synthetic N] [--davis DAVIS] [--made
MADE] --out FILE`. Parts are taken away at inference, from a net that was trained with them. The
four runs of a clip share tracks, depth, features and SAM 2's image features, so that they cost
little more than one and a half.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import samotion
import torch
from samotion.backends.engines import Engine, Engines, FunctionEngine
from samotion.errors import EngineError, UsageError
from samotion.manifest import write_json
from samotion_bench import synthetic
from samotion_bench.scenes.data import open_library
from samotion_bench.scores import score_movers
from samotion_bench.track_metrics import area_under_curve, starts_on
from samotion_export.checkpoints import weights

from samotion_training import commands, motion_data
from samotion_training.evaluate import davis, mean_of, sequences

Arrays = dict[str, np.ndarray]
Score = Callable[..., Arrays]  # a motion engine: the contract's inputs by name -> {"score": (N,)}

WHOLE = "whole"
MIDDLE = 0.5  # disparity of everything, where there is none: no differences along or across tracks
SAME_WEIGHTS = 0.02  # in the score: half precision shows under it, other weights do not
SHARED = ("tracks_features", "tracks_query", "tracks_refine", "depth", "dino", "sam2_image")


class Case(NamedTuple):
    """A clip and what moves in it."""

    name: str
    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    masks: np.ndarray  # (T, H, W) bool


class Found(NamedTuple):
    """What one variant made of one clip: J of its masks (None where nothing moves), any mask,
    scores and truth.
    """

    j: float | None
    any_mask: bool
    scores: np.ndarray  # (N,)
    moving: np.ndarray  # (N,) bool


class Shared:
    """Stands in for engines through the runs of one clip: another motion net, and answers kept
    that none changes.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._kept: dict[tuple[str, str], Arrays] = {}
        self.motion: Score = engines["motion"]

    def __getitem__(self, name: str) -> Engine:
        if name == "motion":
            return FunctionEngine(self.motion)
        engine = self._engines[name]
        if not name.startswith(SHARED):
            return engine

        def call(**inputs: np.ndarray) -> Arrays:
            key = name, digest(inputs)
            if key not in self._kept:
                self._kept[key] = engine(**inputs)
            return dict(self._kept[key])

        return FunctionEngine(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engines, name)

    def segment(self, frames: np.ndarray, motion: Score, max_tracks: int | None) -> samotion.Result:
        """The whole pipeline with this motion net."""
        self.motion = motion
        settings = samotion.Settings(max_frames=max(2, len(frames)), max_tracks=max_tracks)
        return samotion.segment_clip(frames, self, settings)


def digest(inputs: Mapping[str, np.ndarray]) -> str:
    """A hash of an engine's inputs."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def variants(engines: Engines, file: Path | None = None) -> dict[str, Score]:
    """Motion nets by name: the exported one, the same without an input, and the same without
    spatial attention.

    The last runs in PyTorch on the weights of `file` (None: the bundled ones) and is compared with
    the exported one, whole, on its first inputs: EngineError where they are not the same net.
    """
    whole = engines["motion"]

    def without_disparity(**inputs: np.ndarray) -> Arrays:
        return whole(**{**inputs, "disparity": np.full_like(inputs["disparity"], MIDDLE)})

    def without_dino(**inputs: np.ndarray) -> Arrays:
        return whole(**{**inputs, "dino": np.zeros_like(inputs["dino"])})

    module = weights.build_module("motion", engines.preset.motion)
    module.load_state_dict(weights.load("motion", engines.preset.motion, file, module))
    same, spatial = torch_motion(module), torch_motion(without_spatial(module, engines))
    compared: list[float] = []

    def without_spatial_attention(**inputs: np.ndarray) -> Arrays:
        if not compared:
            difference = float(
                np.abs(whole(**inputs)["score"] - same(**inputs)["score"]).max(initial=0)
            )
            if difference > SAME_WEIGHTS:
                raise EngineError(
                    f"the exported motion net and {file or 'the bundled weights'} differ by"
                    f" {difference:.3f} in the "
                    "score, expected the same net; give --motion FILE, or export it again"
                )
            compared.append(difference)
        return spatial(**inputs)

    return {
        WHOLE: whole,
        "without depth": without_disparity,
        "without dino": without_dino,
        "without spatial attention": without_spatial_attention,
    }


def without_spatial(module: torch.nn.Module, engines: Engines) -> Any:
    """A copy of the motion net in which tracks of a frame do not attend to each other; what else
    compares tracks (the camera's motion, the decoder over whole tracks) stays.
    """
    copy: Any = weights.build_module("motion", engines.preset.motion)
    copy.load_state_dict(module.state_dict())
    for stack in copy.joint_encoder.transformer_model.values():
        for layer in stack.layers:
            layer.self_attn.across_tracks = lambda x, mask: torch.zeros_like(x)
    return copy


def torch_motion(module: torch.nn.Module) -> Score:
    """A motion net of PyTorch as an engine."""
    module.eval()

    def call(**inputs: np.ndarray) -> Arrays:
        with torch.no_grad():
            return {
                "score": module(
                    **{
                        name: torch.from_numpy(np.ascontiguousarray(a))
                        for name, a in inputs.items()
                    }
                ).numpy()
            }

    return call


def on_clip(
    engines: Engines, nets: Mapping[str, Score], case: Case, max_tracks: int | None = None
) -> dict[str, Found]:
    """Every variant on one clip, through the whole pipeline."""
    shared = Shared(engines)
    return {
        name: judge(case, shared.segment(case.frames, net, max_tracks))
        for name, net in nets.items()
    }


def judge(case: Case, result: samotion.Result) -> Found:
    """The scores of one result."""
    void = np.zeros(case.masks.shape, bool)
    j = (
        float(np.mean(score_movers(case.masks, result.labels, void)[0].j))
        if case.masks.any()
        else None
    )
    moving = starts_on(result.tracks, case.masks)
    return Found(j, bool(result.labels.any()), result.scores, moving)


def made_paths(folder: Path) -> list[Path]:
    """The clips made by samotion_training.make_tracks. Raises InputError where there are none."""
    return commands.files_of(folder, motion_data.TrackSet._fields, "make_tracks", ["xy"])


def on_made(
    nets: Mapping[str, Score], folder: Path
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Scores and truth by variant, of each clip made by samotion_training.make_tracks."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in nets}
    for path in made_paths(folder):
        tracks = motion_data.load(path)
        inputs = motion_data.inputs_of(tracks)
        for name, net in nets.items():
            found[name].append((net(**inputs)["score"], tracks.moving))
    return found


def summarise_auc(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | None]:
    """Mean AUC of the clips in which something moves, and of all tracks together."""
    if not pairs:
        return {}
    each = [area_under_curve(score, moving) for score, moving in pairs]
    together = area_under_curve(*(np.concatenate(parts) for parts in zip(*pairs)))
    return {"auc": mean_of(each), "auc_over_all": together}


def summarise(
    clips: list[dict[str, Found]], made: dict[str, list[tuple[np.ndarray, np.ndarray]]]
) -> dict[str, dict[str, float | None]]:
    """By variant: J and its drop, AUC on the clips and on made sets, clips without movers that
    got a mask.
    """
    table: dict[str, dict[str, Any]] = {}
    for name in clips[0] if clips else made:
        mine = [clip[name] for clip in clips]
        row: dict[str, Any] = {}
        if moved := [f.j for f in mine if f.j is not None]:
            row |= {"j": float(np.mean(moved))}
            row |= {"drop_in_j": table[WHOLE]["j"] - row["j"] if table else 0.0}
        if still := [f.any_mask for f in mine if f.j is None]:
            row |= {"false_alarms": float(np.mean(still))}
        row |= summarise_auc([(f.scores, f.moving) for f in mine])
        row |= {f"made_{key}": value for key, value in summarise_auc(made.get(name, [])).items()}
        table[name] = row
    return table


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """The clips that were asked for: rendered and held out, and DAVIS."""
    if args.synthetic:
        library = open_library(args.photos, held_out=True)
        for example in synthetic.examples(args.synthetic, args.frames, library):
            yield Case(
                f"{example.seed} {example.kind.name}", example.clip.frames, example.clip.masks
            )
    if args.davis:
        for name, frames, masks in davis(args.davis):
            yield Case(name, frames[: args.frames], masks[: args.frames])


def measure(args: argparse.Namespace) -> int:
    """Run every variant on every clip, and print and write what was found."""
    if not (args.synthetic or args.davis or args.made):
        raise UsageError("nothing to measure on; expected --synthetic N, --davis DIR or --made DIR")
    commands.require_positive(args, "synthetic", "frames", "max_tracks")
    if args.davis:
        sequences(args.davis)
    if args.made:
        made_paths(args.made)
    if args.out:
        commands.require_output(args.out)
    clips: list[dict[str, Found]] = []
    report: dict[str, Any] = {"clips": []}
    with samotion.open_engines(args.engine_dir, device=args.device) as engines:
        nets = variants(engines, args.motion)
        made = on_made(nets, args.made) if args.made else {}
        for case in cases(args):
            start = time.monotonic()
            clips.append(on_clip(engines, nets, case, args.max_tracks))
            j = {name: found.j for name, found in clips[-1].items()}
            report["clips"].append(
                {"name": case.name, "seconds": round(time.monotonic() - start, 1), "j": j}
            )
            print(json.dumps(report["clips"][-1]), file=sys.stderr, flush=True)
            # an interrupted run has its clips so far
            save(args.out, report | {"variants": summarise(clips, made)})
    report["variants"] = summarise(clips, made)
    save(args.out, report)
    print(json.dumps(report["variants"], indent=2))
    return 0


def save(path: Path | None, report: dict[str, Any]) -> None:
    """Write the report, if there is a path for it."""
    if path:
        write_json(path, report, indent=2)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(
        description="Zero parts of the motion net, and measure what that costs."
    )
    options.add_argument("--engine-dir", type=Path, required=True)
    options.add_argument("--device", default="cpu", help="auto, cpu, cuda or tensorrt")
    options.add_argument(
        "--motion", type=Path, help="the motion net's weights, where they are not the bundled ones"
    )
    options.add_argument("--synthetic", type=int, help="render this many held-out clips")
    options.add_argument(
        "--photos", type=Path, help="paint them with the photos of this folder that are held out"
    )
    options.add_argument(
        "--davis", type=Path, help="folder with JPEGImages/480p and Annotations/480p"
    )
    options.add_argument("--frames", type=int, default=24, help="of each clip")
    options.add_argument("--max-tracks", type=int, help="default: the preset's")
    options.add_argument(
        "--made",
        type=Path,
        help="held-out tracks, made by samotion_training.make_tracks: AUC alone",
    )
    options.add_argument("--out", type=Path, help="write the report here (JSON), after every clip")
    return options


def main() -> None:
    """The command."""
    commands.run(parser(), measure)


if __name__ == "__main__":
    main()
