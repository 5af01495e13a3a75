"""Ground truth on disk: DAVIS, FBMS-59 and SegTrackV2 folders become sequences; mask folders
become label maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from samotion.clips.video import IMAGE_SUFFIXES
from samotion.errors import InputError

from samotion_bench.labels import VOID, read_labels, stack_labels

ANNOTATION_FOLDERS = (
    "Annotations_unsupervised/480p",
    "Annotations/480p",
    "Annotations",
    "GroundTruth",
    "480p",
)
IMAGE_FOLDERS = ("JPEGImages/480p", "JPEGImages", "480p")
MASK_SUFFIXES = (".png", ".ppm", ".pgm", ".bmp")
ASPECT_SLACK_PX = 1.0  # what rounding a scaled side may change


@dataclass(frozen=True)
class Annotation:
    """One annotated frame: its number in the clip, from 0, and its files: one label map, or one
    mask per object.
    """

    frame: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Clip:
    """One sequence. `frames` are the names of all its frames without suffix, `images` their files
    where known.

    `coloured`: drawn as FBMS-59 is, in colours or greys on black or on white, without void.
    """

    name: str
    frames: tuple[str, ...]
    images: tuple[Path, ...]
    annotations: tuple[Annotation, ...]
    coloured: bool = False


@dataclass(frozen=True)
class Truth:
    """Annotated frames of a clip: `labels` (T,H,W) uint8 with 0 = static and void, `void`
    (T,H,W) bool.
    """

    labels: np.ndarray
    void: np.ndarray

    @property
    def objects(self) -> list[int]:
        """The labels up to the largest of the first annotated frame, as DAVIS 2017 unsupervised
        counts objects.
        """
        return list(range(1, int(self.labels[0].max(initial=0)) + 1))

    @property
    def as_movers(self) -> Truth:
        """All that moves as one label, as DAVIS 2016 is scored: any annotated value counts, void
        too.
        """
        moving = ((self.labels > 0) | self.void).astype(np.uint8)
        return Truth(moving, np.zeros_like(self.void))


def find_clips(
    annotations: Path, images: Path | None, names: list[str] | None = None
) -> list[Clip]:
    """The sequences under a folder of annotations, all of them or those named, each read by its own
    layout.

    DAVIS: SEQ/00000.png. SegTrackV2: the same, or SEQ/OBJECT/*.png, one folder of masks per object.
    FBMS-59: SEQ/*.jpg with SEQ/GroundTruth/*, a few frames annotated. The root of a data set does
    for its inner folder. Raises InputError for folders and sequences that are not there.
    """
    root = _descend(annotations, ANNOTATION_FOLDERS)
    image_root = None if images is None else _descend(images, IMAGE_FOLDERS)
    found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if missing := sorted(set(names or []) - set(found)):
        raise InputError(
            f"no annotations of {', '.join(missing)} in {str(root)!r}; it holds {_few(found)}"
        )
    if not (wanted := names or found):
        raise InputError(
            f"no sequences in {str(root)!r}; expected one folder of masks per sequence"
        )
    return [_find_clip(root / name, image_root) for name in wanted]


def read_names(path: Path) -> list[str]:
    """Sequence names from a file, one a line; empty lines and lines from # on do not count."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark before it
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of sequences {str(path)!r}: {error}") from error
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    if not (names := list(dict.fromkeys(line for line in lines if line))):
        raise InputError(f"{str(path)!r} names no sequence; expected one a line")
    return names


def read_truth(clip: Clip) -> Truth:
    """The label maps of a clip's annotated frames. 255 is void, unless 0 and 255 are all there
    is, or with colours.
    """
    files = [a.files for a in clip.annotations]
    if all(len(group) == 1 for group in files):
        labels = stack_labels(
            [read_labels(group[0]) for group in files], files[0][0].parent, clip.coloured
        )
    else:
        labels = np.stack([_join_objects(group) for group in files])
    void = labels == VOID
    labels[void] = 0
    return Truth(labels, void)


def read_found(clip: Clip, results: Path, hw: tuple[int, int]) -> np.ndarray:
    """The masks of a clip's annotated frames as label maps (T,H,W) uint8, at the size of the ground
    truth.

    Looks for `results/SEQ/*.png` and `results/SEQ/masks/*.png`, named as the clip's frames are or
    by frame number. Masks of another size are scaled (nearest) where the aspect ratio agrees.
    Raises InputError for missing masks.
    """
    folder = next(
        (p for p in (results / clip.name / "masks", results / clip.name) if p.is_dir()), None
    )
    if folder is None:
        raise InputError(
            f"no masks of {clip.name} in {str(results)!r}; expected"
            f" {str(results / clip.name / '00000.png')!r}, or --engine-dir to make them"
        )
    files = [folder / f"{name}.png" for name in _mask_names(clip, folder)]
    if absent := [file.name for file in files if not file.is_file()]:
        raise InputError(
            f"{str(folder)!r} lacks the masks of {len(absent)} of {len(files)} annotated frames"
            f" ({_few(absent)});"
            " segment them all, or let --engine-dir do it, with another --results"
        )
    labels = stack_labels([read_labels(file) for file in files], folder)
    return labels if labels.shape[1:] == hw else _scaled(labels, hw, folder)


def _find_clip(folder: Path, image_root: Path | None) -> Clip:
    if (folder / "GroundTruth").is_dir():
        return _find_fbms(folder)
    groups = [sorted_files(folder, MASK_SUFFIXES)]
    if not groups[0]:  # SegTrackV2 with several objects
        groups = [
            files
            for p in sorted(folder.iterdir(), key=natural_key)
            if (files := sorted_files(p, MASK_SUFFIXES))
        ]
    if not groups:
        raise InputError(f"no masks in {str(folder)!r}; expected 00000.png and so on")
    if any([f.stem for f in g] != [f.stem for f in groups[0]] for g in groups):
        raise InputError(
            f"the objects of {str(folder)!r} have masks of different frames; expected the same"
            f" names"
        )
    names = [f.stem for f in groups[0]]
    images = () if image_root is None else sorted_files(image_root / folder.name, IMAGE_SUFFIXES)
    if image_root is not None and not images:
        raise InputError(
            f"no frames in {str(image_root / folder.name)!r}; expected 00000.jpg and so on"
        )
    frames = [f.stem for f in images] or names
    if unknown := set(names) - set(frames):
        raise InputError(
            f"{str(folder)!r} annotates frames without an image: {_few(sorted(unknown))}"
        )
    return Clip(
        folder.name,
        tuple(frames),
        tuple(images),
        tuple(Annotation(frames.index(name), files) for name, files in zip(names, zip(*groups))),
    )


def _find_fbms(folder: Path) -> Clip:
    """FBMS-59: frames and a GroundTruth folder beside them; names end in the frame's number, and
    perhaps _gt.
    """
    images = sorted_files(folder, IMAGE_SUFFIXES)
    truths = [
        f for f in sorted_files(folder / "GroundTruth", MASK_SUFFIXES) if "PROB" not in f.name
    ]
    if not images or not truths:
        raise InputError(
            f"{str(folder)!r} holds {len(images)} frames and {len(truths)} annotations;"
            f" expected both"
        )
    position = {_last_number(f.stem): i for i, f in enumerate(images)}
    if unknown := [f.name for f in truths if _last_number(f.stem) not in position]:
        raise InputError(f"{str(folder)!r} annotates frames without an image: {_few(unknown)}")
    annotations = (Annotation(position[_last_number(f.stem)], (f,)) for f in truths)
    return Clip(
        folder.name, tuple(f.stem for f in images), images, tuple(annotations), coloured=True
    )


def sorted_files(folder: Path, suffixes: Iterable[str]) -> tuple[Path, ...]:
    """Files with one of the suffixes in natural order (2.png before 10.png); none where there is
    no folder.
    """
    if not folder.is_dir():
        return ()
    files = (
        p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")
    )
    return tuple(sorted(files, key=natural_key))


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts frame 10 after frame 9."""
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", path.name.casefold())
    ]


def _mask_names(clip: Clip, folder: Path) -> list[str]:
    """How the masks of the annotated frames are called: as the frames, or by number, from 0, where
    only that fits. Raises InputError where all frames of the clip would have to be known.
    """
    named = [clip.frames[a.frame] for a in clip.annotations]
    if "00000" in clip.frames or not (folder / "00000.png").is_file():
        return named
    if all((folder / f"{name}.png").is_file() for name in (clip.images and clip.frames) or named):
        return named
    count = len(sorted_files(folder, (".png",)))
    if not clip.images and count != len(clip.frames):
        raise InputError(
            f"{str(folder)!r} holds {count} masks from 00000.png on, and frames are annotated from"
            f" {clip.frames[0]} on, {len(clip.frames)} of them; add --images with the folder of"
            " frames, to tell which masks are theirs"
        )
    return [f"{a.frame:05d}" for a in clip.annotations]


def _join_objects(files: tuple[Path, ...]) -> np.ndarray:
    masks = [read_labels(file) > 0 for file in files]
    labels = np.zeros(masks[0].shape, np.uint8)
    for label, mask in enumerate(masks, start=1):
        if mask.shape != labels.shape:
            raise InputError(
                f"{str(files[label - 1])!r} has another size than {str(files[0])!r}; expected"
                f" one size"
            )
        labels[mask] = label
    return labels


def _scaled(labels: np.ndarray, hw: tuple[int, int], folder: Path) -> np.ndarray:
    height, width = labels.shape[1:]
    if abs(width * hw[0] / height - hw[1]) > ASPECT_SLACK_PX * max(1, hw[0] / height):
        raise InputError(
            f"masks in {str(folder)!r} are {width}x{height}, the ground truth is {hw[1]}x{hw[0]};"
            " expected the same aspect ratio"
        )
    return np.stack(
        [
            cv2.resize(frame, (hw[1], hw[0]), interpolation=cv2.INTER_NEAREST_EXACT)
            for frame in labels
        ]
    )


def _descend(root: Path, folders: tuple[str, ...]) -> Path:
    if not root.is_dir():
        raise InputError(f"no folder {str(root)!r}; expected one that holds a folder per sequence")
    return next((root / inner for inner in folders if (root / inner).is_dir()), root)


def _last_number(stem: str) -> int:
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else -1


def _few(names: list[str], shown: int = 4) -> str:
    return ", ".join(names[:shown]) + (
        f" and {len(names) - shown} more" if len(names) > shown else ""
    )
