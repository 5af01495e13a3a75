"""Which video track of a file is taken, and what is said of its pictures."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import media
from samotion.clips import video
from samotion.errors import InputError

DEFAULT, COVER = 1, 1 << 10
needs_dispositions = pytest.mark.skipif(
    not hasattr(av.stream, "Disposition"), reason="PyAV tells dispositions from 14.2 on"
)


def write_tracks(path: Path, tracks: Sequence[tuple[np.ndarray, int]]) -> Path:
    """A file of several video tracks: frames (T,H,W,3) and the disposition of each."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for frames, flags in tracks:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            stream.codec_context.max_b_frames = 0
            if hasattr(av.stream, "Disposition"):
                stream.disposition = av.stream.Disposition(flags)
            streams.append(stream)
        packets = []
        for stream, (frames, _) in zip(streams, tracks):
            for index, rgb in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                packets += stream.encode(frame)
            packets += stream.encode()
        container.mux(packets)
    return path


# a transport stream whose only track turns from audio into video as it is read
TURNING = zlib.decompress(
    base64.b85decode(
        "c-nJ!5ENi=`k>0dc#whNKjZ(Q1l%1M1Q-}L@PggW!1!UN)<%{g<Msfc+nF{9{U3tB-I2k7J%E9sny0RQ$hn="
        "7K~QJOqo|;60oDTs4t#^%y#Y1}8-ATuU3hus{6wJJhg@1YaIP%gZUJKh(Cxy^3<693k1(J&h3$*Tq}fJw4+I"
        "^6`NozVSYowYr~{Q(4;UC44saPVaH=&5GO+(I1PU<>x(L>vbm@$>BG+MH{K<W?7c(1b;V-%?(jDk_`NY}X5!"
        "X){uBW#7OH01Y>^lDc<eB>aDf%z+^Jq}V2}0{QMo=Bc0IcIS4V^kp5LCy3>*t3I9~hWG#Jq0hi-XtAESC%z5"
        "|;XHV|;c(pux%x82mzz;5P&}F&O@j0;~W4cO8Ag"
    )
)
SMALL, LARGE = media.quadrants(4, (32, 48)), media.quadrants(4)


@needs_dispositions
@pytest.mark.parametrize("flags", [(0, DEFAULT), (DEFAULT, 0)])
def test_default_track_is_taken(tmp_path: Path, flags: tuple[int, int]) -> None:
    path = write_tracks(tmp_path / "a.mkv", [(SMALL, flags[0]), (LARGE, flags[1])])
    clip = video.read_clip(path)
    assert clip.source_hw == ((48, 64) if flags[1] else (32, 48))
    assert clip.warnings[0].startswith(f"of 2 video tracks number {1 + flags[1]} (")


def test_larger_track_is_taken_where_both_or_none_are_default(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mp4", [(SMALL, DEFAULT), (LARGE, DEFAULT)])
    assert video.read_clip(path).source_hw == (48, 64)


@pytest.mark.parametrize("flags", [0, DEFAULT, COVER])
def test_a_still_beside_the_video_is_not_taken(tmp_path: Path, flags: int) -> None:
    still = media.quadrants(1, (96, 128))
    path = write_tracks(tmp_path / "a.mkv", [(still, flags), (LARGE, DEFAULT)])
    clip = video.read_clip(path)
    assert clip.source_hw == (48, 64) and len(clip.frames) == 4


def test_a_still_alone_is_one_frame(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", [(LARGE[:1], DEFAULT)])
    with pytest.raises(InputError, match="1 frame; motion needs at least 2"):
        video.read_clip(path)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_hdr_is_noted(tmp_path: Path, transfer: int, name: str | None) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.color_trc = transfer
        for rgb in media.quadrants(3):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
            if hasattr(frame, "color_trc"):
                frame.color_trc = transfer
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    warnings = video.read_clip(path).warnings
    assert [f"HDR ({name})" in w for w in warnings] == ([True] if name else [])


def test_interlaced_frames_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ilme+ildct"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index, rgb in enumerate(media.quadrants(4, (64, 64))):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (warning,) = video.read_clip(path).warnings
    assert warning.startswith("4 frames are interlaced")


def test_other_sizes_are_noted(tmp_path: Path) -> None:
    parts = [
        media.write_video(tmp_path / f"{hw[0]}.ts", media.quadrants(4, hw), "mpeg2video", fps=25)
        for hw in ((48, 64), (32, 48))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = video.read_clip(path)
    assert clip.source_hw == (48, 64) and (np.diff(clip.timestamps_s) > 0).all()
    assert "have another size than the first, 64x48" in " ".join(clip.warnings)
    assert "no usable times" in " ".join(clip.warnings)


def test_a_track_that_turns_into_video_is_none(tmp_path: Path) -> None:
    """What reads it stays what it was."""
    path = tmp_path / "a.ts"
    path.write_bytes(TURNING)
    with pytest.raises(InputError, match="has no video stream; it holds audio"):
        video.read_clip(path)
