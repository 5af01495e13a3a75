"""Masks for every object that moves in a video, from exported engines, without PyTorch."""

from samotion.engine import open_engines
from samotion.errors import SamotionError

__version__ = "0.1.0"
__all__ = ["SamotionError", "open_engines"]
