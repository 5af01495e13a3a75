"""Which shapes TensorRT engines are built for: few profiles per engine, chosen up front from the
preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samotion.contract import SIGNATURES
from samotion.presets import Preset
from samotion.tracks.live import ONLINE_POINTS
from samotion.tracks.tracking import (
    FEATURE_FRAMES,
    LARGE_FEATURE_FRAMES,
    LARGE_WINDOW_FRAMES,
    POINT_FRAMES,
    WINDOW_FRAMES,
)

Range = tuple[int, int, int]  # smallest, usual and largest size
# by input: the same three shapes
Profile = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]

PATCH_PX = 14
MOST_OBJECTS = 8  # more go through in several calls
MOST_POINTS = 32  # clicks on one object and frame, and object pointers
MOST_MEMORIES = 24  # remembered frames attended to: 6 tracked ones, and prompted ones
CLIP_HW = (480, 854)  # the usual clip


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
    ranges = {**_track_ranges(preset), **_picture_ranges(preset), **_segmenter_ranges()}
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
        "motion": [{"N": (1, tracks, tracks), "T": (2, frames, 2 * frames)}],
    }


def _picture_ranges(preset: Preset) -> dict[str, list[dict[str, Range]]]:
    """Of the engines that see whole pictures."""
    depth = _picture(preset.depth.short_side_px, None)
    dino = _picture(preset.dino.short_side_px, preset.long_side_px)
    return {
        "depth": [{"B": (1, 1, 4), **depth}],
        "dino": [{"B": (1, 1, 1), **dino}],
        "motion_map": [{"B": (1, 1, 1), "GH": (8, 72, 128), "GW": (8, 128, 128)}],
    }


def _segmenter_ranges() -> dict[str, list[dict[str, Range]]]:
    """Of SAM 2's engines; its track has a profile for the first frames and one for all others."""
    objects, points, pointers = (1, 3, MOST_OBJECTS), (1, 4, MOST_POINTS), (1, 16, MOST_POINTS)
    memories = (1, 4, 6), (7, 8, MOST_MEMORIES)
    return {
        "sam2_image": [{"B": (1, 1, 1), "P": points}],
        "sam2_prompt": [{"B": objects, "P": points}],
        "sam2_memory": [{"B": (1, 1, MOST_OBJECTS), "P": points}],
        "sam2_track": [{"B": objects, "K": frames, "P": pointers} for frames in memories],
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


def _picture(short_side_px: int | None, long_side_px: int | None) -> dict[str, Range]:
    """Heights and widths of pictures in either orientation, the usual one being a clip of
    `CLIP_HW`.

    With a fixed short side the long one may be 2.4 times as long; without, sides lie between 140 px
    and `long_side_px`.
    """
    if short_side_px is None:
        low, high = 10 * PATCH_PX, _up(long_side_px or max(CLIP_HW))
        return {"H": (low, _up(CLIP_HW[0]), high), "W": (low, _up(CLIP_HW[1]), high)}
    low, high = short_side_px // PATCH_PX * PATCH_PX, _up(short_side_px * 2.4)
    usual = _up(low * CLIP_HW[1] / CLIP_HW[0])
    return {"H": (low, low, high), "W": (low, usual, high)}


def _up(size_px: float) -> int:
    """The next multiple of the patch."""
    return int(-(-size_px // PATCH_PX)) * PATCH_PX
