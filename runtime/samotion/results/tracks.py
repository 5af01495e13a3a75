"""tracks.npz: the point tracks with their scores, in px of the source."""

from __future__ import annotations

import io

import numpy as np

from samotion.manifest import write_atomically
from samotion.results.material import Material
from samotion.results.record import TRACKS
from samotion.results.result import Result
from samotion.results.sizes import tracks_at_source


def files(material: Material) -> list[str]:
    """One file."""
    return [TRACKS]


def write(material: Material) -> None:
    """Write all tracks."""
    write_atomically(material.target.tree / TRACKS, _tracks(material.result))


def _tracks(result: Result) -> bytes:
    """The tracks with `scores`, `object` (0: none's) and `frames` (source numbers); xy in px of the
    source, pixel centres whole.
    """
    tracks = tracks_at_source(result)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        xy=tracks.xy,
        visible=tracks.visible,
        visibility=tracks.visibility,
        confidence=tracks.confidence,
        query_frame=tracks.query_frame,
        query_xy=tracks.query_xy,
        scores=result.scores,
        object=result.track_objects(),
        frames=result.clip.indices,
    )
    return buffer.getvalue()
