"""SAM 2: prompts on some frames become masks on all of them."""

from samotion.sam2.clicks import Click, segment
from samotion.sam2.features import Features
from samotion.sam2.propagation import propagate

__all__ = ["Click", "Features", "propagate", "segment"]
