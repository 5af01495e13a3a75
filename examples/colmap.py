"""Images and masks of a clip for COLMAP, so that nothing that moves becomes part of the scene.

python examples/colmap.py clip.mp4 scene

Then, where COLMAP is installed, the commands that are printed.
"""

from __future__ import annotations

import shlex
import sys

import samotion


def main(clip: str, out: str) -> None:
    """Save images and masks, and print what COLMAP is to do."""
    with samotion.open_engines() as engines:
        result = samotion.segment_clip(clip, engines)
    result.save(out, save=["images", "colmap"], overwrite=True)
    scene = shlex.quote(f"{out}/{result.clip.name}")
    static = (result.labels == 0).mean()
    print(f"# {len(result.labels)} images, of which {static:.0%} is static")
    print(
        f"colmap feature_extractor --database_path {scene}/database.db --image_path {scene}/images"
        f" --ImageReader.mask_path {scene}/colmap_masks --ImageReader.single_camera 1"
    )
    print(f"colmap sequential_matcher --database_path {scene}/database.db")
    print(
        f"colmap mapper --database_path {scene}/database.db --image_path {scene}/images"
        f" --output_path {scene}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
