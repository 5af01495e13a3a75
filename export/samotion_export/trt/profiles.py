"""Which shapes TensorRT engines are built for: few profiles per engine, chosen up front from the
preset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from samotion import depth, dino
from samotion.backends.squares import BICUBIC, LANCZOS, most_taps
from samotion.contract import PATCH_PX, SIGNATURES, TRACKER_PX
from samotion.cues.motion_residuals import CELL_PX, LONG_SIDE_PX, MIN_CELLS
from samotion.presets import REFINE_PX, Preset
from samotion.sam2.features import LARGEST_PX, SWEEP_FRAMES
from samotion.sam2.memory import MemoryWindow, places
from samotion.tracks.features import FEATURE_FRAMES, LARGE_FEATURE_FRAMES, LARGEST_TRACKED_PX
from samotion.tracks.live import ONLINE_POINTS
from samotion.tracks.tracking import (
    LARGE_WINDOW_FRAMES,
    POINT_FRAMES,
    WINDOW_FRAMES,
)

Range = tuple[int, int, int]  # smallest, usual and largest size
# by input: the same three shapes
Profile = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]

MOST_OBJECTS = 8  # more go through in several calls
MOST_POINTS = 32  # clicks on one object and frame
MEMORY_FRAMES, MEMORY_POINTERS = 7, 16  # SAM 2's, with the present frame
UNPLANNED_PROMPTS = 2  # an object's key frame, and the frame that the last window hands on
USUAL_PROMPTS = 7  # of a clip of 100 frames
CLIP_HW = (480, 854)  # the usual clip
MAP_CELLS = LONG_SIDE_PX // CELL_PX  # of the motion map's longer side
USUAL_ASPECT = 2  # of clips whose frames go through in batches; longer strips go one by one


def profiles(
    preset: Preset, engine: str, inputs: Mapping[str, Sequence[int | str]]
) -> list[Profile]:
    """The profiles of one engine; `inputs` are its dims as in the manifest, letters where they
    vary.

    Raises KeyError for a letter without a range.
    """
    return [
        {
            name: _shapes([(d, d, d) if isinstance(d, int) else ranges[d] for d in dims])
            for name, dims in inputs.items()
        }
        for ranges in _ranges(preset, engine)
    ]


def _shapes(sizes: Sequence[Range]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    low, usual, high = zip(*sizes)
    return low, usual, high


def _ranges(preset: Preset, engine: str) -> list[dict[str, Range]]:
    """One table of letters per profile. Profiles that could be one are two where one would waste
    memory.
    """
    ranges = {**_track_ranges(preset), **_picture_ranges(preset), **_segmenter_ranges(preset)}
    if engine not in ranges:
        raise KeyError(
            f"no shapes are known for engine {engine!r}; it takes {SIGNATURES[engine].input_names}"
        )
    return ranges[engine]


def _track_ranges(preset: Preset) -> dict[str, list[dict[str, Range]]]:
    """Of the engines that follow points, and of the one that scores their tracks."""
    tracks, frames = preset.max_tracks, preset.max_frames
    queries = (1, min(500, tracks), tracks)
    refine = ((1, 24, 32, 256), (33, 100, 128, 180), (129, 320, WINDOW_FRAMES, 46))
    refine_large = ((1, 24, 32, 256), (33, 100, LARGE_WINDOW_FRAMES, 180))
    return {
        "tracks_features": [{"T": (1, FEATURE_FRAMES, FEATURE_FRAMES)}],
        "tracks_query": [{"T": (1, 100, WINDOW_FRAMES), "N": queries}],
        "tracks_refine": _chunks_of(refine),
        "tracks_features_large": [{"T": (1, LARGE_FEATURE_FRAMES, LARGE_FEATURE_FRAMES)}],
        "tracks_query_large": [{"T": (1, 100, LARGE_WINDOW_FRAMES), "N": queries}],
        "tracks_refine_large": _chunks_of(refine_large),
        "tracks_online": [{"N": (1, 256, ONLINE_POINTS)}],
        "motion": [{"N": (1, tracks, tracks), "T": (2, frames, frames)}],
    }


def _picture_ranges(preset: Preset) -> dict[str, list[dict[str, Range]]]:
    """Of the engines that see whole pictures."""
    depth_px, dino_px = preset.depth.short_side_px, preset.dino.short_side_px
    frames = depth.GPU_FRAMES
    if dino_px is None:
        dino_sides = [_as_large_as(preset.long_side_px)]
    else:
        dino_sides = _strips(dino_px, dino.MAX_ASPECT)
    return {
        "depth": [
            *({"B": (1, frames, frames), **sides} for sides in _strips(depth_px, USUAL_ASPECT)),
            *({"B": (1, 1, 1), **sides} for sides in _strips(depth_px, depth.MAX_ASPECT)),
        ],
        "dino": [{"B": (1, 1, 1), **sides} for sides in dino_sides],
        "motion_map": [
            {
                "B": (1, 1, 1),
                "GH": (MIN_CELLS, 108, MAP_CELLS),
                "GW": (MIN_CELLS, MAP_CELLS, MAP_CELLS),
            }
        ],
    }


def _segmenter_ranges(preset: Preset) -> dict[str, list[dict[str, Range]]]:
    """Of SAM 2's engines; its track has a profile for the first frames and one for all others."""
    objects, points = (1, 3, MOST_OBJECTS), (1, 4, MOST_POINTS)
    prompts = math.ceil(preset.max_frames / preset.prompting.every_frames) + UNPLANNED_PROMPTS
    usual, _ = _attended(preset, USUAL_PROMPTS)
    most, most_pointers = _attended(preset, prompts)
    memories = (1, 4, MEMORY_FRAMES - 1), (MEMORY_FRAMES, usual, most)
    pointers = (1, 16, most_pointers)
    return {
        "sam2_resize": [
            _squares_for_sam2(preset.sam2.image_size_px),
            *([] if preset.cues else [_squares_for_tracks()]),
        ],
        "sam2_image": [{"B": (1, SWEEP_FRAMES, 2 * SWEEP_FRAMES)}],
        "sam2_prompt": [{"B": objects, "P": points}],
        "sam2_memory": [{"B": (1, 1, MOST_OBJECTS), "P": points}],
        "sam2_track": [{"B": objects, "K": frames, "P": pointers} for frames in memories],
    }


