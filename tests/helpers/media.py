"""Clips and frames that tests make on the fly."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

TICK = Fraction(1, 12_800)


def quadrants(count: int = 6, hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Frames (T,H,W,3): red, green / blue, black quarters; every frame a little brighter in the
    black one.
    """
    frames = np.zeros((count, *hw, 3), np.uint8)
    h, w = hw[0] // 2, hw[1] // 2
    frames[:, :h, :w] = 250, 0, 0
    frames[:, :h, w:] = 0, 250, 0
    frames[:, h:, :w] = 0, 0, 250
    frames[:, h:, w:] = (np.arange(count, dtype=np.uint8) * 4)[:, None, None, None]
    return frames


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times_s: Iterable[float] | None = None,
    fps: int = 10,
    pixel_ratio: Fraction | None = None,
    coder: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encode frames (T,H,W,3), at `times_s` or evenly. `options` go to the container, those of
    `coder` to the codec.
    """
    ticks = [round(t / TICK) for t in times_s] if times_s is not None else None
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=coder or {})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt
        stream.codec_context.time_base = TICK if ticks else Fraction(1, fps)
        if pixel_ratio:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        for index, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (
                ticks[index] if ticks else index,
                stream.codec_context.time_base,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def spoil(path: Path, packets: Iterable[int]) -> None:
    """Write zeros over some packets of a video."""
    with av.open(str(path)) as container:
        found = [one for one in container.demux(video=0) if one.size]
        places = [(one.pos or 0, one.size) for one in found]
    data = bytearray(path.read_bytes())
    for at, size in (places[k] for k in packets):
        data[at : at + size] = bytes(size)
    path.write_bytes(data)


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a rotation or mirror into the track header of an MP4 (ISO/IEC 14496-12, 8.3.2,
    version 0).
    """
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(
        ">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30
    )
    path.write_bytes(data)


def write_images(folder: Path, frames: np.ndarray, names: Sequence[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        path = folder / (names[index] if names else f"{index:05d}.png")
        path.write_bytes(
            cv2.imencode(path.suffix, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1].tobytes()
        )
    return folder


def bad_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    """Inputs that cannot be read, and a word of what their one line must say."""
    good = write_video(folder / "good.mp4", quadrants(4))
    files = {n: folder / f"{n}.mp4" for n in ("empty", "text", "truncated", "playlist", "image")}
    files["empty"].touch()
    files["text"].write_text("The quick brown fox\n" * 500)
    files["truncated"].write_bytes(good.read_bytes()[:700])
    files["playlist"].write_text("#EXTM3U\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n")
    write_images(folder / "one", quadrants(1))
    (folder / "no frames").mkdir()
    (folder / "no frames" / "readme.txt").touch()
    mixed = write_images(folder / "mixed", quadrants(2))
    write_images(mixed, quadrants(1, (40, 64)), ["2.png"])
    broken = write_images(folder / "broken", quadrants(2))
    (broken / "00001.png").write_bytes((broken / "00001.png").read_bytes()[:60])
    (write_images(folder / "fake", quadrants(2)) / "00001.png").write_text("not a picture")
    files["image"].write_bytes((mixed / "2.png").read_bytes())
    return {
        "missing": (folder / "missing.mp4", "no such file"),
        "empty": (files["empty"], "is empty"),
        "text": (files["text"], "cannot be read as video"),
        "truncated": (files["truncated"], "cannot be read as video"),
        "playlist": (files["playlist"], "cannot be read as video"),
        "image": (files["image"], "cannot be read as video"),
        "one frame": (write_video(folder / "still.mp4", quadrants(1)), "needs at least 2 frames"),
        "no video": (write_audio(folder / "sound.mp4"), "no video stream; it holds audio"),
        "tiny": (
            write_video(folder / "tiny.mkv", quadrants(2, (8, 8)), "ffv1", "bgr0"),
            "at least 16x16",
        ),
        "device": (Path("/dev/null"), "not a regular file"),
        "one image": (folder / "one", "needs at least 2 frames"),
        "no images": (folder / "no frames", "holds no frames"),
        "mixed sizes": (mixed, "expected frames of one size"),
        "broken image": (broken, "cannot be read as an image"),
        "no image": (folder / "fake", "cannot be read as an image"),
    }
