"""One colour per object, in overlay, report and all else that is drawn: its mask's, lighter."""

from __future__ import annotations

import numpy as np

from samotion.png import voc_colour

# The levels of red, green and blue in the palette of the masks, and what they are drawn as: dark
# hues would not show on dark frames.
_DRAWN = {0: 45, 64: 120, 128: 210, 192: 250, 224: 255}


def palette() -> np.ndarray:
    """The colour of every label (256,3) uint8."""
    labels = [voc_colour(label) for label in range(256)]
    return np.array([[_lighter(level) for level in colour] for colour in labels], np.uint8)


def hex_colour(label: int) -> str:
    """A label's colour as "#rrggbb"."""
    return "#" + "".join(f"{_lighter(level):02x}" for level in voc_colour(label))


def _lighter(level: int) -> int:
    return round(float(np.interp(level, list(_DRAWN), list(_DRAWN.values()))))
