"""What the windows of a long clip answered, on disk until the results are written.

Beside the masks lie hidden files, one a window, each written at once: a run that was killed goes on
after the last of them.
"""

from __future__ import annotations

import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile, ZipFile

import numpy as np

from samotion.manifest import replacing
from samotion.results.evidence import Evidence
from samotion.tracks.records import FIELDS, Tracks

_NAME = re.compile(r"\.samotion-window-(\d+)\.npz")
MAPS = ("depth", "motion")


def dump_evidence(evidence: Evidence) -> dict[str, np.ndarray]:
    """The pictures of a window's maps as arrays of a part."""
    arrays = {}
    for name in MAPS:
        by_frame: dict[int, np.ndarray] = getattr(evidence, name)
        if by_frame:
            arrays[name] = np.stack(list(by_frame.values()))
            arrays[f"{name}_frames"] = np.array(list(by_frame), np.int64)
    return arrays


class Part:
    """One window's file. What it holds is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def array(self, name: str) -> np.ndarray:
        """One of its arrays. Raises OSError, ValueError or KeyError for a file of another kind."""
        with np.load(self.path, allow_pickle=False) as file:
            return np.asarray(file[name])

    @property
    def state(self) -> Any:
        """What `Parts.write` was given as `state`."""
        return json.loads(self.array("state").tobytes())

    @property
    def first(self) -> int:
        """Place in the clip of the window's first frame."""
        return int(self.array("first"))

    @property
    def labels(self) -> np.ndarray:
        """Of the frames that it answers, (n,H,W) uint8."""
        return self.array("labels")

    @property
    def tracks(self) -> Tracks:
        """Of all its frames."""
        return Tracks(*(self.array(name) for name in FIELDS))

    @property
    def owners(self) -> np.ndarray:
        """The id of each track's object, (N,)."""
        return self.array("owners")

    @property
    def scores(self) -> np.ndarray:
        """One a track, (N,)."""
        return self.array("scores")

    @property
    def evidence(self) -> Evidence:
        """The pictures of its maps, by frame of the window; none where no tracks are kept."""
        return Evidence(depth=self._pictures("depth"), motion=self._pictures("motion"))

    def _pictures(self, name: str) -> dict[int, np.ndarray]:
        try:
            return dict(zip(self.array(f"{name}_frames").tolist(), self.array(name)))
        except KeyError:
            return {}


class Parts:
    """The parts of one clip in a folder. Those that were written under another `key` or are damaged
    are nobody's, as are those after them, and go.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self.done: list[Part] = []
        known = _files(folder)
        while len(self.done) in known and self._is_ours(known[len(self.done)]):
            self.done.append(Part(known[len(self.done)]))
        for number, path in known.items():
            if number >= len(self.done):
                path.unlink()

    def _is_ours(self, path: Path) -> bool:
        try:
            with ZipFile(path) as file:
                is_whole, names = file.testzip() is None, set(file.namelist())
            state = Part(path).state if is_whole else {}
            return state["key"] == self.key and names.issuperset(map(_file_of, state["arrays"]))
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, zlib.error):
            return False

    def write(
        self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compressed: bool = True
    ) -> None:
        """Add a part: it is there as a whole or not at all."""
        path = self.folder / f".samotion-window-{len(self.done):05d}.npz"
        text = json.dumps({**state, "key": self.key, "arrays": [*arrays]}).encode()
        with replacing(path) as temporary, temporary.open("wb") as file:
            held: dict[str, Any] = {"state": np.frombuffer(text, np.uint8), **arrays}
            save = np.savez_compressed if compressed else np.savez
            save(file, **held)
        self.done.append(Part(path))

    def labels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """All labels (T,H,W) uint8, read part by part when one goes through them."""
        return cast(np.ndarray, PartArray(self.done, "labels", shape))

    def clear(self) -> None:
        """Delete them."""
        for part in self.done:
            part.path.unlink(missing_ok=True)


def _file_of(array: str) -> str:
    """As it is called in a part."""
    return f"{array}.npy"


def clear(folder: Path) -> None:
    """Delete what a killed run left in a folder."""
    for path in _files(folder).values():
        path.unlink()


def _files(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    return {
        int(match[1]): path
        for path in sorted(folder.iterdir())
        if (match := _NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
    }


class PartArray:
    """What all parts hold under one name, where an array (T,...) uint8 is expected; one part at a
    time.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: list[Part], name: str, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim = shape, len(shape)
        self._parts, self._name = parts, name
        self._held: tuple[int, Sequence[np.ndarray]] | None = None  # from the first one's place on

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in self._parts:
            yield from self._read(part)

    def __getitem__(self, number: int) -> np.ndarray:
        number = range(len(self))[number]
        if self._held is None or not 0 <= number - self._held[0] < len(self._held[1]):
            self._held = self._hold(number)
        first, held = self._held
        return np.asarray(held[number - first])

    def _hold(self, number: int) -> tuple[int, Sequence[np.ndarray]]:
        """The part that a frame lies in."""
        row = bisect_right(self._places, number) - 1
        return self._places[row], self._read(self._parts[row])

    def _read(self, part: Part) -> Sequence[np.ndarray]:
        """What a part holds, by frame."""
        return cast(Sequence[np.ndarray], part.array(self._name))

    @cached_property
    def _places(self) -> list[int]:
        """Of the first frame that each part answers."""
        return [int(part.array("place")) for part in self._parts]
