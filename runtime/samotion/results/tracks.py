"""tracks.npz: the point tracks with their scores, in px of the source."""

from __future__ import annotations

import io

import numpy as np

from samotion import geometry
from samotion.manifest import write_atomically
from samotion.results.material import Material
from samotion.results.owners import owners
from samotion.results.record import TRACKS
from samotion.results.result import Result


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
    tracks, clip = result.tracks, result.clip
    height, width = clip.frames.shape[1:3]
    xy, query_xy = (
        geometry.resized_xy(points, (height, width), clip.source_hw).astype(np.float32)
        for points in (tracks.xy, tracks.query_xy)
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        xy=xy,
        visible=tracks.visible,
        visibility=tracks.visibility,
        confidence=tracks.confidence,
        query_frame=tracks.query_frame,
        query_xy=query_xy,
        scores=result.scores,
        object=owners(tracks, result.labels, result.evidence.prompts),
        frames=clip.indices,
    )
    return buffer.getvalue()
