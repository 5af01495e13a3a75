"""Masks for every object that moves in a video, from exported engines, without PyTorch.

import samotion

with samotion.open_engines() as engines:
    result = samotion.segment_clip("clip.mp4", engines)
result.save("out/")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samotion import clips as clips
    from samotion import depth, dino, live, masks, motion, prompts, sam2, tracks
    from samotion import errors as errors
    from samotion import ray as ray
    from samotion import results as results
    from samotion.backends import threads as threads
    from samotion.backends.engines import open_engines
    from samotion.checks import stages as stages
    from samotion.clips import video as video
    from samotion.errors import SamotionError
    from samotion.pipeline import ObjectResult, Result, segment_clip, segment_windows
    from samotion.pipeline.many import segment_clips
    from samotion.settings import Settings

# onnxruntime 1.32 has telemetry of its use, on unless this is set before it is loaded; and it
# warns where it cannot keep a number for the machine. A value that a user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "ObjectResult",
    "Result",
    "SamotionError",
    "Settings",
    "depth",
    "dino",
    "live",
    "masks",
    "motion",
    "open_engines",
    "prompts",
    "sam2",
    "segment_clip",
    "segment_clips",
    "segment_windows",
    "tracks",
]

_MODULES = ("depth", "dino", "live", "masks", "motion", "prompts", "sam2", "tracks")
_NAMED = ("clips", "errors", "ray", "results")  # in the pages, beside what __all__ has
_HOMES = {name: f"samotion.{name}" for name in _MODULES + _NAMED} | {
    "stages": "samotion.checks.stages",
    "threads": "samotion.backends.threads",
    "video": "samotion.clips.video",
}
_OWNERS = {
    "ObjectResult": "samotion.pipeline",
    "Result": "samotion.pipeline",
    "SamotionError": "samotion.errors",
    "Settings": "samotion.settings",
    "open_engines": "samotion.backends.engines",
    "segment_clip": "samotion.pipeline",
    "segment_clips": "samotion.pipeline.many",
    "segment_windows": "samotion.pipeline",
}


if not TYPE_CHECKING:  # a type checker sees the imports above, and tells names that are wrong

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for: NumPy, OpenCV and PyAV take longer than
        `--help` may.
        """
        if name in _HOMES:
            return import_module(_HOMES[name])
        if name in _OWNERS:
            return getattr(import_module(_OWNERS[name]), name)
        raise AttributeError(f"module 'samotion' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
