"""Masks for every object that moves in a video, from exported engines, without PyTorch.

import samotion

with samotion.open_engines("engines/") as engines:
    result = samotion.segment_clip("clip.mp4", engines)
result.save("out/")
"""

from samotion import depth, dino, masks, motion, prompts, sam2, tracks
from samotion.backends.engines import open_engines
from samotion.errors import SamotionError
from samotion.pipeline import ObjectResult, Result, segment_clip
from samotion.settings import Settings

__version__ = "0.1.0"
__all__ = [
    "ObjectResult",
    "Result",
    "SamotionError",
    "Settings",
    "depth",
    "dino",
    "masks",
    "motion",
    "open_engines",
    "prompts",
    "sam2",
    "segment_clip",
    "tracks",
]
