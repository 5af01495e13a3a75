"""Files that end early, or are damaged, give what is there and say so."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from helpers import media
from samotion.clips import decode, structure, video
from samotion.errors import InputError


def noise(count: int) -> np.ndarray:
    """Frames that all need about the same room in a file."""
    return np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)


def decoded(path: Path) -> int:
    """Frames that a decoder of one thread gives, whatever fails on the way."""
    count = 0
    with path.open("rb") as file, av.open(file) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
                count += len(stream.codec_context.decode(packet))
            except StopIteration:
                return count
            except av.error.FFmpegError:
                continue


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"movflags": "+faststart"}),
        ("fragments.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", {}),
        ("live.mkv", "libx264", {"live": "1"}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.flv", "libx264", {}),
        ("a.ts", "mpeg2video", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_cut_files(tmp_path: Path, name: str, codec: str, options: dict[str, Any]) -> None:
    path = media.write_video(tmp_path / name, noise(16), codec, fps=25, **options)
    assert video.read_clip(path).warnings == ()
    data = path.read_bytes()
    for part in (0.55, 0.7, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        clip = video.read_clip(path)
        assert 2 <= len(clip.frames) == decoded(path) < 16, part
        assert sum("the file ends early" in warning for warning in clip.warnings) == 1, part


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.gif", "gif", "rgb8"), ("a.apng", "apng", "rgb24"), ("a.wmv", "wmv2", "yuv420p")],
)
def test_cut_files_of_other_kinds(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = media.write_video(tmp_path / name, noise(6), codec, pix_fmt)
    assert video.read_clip(path).warnings == ()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    clip = video.read_clip(path)
    assert 2 <= len(clip.frames) < 6 and "the file ends early" in clip.warnings[0]


def test_a_cut_transport_stream_of_whole_packets(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.ts", noise(4), "mpeg2video", fps=25)
    data = path.read_bytes()
    assert not structure.is_cut(path, "mpegts")
    path.write_bytes(data + 3 * (b"\x47\x1f\xff\x10" + 184 * b"\xff"))  # as a steady rate asks for
    assert not structure.is_cut(path, "mpegts")
    path.write_bytes(data[: len(data) // 188 // 2 * 188])
    assert structure.is_cut(path, "mpegts")


def test_a_flash_video_ends_with_any_of_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.flv"
    for kind, cut in ((8, False), (9, False), (18, False), (10, True)):
        path.write_bytes(bytes([kind, 0, 0, 4]) + bytes(11) + (15).to_bytes(4, "big"))
        assert structure.is_cut(path, "flv") == cut


def test_boxes_of_large_files_have_long_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    box = b"\0\0\0\1mdat" + (40).to_bytes(8, "big") + bytes(24)
    path.write_bytes(box + b"\0\0\0\x08free")
    assert not structure.is_cut(path, "mov,mp4")
    path.write_bytes(box[:-1])
    assert structure.is_cut(path, "mov,mp4")


def test_what_follows_a_whole_recording_is_no_cut(tmp_path: Path) -> None:
    recordings: list[tuple[str, dict[str, Any]]]
    recordings = [("a.mkv", {}), ("live.mkv", {"live": "1"}), ("a.mp4", {})]
    for name, options in recordings:
        path = media.write_video(tmp_path / name, noise(4), **options)
        path.write_bytes(path.read_bytes() + bytes(100))
        assert video.read_clip(path).warnings == (), name


@pytest.mark.parametrize(
    "name, part, cut",
    [
        ("mp4", b"\0\0\0\x08free", b"\0\0\1\0free"),
        ("matroska", b"\xec\x80", b"\xec\x90"),
        ("avi", b"RIFF\2\0\0\0" + bytes(2), b"RIFF\x90\0\0\0"),
    ],
)
def test_a_file_of_nothing_but_small_parts_is_not_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: bytes, cut: bytes
) -> None:
    """Millions of them fit an upload."""
    path = tmp_path / "a"
    path.write_bytes(part * 50 + cut)
    assert structure.is_cut(path, name)
    monkeypatch.setattr(structure, "MOST_PARTS", 50)
    assert not structure.is_cut(path, name)


def test_reading_that_breaks_off_leaves_no_frame_in_the_decoder(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(9))

    def demux(stream: Any) -> Any:
        yield from itertools.islice(container.demux(stream), 9)  # without the last, empty one
        raise av.error.InvalidDataError(1094995529, "Invalid data")

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.has_b_frames
        broken: Any = SimpleNamespace(demux=demux)
        packets = decode._packets(broken, stream)
        assert sum(len(stream.codec_context.decode(packet)) for packet in packets) == 9


def test_an_index_that_is_missing_is_named(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(8))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="breaks off before its index"):
        video.read_clip(path)


@pytest.mark.parametrize(
    "codec, interlaced, ends_early, missing",
    [("h264", 0, False, 5), ("h264", 4, False, 0), ("vp8", 0, False, 0), ("vp8", 4, True, 5)],
)
def test_packets_that_may_be_no_whole_frame_are_not_missed(
    codec: str, interlaced: int, ends_early: bool, missing: int
) -> None:
    facts: Any = SimpleNamespace(codec=codec, frame_count=9, ends_early=ends_early)
    report = decode.Report(errors=1, interlaced=interlaced, times_s=[0.0, 0.1, 0.2])
    assert report.missing(facts) == missing


def test_frames_without_their_reference_are_counted(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.ts", noise(24), "libx264", fps=25)
    assert len(video.read_clip(path).frames) == 24
    data = path.read_bytes()
    hole = len(data) // 188 // 3
    path.write_bytes(data[: 188 * hole] + data[188 * (hole + 40) :])
    warnings = " ".join(video.read_clip(path).warnings)
    assert "damaged" in warnings or "missing" in warnings
