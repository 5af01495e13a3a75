"""SAM 2 video: our time beside the sam2 package's own predictor, on the same random weights, clip
and prompts.

python benchmarks/sam2_against_original.py --config sam2.1_hiera_t --objects 1 3 6 --frames 16

One line per number of objects: seconds of both and their ratio, on the wall and of processor time;
then the fit E + M*n of each. Prompts: two frames per object. Nothing is compared here;
tests/runtime/sam2/test_propagation.py does that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samotion.presets import SAM21_TINY, Sam2Net
from samotion.sam2 import Click, propagate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from helpers import sam2_reference as reference

HW = (480, 854)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default=SAM21_TINY.config)
    parser.add_argument("--side-px", type=int, default=1024)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = Sam2Net(SAM21_TINY.weights, options.config, options.side_px)
    module = reference.lively_module(net)
    predictor = reference.predictor_of(net, module)
    frames, centres = reference.moving_discs(options.frames, HW)
    with tempfile.TemporaryDirectory() as folder:
        engines: Any = reference.FolderlessEngines(net, module, Path(folder), options.threads)
        del module
        rows = [measure(engines, predictor, frames, centres, count) for count in options.objects]
    if len(rows) > 1:
        for name, times in zip(("original", "samotion"), np.array(rows).T):
            per_object, fixed = np.polyfit(options.objects, times, 1)
            print(f"{name}: E {fixed:.1f} s + M {per_object:.1f} s per object, processor time")


def measure(
    engines: Any, predictor: Any, frames: np.ndarray, centres: np.ndarray, count: int
) -> tuple[float, float]:
    """Processor seconds of the original and of ours for `count` objects."""
    prompted = (0, len(frames) // 2)
    clicks = [
        Click(i, f, centres[i % 3, f][None], np.array([1])) for f in prompted for i in range(count)
    ]
    with pytest.MonkeyPatch.context() as patch:
        wall, original = timed(lambda: reference.follow(predictor, frames, clicks, patch))
    our_wall, ours = timed(lambda: propagate(engines, frames, clicks))
    print(
        f"{count} objects: wall {wall:.1f} and {our_wall:.1f} s, ratio {our_wall / wall:.2f};"
        f" processor {original:.1f} and {ours:.1f} s, ratio {ours / original:.2f}",
        flush=True,
    )
    return original, ours


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the wall and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
