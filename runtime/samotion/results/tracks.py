"""tracks.npz: the point tracks with their scores, in px of the source.

Of a clip of several windows each window's arrays have its number in their names, `xy_0` and so on,
and `first_0` is the place of its first frame among `frames`.
"""

from __future__ import annotations

import zipfile

import numpy as np

from samotion.clips.stream import Clip
from samotion.manifest import replacing
from samotion.results.material import Material
from samotion.results.record import TRACKS
from samotion.results.sizes import tracks_at_source
from samotion.tracks.records import FIELDS, Tracks


def files(material: Material) -> list[str]:
    """One file."""
    return [TRACKS]


def write(material: Material) -> None:
    """Write all tracks, one window after the other."""
    result = material.result
    with (
        replacing(material.target.tree / TRACKS) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        if not result.windows:
            owner = result.track_objects()
            arrays = _arrays(result.tracks, result.clip)
            _add(file, arrays | {"scores": result.scores, "object": owner})
        for number, window in enumerate(result.windows):
            arrays = _arrays(window.tracks, result.clip)
            arrays |= {"scores": window.scores, "object": window.owners}
            arrays["first"] = np.array(window.first)
            _add(file, {f"{name}_{number}": array for name, array in arrays.items()})
        _add(file, {"frames": result.clip.indices})


def _arrays(tracks: Tracks, clip: Clip) -> dict[str, np.ndarray]:
    """Tracks by name; xy in px of the source, pixel centres whole."""
    at_source = tracks_at_source(tracks, clip)
    return {name: getattr(at_source, name) for name in FIELDS}


def _add(file: zipfile.ZipFile, arrays: dict[str, np.ndarray]) -> None:
    """Add arrays to an npz file. What `open` makes has no time of its own: same tracks, same
    bytes.
    """
    for name, array in arrays.items():
        with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
