"""Fixed inputs of every engine: pictures and tracks that look real, and what the graphs of the same
net make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from samotion.backends.proof import examples
from samotion.contract import SIGNATURES, TRACKER_PX
from samotion.manifest import Entry

Arrays = dict[str, np.ndarray]
Sizes = Mapping[str, int]  # by the contract's letters
Run = Callable[..., Arrays]  # a graph by name, and its inputs

FEATURE_FRAMES = 24  # looked at; longer clips repeat them


def fixed_inputs(name: str, entry: Entry, sizes: Sizes, run: Run) -> Arrays:
    """Inputs of one engine for the letters in `sizes`. `run`: answers of the net's graphs."""
    arrays = MAKERS[SIGNATURES[name].net](name, entry, sizes, run)
    return {tensor: arrays[tensor] for tensor in SIGNATURES[name].input_names}


def _pictures(name: str, entry: Entry, sizes: Sizes, run: Run) -> Arrays:
    return {"frames": examples.frames(sizes["B"], sizes["H"], sizes["W"])}


def _motion(name: str, entry: Entry, sizes: Sizes, run: Run) -> Arrays:
    if name == "motion_map":
        channels = int(entry.inputs["residual"][-1])
        shape = [*(sizes[letter] for letter in ("B", "GH", "GW")), channels]
        return {"residual": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    made = examples.tracks(sizes["N"], sizes["T"], int(entry.inputs["dino"][-1]))
    return dict(zip(SIGNATURES["motion"].input_names, made))


def _tracks(name: str, entry: Entry, sizes: Sizes, run: Run) -> Arrays:
    if name.startswith("tracks_features"):
        return {"frames": examples.frames(sizes["T"], *entry.inputs["frames"][1:3])}  # type: ignore[arg-type]
    count, frames = sizes["N"], sizes.get("T", 1)
    queries = _queries(count, frames)
    seen = _maps("tracks_features", frames, TRACKER_PX, run)
    known = {**seen, "queries": queries}
    known |= run("tracks_query", **known)
    if "large" in name:
        side = 4 * int(entry.inputs["large_hires"][1])
        large = _maps("tracks_features_large", frames, side, run)
        known |= large
        known |= run("tracks_query_large", **large, queries=queries)
        if "start" in entry.inputs:
            names = SIGNATURES["tracks_refine"].input_names
            known["start"] = run("tracks_refine", **{n: known[n] for n in names})["tracks"]
    if "past" in entry.inputs:
        shape = [count if d == "N" else int(d) for d in entry.inputs["past"]]
        known["past"] = np.zeros(shape, np.float32)
    return known


def _maps(engine: str, frames: int, side_px: int, run: Run) -> Arrays:
    """Feature maps of so many frames."""
    seen = min(frames, FEATURE_FRAMES)
    maps = run(engine, frames=examples.frames(seen, side_px, side_px))
    again = np.arange(frames) % seen
    return {name: array[again] for name, array in maps.items()}


def _queries(count: int, frames: int) -> np.ndarray:
    """Points (N,3) t, y, x anywhere in the frames."""
    rng = np.random.default_rng(0)
    where = rng.uniform(0, TRACKER_PX - 1, (count, 2))
    return np.column_stack([rng.integers(0, frames, count), where]).astype(np.float32)


def _segmenter(name: str, entry: Entry, sizes: Sizes, run: Run) -> Arrays:
    if name == "sam2_image":
        side = int(entry.inputs["frames"][1])
        return {"frames": examples.frames(sizes["B"], side, side)}
    if name == "sam2_resize":
        height, width, taps = (sizes[letter] for letter in ("H", "W", "K"))
        shape = sizes["N"], taps
        rng = np.random.default_rng(0)
        index = np.stack([rng.integers(0, length, shape) for length in (width, height)])
        weight = np.full_like(index, 2**22 // taps)  # fixed point: their mean
        frames = examples.frames(sizes["B"], height, width)
        return {"frames": frames, "index": index, "weight": weight}
    grid = int(entry.inputs["level2"][-1])
    known = run("sam2_image", frames=examples.frames(1, 16 * grid, 16 * grid))
    known |= _clicks(sizes["B"], sizes.get("P", 1), 4 * grid)
    if name == "sam2_prompt":
        return known
    names = SIGNATURES["sam2_prompt"].input_names
    known |= run("sam2_prompt", **{n: known[n] for n in names})
    if name == "sam2_memory":
        return known
    names = SIGNATURES["sam2_memory"].input_names
    memory = run("sam2_memory", **{n: known[n] for n in names})["memory"]
    return {**known, **_remembered(memory, known["pointer"], entry, sizes)}


def _clicks(objects: int, points: int, mask_side: int) -> Arrays:
    """Points in discs side by side, every second object with its disc as a mask."""
    rng = np.random.default_rng(0)
    centres = np.column_stack([(np.arange(objects) + 0.5) / objects, np.full(objects, 0.5)])
    y, x = np.mgrid[:mask_side, :mask_side] / mask_side
    discs = [np.clip(200 * (0.14 - np.hypot(x - cx, y - cy)), -10, 10) for cx, cy in centres]
    xy = centres[:, None] + rng.uniform(-0.05, 0.05, (objects, points, 2))
    return {
        "points": (xy * 4 * mask_side).astype(np.float32),
        "labels": np.ones((objects, points), np.int64),
        "mask_prompt": np.stack(discs).astype(np.float32),
        "has_mask": (np.arange(objects) % 2).astype(np.uint8),
    }


def _remembered(memory: np.ndarray, pointer: np.ndarray, entry: Entry, sizes: Sizes) -> Arrays:
    """A bank that repeats one remembered frame, with noise to tell its frames apart."""
    rng = np.random.default_rng(1)
    objects, frames, pointers = (sizes[letter] for letter in ("B", "K", "P"))
    slots = int(entry.meta.get("memory_frames", 7))

    def varied(array: np.ndarray, count: int) -> np.ndarray:
        noise = rng.normal(0, 0.1 * array.std(), (objects, count, *array.shape[1:]))
        return (array[:, None] + noise).astype(np.float32)

    age = np.linspace(0, 1, pointers, dtype=np.float32)
    return {
        "bank": varied(memory, frames),
        "slot": np.broadcast_to(np.arange(frames)[::-1] % slots, (objects, frames)).copy(),
        "pointers": varied(pointer, pointers),
        "age": np.broadcast_to(age, (objects, pointers)).copy(),
    }


MAKERS: dict[str, Callable[[str, Entry, Sizes, Run], Arrays]] = {
    "tracks": _tracks,
    "depth": _pictures,
    "dino": _pictures,
    "motion": _motion,
    "sam2": _segmenter,
}
