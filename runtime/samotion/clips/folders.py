"""Folders of frames: which files are frames, in which order, and what lies beside them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from samotion.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
JPEG_SUFFIXES = (".jpg", ".jpeg")  # pictures: a mask would not survive this compression
LABEL_WORDS = {"mask", "masks", "label", "labels", "annotation", "annotations", "matte", "alpha"}
LABEL_WORDS |= {"gt", "seg", "depth"}


def find_frames(folder: Path) -> tuple[list[Path], list[str]]:
    """The frames of a folder in natural order (2.png before 10.png), and warnings.

    Masks that lie beside them are left out. Raises InputError for a folder without frames, and
    for an entry named like a frame that is no file.
    """
    files = [p for p in folder.iterdir() if _is_image_name(p) and not p.is_dir()]
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        raise InputError(f"{str(folder)!r} holds no frames; expected {kinds} files")
    for path in sorted(files):
        _check_entry(path)
    frames, warnings = _without_twins(files)
    frames, more = _of_one_kind(frames)
    frames = in_order(frames)
    return frames, [*warnings, *more, *_gaps(frames)]


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."


def _check_entry(path: Path) -> None:
    if path.is_file():
        return
    dangling = path.is_symlink() and not path.exists()
    what = "is a link to nothing" if dangling else "is not a regular file"
    raise InputError(f"{str(path)!r} {what}; expected only frames under such names")


def _without_twins(files: list[Path]) -> tuple[list[Path], list[str]]:
    """Of 00000.jpg and 00000.png the JPEG: the other is its mask."""
    names: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        names[path.stem].append(path)
    twins = [same for same in names.values() if len(same) > 1]
    if not twins:
        return files, []
    jpegs = [p for p in files if p.suffix.lower() in JPEG_SUFFIXES]
    if sorted(p.stem for p in jpegs) != sorted(names):
        first = " and ".join(repr(p.name) for p in sorted(twins[0]))
        raise InputError(
            f"{str(files[0].parent)!r} holds several files for one frame ({first});"
            " expected one file a frame: put masks into a folder of their own"
        )
    return jpegs, [_left_out({*files} - {*jpegs})]


def _left_out(files: Collection[Path]) -> str:
    return (
        f"{len(files)} images beside the frames look like their masks and are left"
        f" out ({min(p.name for p in files)})"
    )


def _of_one_kind(files: list[Path]) -> tuple[list[Path], list[str]]:
    """Frames whose names differ in their numbers only, or a warning that they differ in more."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        kinds[re.sub(r"\d+", "0", path.name.casefold())].append(path)
    labels = {p for kind, some in kinds.items() if _names_labels(kind) for p in some}
    frames = [p for p in files if p not in labels]
    if labels and frames:
        kept, warnings = _of_one_kind(frames)
        return kept, [_left_out(labels), *warnings]
    if len(kinds) == 1:
        return files, []
    examples = ", ".join(f"{len(some)} like {min(p.name for p in some)}" for some in kinds.values())
    return files, [
        f"frames have names of {len(kinds)} kinds ({examples}); all are taken, in natural order"
    ]


def _names_labels(kind: str) -> bool:
    return not LABEL_WORDS.isdisjoint(re.findall(r"[a-z]+", kind))


def in_order(files: Sequence[Path]) -> list[Path]:
    """Numbers in names count as numbers; decimals (0.25.png) as decimals where all names do."""
    decimals = _are_decimals([p.stem for p in files])
    return sorted(files, key=lambda p: _natural_key(p.name, p.stem if decimals else None))


def _are_decimals(stems: Sequence[str]) -> bool:
    """Whether names end in decimals, rather than in two numbers such as 1.9 and 1.10."""
    parts = [re.fullmatch(r"\D*(\d+)(?:\.(\d+))?", stem) for stem in stems]
    if not all(parts):
        return False
    whole = {part[1] for part in parts if part}
    fractions = [part[2] for part in parts if part and part[2]]
    if len({len(fraction) for fraction in fractions}) == 1:
        return True
    if any(len(f) > 1 and f.endswith("0") for f in fractions):
        return False
    counted = _evenness([int(f) for f in fractions])
    return len(whole) > 1 or counted <= _evenness([float(f"0.{f}") for f in fractions])


def _evenness(values: Sequence[float]) -> float:
    """How many of the steps from one value to the next are the one that is most frequent, a share;
    1 without steps.
    """
    steps = np.diff(np.sort(values)).round(9).tolist()
    return Counter(steps).most_common(1)[0][1] / len(steps) if steps else 1.0


def _natural_key(name: str, decimal_stem: str | None) -> list[tuple[int, float, str]]:
    text = decimal_stem if decimal_stem is not None else name
    pattern = r"\d+\.\d+|\d+|\D+" if decimal_stem is not None else r"\d+|\D+"
    parts = re.findall(pattern, text.casefold(), re.ASCII)
    keys = [(0, float(p), "") if p[0] in "0123456789" else (1, 0.0, p) for p in parts]
    return [*keys, (2, 0.0, name)]


def _gaps(files: Sequence[Path]) -> list[str]:
    """The warning that numbers are left out where most follow in even steps."""
    numbers = [re.findall(r"\d+", p.stem) for p in files]
    if not all(numbers) or len({tuple(n[:-1]) for n in numbers}) > 1:
        return []
    steps = np.diff([float(n[-1]) for n in numbers])
    if not len(steps):
        return []
    usual, often = Counter(steps.tolist()).most_common(1)[0]
    (places,) = np.nonzero(steps > usual)
    if usual <= 0 or not len(places) or often < 2 or often < len(steps) / 2:
        return []
    missing = int(sum(steps[places] // usual - 1))
    after = files[int(places[0])].name
    return [f"numbers in the frames' names leap: {missing} are missing, the first after {after}"]
