"""Every clip of a folder: masks, COCO and YouTube-VIS; a clip that fails costs itself alone.

python examples/batch.py CLIPS OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import samotion

SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi"}


def main(clips: str, out: str) -> None:
    """Save masks, COCO and YouTube-VIS of every clip in a folder."""
    paths = sorted(path for path in Path(clips).iterdir() if path.suffix.lower() in SUFFIXES)
    failures: dict[str, Exception] = {}
    taken: set[str] = set()
    with samotion.open_engines() as engines:
        for result in samotion.segment_clips(paths, engines, failures=failures):
            path = Path(result.clip.path or "")
            # where there is an x.mov already, x.mp4 goes to OUT/mp4/x
            place = Path(out, path.suffix[1:]) if path.stem in taken else Path(out)
            taken.add(path.stem)
            result.save(place, save=["masks", "coco", "ytvis"], overwrite=True)
            sure = [one.id for one in result.objects if one.confidence > 0.5]
            print(f"{result.clip.name}: {len(result.objects)} objects, {len(sure)} of them sure")
    for path, error in failures.items():
        print(f"{path}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