def _attended(preset: Preset, prompts: int) -> tuple[int, int]:
    """How many memories and pointers an object with so many prompted frames attends to at most, in
    the preset's longest window.
    """
    limit = preset.sam2.max_conditioning_frames
    window = MemoryWindow(MEMORY_FRAMES, MEMORY_POINTERS, limit)
    return places({0: range(prompts)}, preset.max_frames, window)


def _squares_for_sam2(side_px: int) -> dict[str, Range]:
    """Frames of all clips that are made square on the GPU, and the taps which that takes."""
    return {
        "B": (1, 1, SWEEP_FRAMES),
        "H": (1, CLIP_HW[0], LARGEST_PX),
        "W": (1, CLIP_HW[1], LARGEST_PX),
        "N": (side_px, side_px, side_px),
        "K": (1, 4, most_taps(LARGEST_PX, side_px, BICUBIC.lobes)),
    }


def _squares_for_tracks() -> dict[str, Range]:
    """The same for the tracker, whose frames are smaller, and so come with more taps."""
    return {
        "B": (1, FEATURE_FRAMES, FEATURE_FRAMES),
        "H": (1, CLIP_HW[0], LARGEST_TRACKED_PX),
        "W": (1, CLIP_HW[1], LARGEST_TRACKED_PX),
        "N": (TRACKER_PX, TRACKER_PX, max(REFINE_PX)),
        "K": (1, 21, most_taps(LARGEST_TRACKED_PX, TRACKER_PX, LANCZOS.lobes)),
    }


def _chunks_of(sizes: Sequence[tuple[int, int, int, int]]) -> list[dict[str, Range]]:
    """Profiles of a refinement, of which each call brings POINT_FRAMES points x frames: memory goes
    with them.

    `sizes`: smallest, usual and largest number of frames, most points.
    """
    return [
        {"T": (low, usual, high), "N": (1, POINT_FRAMES // usual, most)}
        for low, usual, high, most in sizes
    ]


def _strips(short_side_px: int, max_aspect: int) -> list[dict[str, Range]]:
    """Landscape and portrait pictures, up to the longest strips that the runtime makes of a clip.

    One profile for both would hold squares of the longer side, which never come. Very long clips
    are shrunk until their shorter side is a single patch.
    """
    usual_px = short_side_px * CLIP_HW[1] / CLIP_HW[0]
    short = (PATCH_PX, _up(short_side_px), _up(short_side_px))
    long = (PATCH_PX, _up(usual_px), _up(short_side_px * max_aspect))
    return [{"H": short, "W": long}, {"H": long, "W": short}]


def _as_large_as(long_side_px: int) -> dict[str, Range]:
    """Pictures of a clip's own size, whose sides have at most `long_side_px`."""
    high = _up(max(long_side_px, *CLIP_HW))
    return {"H": (PATCH_PX, _up(CLIP_HW[0]), high), "W": (PATCH_PX, _up(CLIP_HW[1]), high)}


def _up(size_px: float) -> int:
    """The next multiple of the patch."""
    return int(-(-size_px // PATCH_PX)) * PATCH_PX
