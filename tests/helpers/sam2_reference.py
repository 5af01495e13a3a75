"""The sam2 package's video predictor as the reference, and engines for the same module, for
tests and measurements.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from samotion.backends.ort import OrtEngine
from samotion.backends.squares import BICUBIC, resample
from samotion.manifest import Entry
from samotion.presets import NANO, Sam2Net
from samotion.sam2 import Click
from samotion_export.graph import export_onnx
from samotion_export.sam2.build import graphs
from samotion_export.sam2.modules import MEAN, STD, ImageGraph, PromptGraph
from samotion_export.sam2.net import build_module, config_of, instantiate

SMALL = replace(NANO.sam2, image_size_px=128, max_conditioning_frames=None)
PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"


def lively_module(net: Sam2Net, seed: int = 0) -> Any:
    """A random module whose masks are neither empty nor full, and whose objects sometimes leave
    the frame.
    """
    torch.manual_seed(seed)
    module: Any = build_module(net).eval()
    decoder = module.sam_mask_decoder
    with torch.no_grad():
        for head in (*decoder.output_hypernetworks_mlps, decoder.iou_prediction_head):
            head.layers[-1].weight *= 40
        for embedding in module.sam_prompt_encoder.point_embeddings:
            embedding.weight *= 3
        scores = _scores(module, net.image_size_px)
        last = decoder.pred_obj_score_head.layers[-1]
        last.weight /= scores.std()
        last.bias.copy_((last.bias - scores.mean()) / scores.std() + 1.0)
    return module


@functools.cache
def small_module() -> Any:
    """A lively one of SMALL. Read only."""
    return lively_module(SMALL)


@functools.cache
def small_engines() -> FolderlessEngines:
    """Those of `small_module`, exported once."""
    with tempfile.TemporaryDirectory() as folder:
        return FolderlessEngines(SMALL, small_module(), Path(folder))


def _scores(module: Any, side_px: int) -> torch.Tensor:
    """Object scores of some frames, with a point and without any."""
    frames, centres = moving_discs(4, (side_px, side_px), seed=1)
    image, prompt = ImageGraph(module), PromptGraph(module)
    scores = []
    for t, frame in enumerate(frames):
        levels = image(torch.from_numpy(frame)[None])[:3]
        side = levels[0].shape[-1]
        for label in (-1, 1):
            points = torch.from_numpy(centres[:, t, None].astype(np.float32))
            labels = torch.full((3, 1), label)
            none = torch.zeros(3, side, side), torch.zeros(3, dtype=torch.uint8)
            scores.append(prompt(*levels, points, labels, *none)[3])
    return torch.cat(scores)


class FolderlessEngines:
    """The SAM 2 engines of one module, as `samotion.Engines` offers them."""

    def __init__(self, net: Sam2Net, module: Any, folder: Path, threads: int = 2) -> None:
        self.preset, self.device = replace(NANO, sam2=net), "cpu"
        self._meta, self._engines = {}, {}
        for graph in graphs(net, module):
            path = folder / f"{graph.name}.onnx"
            export_onnx(graph, path)
            entry = Entry(path.name, "", "", "", "fp32", {}, {}, {}, "", graph.meta)
            self._meta[graph.name] = graph.meta
            self._engines[graph.name] = OrtEngine(
                graph.name, path, entry, "CPUExecutionProvider", threads
            )

    def __getitem__(self, name: str) -> OrtEngine:
        return self._engines[name]

    def entry(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(meta=self._meta[name])


def predictor_of(net: Sam2Net, module: Any) -> Any:
    """The package's predictor with a module's weights."""
    predictor: Any = instantiate({**config_of(net), "_target_": PREDICTOR, "fill_hole_area": 8})
    predictor.load_state_dict(module.state_dict())
    return predictor.eval()


def components_on_cpu(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The package's connected components (8-connected) without its CUDA extension."""
    labels, areas = [], []
    for one in mask[:, 0].numpy():
        _, label, stats, _ = cv2.connectedComponentsWithStats(one.astype(np.uint8), connectivity=8)
        area = stats[label, cv2.CC_STAT_AREA]
        labels.append(label)
        areas.append(np.where(label > 0, area, 0))
    return torch.from_numpy(np.stack(labels))[:, None], torch.from_numpy(np.stack(areas))[:, None]


def reference_masks(
    predictor: Any, frames: np.ndarray, clicks: Sequence[Click], monkeypatch: Any
) -> dict[int, Any]:
    """Logits (T,H,W) per object, each in a state of its own.

    In float32 the package fails on frames before an object's first prompt, so one state serves
    objects only where they start together.
    """
    found = {}
    for object_id in dict.fromkeys(click.object_id for click in clicks):
        mine = [click for click in clicks if click.object_id == object_id]
        found.update(follow(predictor, frames, mine, monkeypatch))
    return found


def follow(
    predictor: Any, frames: np.ndarray, clicks: Sequence[Click], monkeypatch: Any
) -> dict[int, Any]:
    """Logits (T,H,W) of objects that start together, forward and then backward."""
    import sam2.sam2_video_predictor as package
    import sam2.utils.misc as misc

    small = np.stack([resample(frame, predictor.image_size, BICUBIC) for frame in frames])
    images = (torch.from_numpy(small / 255.0).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    loaded = images.permute(0, 3, 1, 2), frames.shape[1], frames.shape[2]
    monkeypatch.setattr(package, "load_video_frames", lambda **_: loaded)
    monkeypatch.setattr(package, "tqdm", lambda frames, **_: frames)
    monkeypatch.setattr(misc, "get_connected_components", components_on_cpu)
    state = predictor.init_state("")
    for click in clicks:
        predictor.add_new_points_or_box(
            state, click.frame, click.object_id, click.points_xy, click.labels
        )
    found = {click.object_id: np.full(frames.shape[:3], np.nan, np.float32) for click in clicks}
    for reverse in (False, True):
        for frame, object_ids, masks in predictor.propagate_in_video(state, reverse=reverse):
            for object_id, mask in zip(object_ids, masks):
                found[object_id][frame] = mask[0].numpy()
    return found


def moving_discs(count: int, hw: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T,H,W,3) uint8 of three discs over noise, and their centres (3,T,2) px."""
    rng = np.random.default_rng(seed)
    height, width = hw
    ground = cv2.resize(rng.integers(0, 255, (8, 10, 3), dtype=np.uint8), (width, height))
    start = rng.uniform(0.25, 0.75, (3, 1, 2)) * (width, height)
    centres = start + rng.uniform(-1, 1, (3, 1, 2)) * np.arange(count)[:, None]
    frames = np.repeat(ground[None], count, axis=0)
    for t in range(count):
        for centre, colour in zip(centres[:, t], ((230, 40, 40), (40, 220, 60), (40, 60, 230))):
            cv2.circle(frames[t], tuple(int(c) for c in centre), height // 8, colour, -1)
    return frames, centres
