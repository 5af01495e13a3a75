"""Writes small clips of several kinds with the PyAV that is installed, and reads them back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from samotion.clips.video import read_clip

KINDS = (("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.webm", "libvpx-vp9"), ("d.avi", "mpeg4"))


def pictures(count: int = 8) -> np.ndarray:
    """Grey frames (T,64,96,3), each brighter than the one before."""
    levels = np.arange(40, 40 + 20 * count, 20, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 64, 96, 3)).copy()


def write(path: Path, codec: str, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def check(path: Path, frames: np.ndarray) -> None:
    got = read_clip(path).frames
    assert got.shape == frames.shape, (path.name, got.shape)
    assert abs(got.astype(int) - frames).max() < 12, path.name


with tempfile.TemporaryDirectory() as folder:
    frames = pictures()
    for name, codec in KINDS:
        write(Path(folder, name), codec, frames)
        check(Path(folder, name), frames)
    images = Path(folder, "images")
    images.mkdir()
    for index, picture in enumerate(frames):
        cv2.imwrite(str(images / f"{index:05d}.png"), picture)
    check(images, frames)
