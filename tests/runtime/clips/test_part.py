"""A part of a clip has the frames, numbers and times that the whole clip has there, and no more of
the file is decoded than that takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import media
from samotion.clips import decode, part, video
from samotion.clips.part import Part
from samotion.clips.source import frames_at_source
from samotion.clips.stream import Clip, Frames, fitted
from samotion.errors import InputError, UsageError

COUNT, FPS = 60, 10  # 6 s
KEYS = {"g": "12", "bf": "2", "sc_threshold": "0"}
PARTS = [(None, 2.0), (2.0, 3.5), (3.3, None), (5.7, 5.9), (0.0, 9.0)]
Times = tuple[float | None, float | None]


def noise(cells: tuple[int, int] = (6, 8)) -> np.ndarray[Any, Any]:
    """Frames that all differ, which no codec passes over; a cell has 8 x 8 px."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (COUNT, *cells, 3), np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def greys() -> np.ndarray[Any, Any]:
    """Frames whose brightness is four times their number."""
    levels = np.arange(COUNT, dtype=np.uint8) * 4
    return np.broadcast_to(levels[:, None, None, None], (COUNT, 48, 64, 3))


def within(clip: Clip, times: Times) -> np.ndarray[Any, Any]:
    """The rows of a whole clip that a part should have."""
    since = clip.timestamps_s - clip.timestamps_s[0]
    start, end = times[0] or 0.0, times[1] or np.inf
    (rows,) = np.nonzero((since > start - 1e-3) & (since < end - 1e-3))
    return rows


def check(path: Path, times: Times, max_frames: int | None = None) -> None:
    """A part equals the rows of the whole, also where its source's size is asked for."""
    whole = video.read_clip(path)
    kept = within(whole, times)
    if max_frames is not None:
        kept = kept[:: -(-len(kept) // max_frames)]
    read = partial(video.read_clip, path, start_s=times[0], end_s=times[1], max_frames=max_frames)
    got = read()
    assert got.indices.tolist() == whole.indices[kept].tolist()
    np.testing.assert_allclose(got.timestamps_s, whole.timestamps_s[kept], atol=1e-6)
    np.testing.assert_array_equal(got.frames, np.asarray(whole.frames)[kept])
    small = read(long_side_px=32)
    np.testing.assert_array_equal(list(frames_at_source(small)), np.asarray(whole.frames)[kept])
    if max_frames is None:
        assert got.warnings == whole.warnings


@pytest.mark.parametrize("times", PARTS)
@pytest.mark.parametrize(
    ("name", "codec", "coder"),
    [
        ("a.mp4", "libx264", KEYS),
        ("open.mkv", "libx264", KEYS | {"x264-params": "open-gop=1"}),
        ("later.ts", "mpeg2video", KEYS),  # whose clock does not begin with 0
        ("hidden.webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"}),
        ("stills.mov", "mjpeg", {}),
    ],
)
def test_a_part_is_what_the_whole_has_there(
    tmp_path: Path, name: str, codec: str, coder: dict[str, str], times: Times
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = media.write_video(tmp_path / name, noise(), codec, pixels, fps=FPS, coder=coder)
    check(path, times)
    check(path, times, max_frames=5)


def test_times_count_not_numbers(tmp_path: Path) -> None:
    times = np.concatenate([np.arange(30) / 30, 1 + np.arange(30) / 5])
    path = media.write_video(tmp_path / "a.mkv", noise(), times_s=times, coder=KEYS)
    check(path, (0.5, 3.0))
    assert len(video.read_clip(path, start_s=0.5, end_s=3).frames) == 15 + 10


def test_a_time_may_be_rounded(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=30)
    assert video.read_clip(path, start_s=1.033).indices[0] == 31  # 1.0333
    assert video.read_clip(path, start_s=1.067).indices[0] == 32  # 1.0667
    assert video.read_clip(path, end_s=1.067).indices[-1] == 31


@pytest.mark.parametrize("name", ["a.avi", "a.h264"])
def test_without_times_frames_are_counted(tmp_path: Path, name: str) -> None:
    path = media.write_video(tmp_path / name, noise(), fps=25, coder=KEYS)
    got = video.read_clip(path, start_s=1, end_s=2)
    assert got.indices.tolist() == list(range(25, 50))
    np.testing.assert_array_equal(got.frames, video.read_clip(path).frames[25:50])
    np.testing.assert_allclose(got.timestamps_s, np.arange(25, 50) / 25, atol=0.1)


def test_a_clock_that_is_set_back_does_not_count(tmp_path: Path) -> None:
    once = media.write_video(tmp_path / "a.ts", noise(), "mpeg2video", fps=25, coder=KEYS)
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once.read_bytes() * 2)
    got = video.read_clip(twice, start_s=2, end_s=3)
    np.testing.assert_array_equal(got.frames, video.read_clip(twice).frames[50:75])


def test_decoding_begins_at_the_keyframe_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=FPS, coder=KEYS)
    came: list[float] = []
    time = decode._time
    monkeypatch.setattr(decode, "_time", lambda picture: came.append(time(picture)) or came[-1])
    assert len(video.read_clip(path, start_s=4, end_s=4.5).frames) == 5
    assert min(came) == pytest.approx(3.6) and max(came) == pytest.approx(4.5)
    clip = video.read_clip(path, start_s=4, end_s=4.5, long_side_px=32)
    came.clear()
    assert len(list(frames_at_source(clip))) == 5
    assert min(came) == pytest.approx(3.6)
    came.clear()
    video.read_clip(path, start_s=3.6)
    assert min(came) == pytest.approx(3.6)


def test_a_codec_with_packets_that_show_nothing_is_decoded_from_the_start_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else frames could not be numbered."""
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=FPS, coder=KEYS)
    assert video.open_clip(path, start_s=4).file.span.packets == 36
    monkeypatch.setattr(part, "HIDES_FRAMES", ("h264",))
    assert video.open_clip(path, start_s=4).file.span.packets == 0
    check(path, (4, 5))


def test_frames_before_an_edit_list_begins_do_not_count(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.mp4", noise(), fps=FPS, coder=KEYS)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as out:
        old: Any = source.streams.video[0]
        new = out.add_stream_from_template(old)
        back = round(0.5 / old.time_base)  # times below 0 are not shown
        for packet in source.demux(old):
            if packet.pts is not None and packet.dts is not None:
                packet.pts -= back
                packet.dts -= back
                packet.stream = new
                out.mux(packet)
    assert len(video.read_clip(cut).frames) == COUNT - 5
    for times in ((0.0, 0.5), (0.3, 1.2), (2.0, 3.0)):
        check(cut, times)


def test_where_decoding_cannot_begin_there_it_begins_with_the_file(tmp_path: Path) -> None:
    """Pictures are refreshed stripe by stripe: it takes many before the first is whole."""
    coder = {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}
    path = media.write_video(tmp_path / "a.mp4", noise((12, 20)), fps=FPS, coder=coder)
    assert video.open_clip(path, start_s=2.6).file.span.packets == 24
    check(path, (2.6, 4.0))


def test_damage_elsewhere_costs_a_part_nothing(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=FPS, coder=KEYS)
    whole = np.asarray(video.read_clip(path).frames)
    data = bytearray(path.read_bytes())
    at = len(data) // 3
    data[at : at + 4000] = bytes(4000)
    path.write_bytes(data)
    assert video.read_clip(path).warnings
    got = video.read_clip(path, start_s=4, end_s=5)
    assert not got.warnings
    np.testing.assert_array_equal(got.frames, whole[40:50])


@pytest.mark.parametrize("bad", [(5,), (40,), (5, 40), (31, 33)])
def test_damage_leaves_each_frame_of_a_part_its_number(
    tmp_path: Path, bad: tuple[int, ...]
) -> None:
    """Pictures tell their numbers by their brightness; none comes twice, whatever is decoded anew."""
    path = media.write_video(tmp_path / "a.mov", greys(), "mjpeg", "yuvj420p", fps=FPS)
    media.spoil(path, bad)
    clip = video.read_clip(path, start_s=3, end_s=5)
    kept = [k for k in range(30, 50) if k not in bad]
    assert clip.indices.tolist() == kept
    seen = np.asarray(clip.frames).mean(axis=(1, 2, 3)) / 4
    np.testing.assert_allclose(seen, kept, atol=0.6)


@pytest.mark.parametrize(("codec", "bad"), [("mpeg2video", (40,)), ("libx265", (16, 30, 36))])
def test_numbers_of_a_damaged_part_rise(tmp_path: Path, codec: str, bad: tuple[int, ...]) -> None:
    """Also where a picture has the time of one that was lost."""
    path = tmp_path / "a.mp4"
    media.spoil(media.write_video(path, greys(), codec, fps=25, coder=KEYS), bad)
    clip = video.read_clip(path, start_s=1, end_s=1.8)
    assert (np.diff(clip.indices) > 0).all() and clip.indices[0] == 25 and clip.warnings


@pytest.mark.parametrize("fps", [1000, 4000])
def test_frames_of_a_fast_camera_are_told_apart(tmp_path: Path, fps: int) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=fps)
    clip = video.read_clip(path, start_s=20 / fps, end_s=40 / fps)
    assert clip.indices.tolist() == list(range(20, 40))


@pytest.mark.parametrize("fps", [1500, 4000])
def test_frames_of_one_time_have_numbers_of_their_own(tmp_path: Path, fps: int) -> None:
    """Matroska has times in ms."""
    path = media.write_video(tmp_path / "a.mkv", greys(), "mjpeg", "yuvj420p", fps=fps)
    clip = video.read_clip(path, start_s=20 / fps, end_s=40 / fps)
    assert len(clip.frames) > 10 and (np.diff(clip.indices) == 1).all()
    seen = np.asarray(clip.frames).mean(axis=(1, 2, 3)) / 4
    np.testing.assert_allclose(seen, clip.indices, atol=0.6)


def test_a_part_of_frames_without_times(tmp_path: Path) -> None:
    pictures = noise()
    folder = media.write_images(tmp_path / "frames", pictures)
    for source in (folder, pictures, list(pictures)):
        got = video.read_clip(source, start_s=1, end_s=2)
        assert got.indices.tolist() == list(range(24, 48))
        np.testing.assert_array_equal(got.frames, pictures[24:48])
        assert got.timestamps_s[0] == 1.0
    named = video.read_clip(folder, start_s=1, max_frames=4)
    assert named.frame_names == ("00024.png", "00033.png", "00042.png", "00051.png")
    media.write_images(folder, pictures[:1, :40], ["00030.png"])
    with pytest.raises(InputError, match=r"'00024.png' is\s+64x48"):
        video.read_clip(folder, start_s=1)


def test_a_part_of_a_clip_that_was_read(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", noise(), "ffv1", "bgr0", fps=FPS)
    clip = video.read_clip(path, start_s=1, long_side_px=32)
    got = fitted(clip, 5, 32, Part(1, 3))
    assert got.indices.tolist() == [20, 24, 28, 32, 36]
    np.testing.assert_array_equal(got.frames, clip.frames[10:30:4])
    np.testing.assert_array_equal(list(frames_at_source(got)), noise()[20:40:4])
    with pytest.raises(InputError, match=r"1 frame; .*\(from 4.9 s on, of 4.90 s\)"):
        fitted(clip, None, 32, Part(4.9))


def test_a_long_part_can_be_read_again(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", noise(), fps=FPS, coder=KEYS)
    stream = video.open_clip(path, start_s=3)
    frames = Frames(stream, (stream.count, 48, 64, 3))
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(frames), video.read_clip(path).frames[30:])


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda at: media.write_video(at / "a.mp4", noise(), fps=FPS), "5.90"),
        (lambda at: media.write_images(at / "frames", noise()), "2.46"),
    ],
)
def test_too_short_a_part_is_told(
    tmp_path: Path, make: Callable[[Path], Path], length: str
) -> None:
    path = make(tmp_path)
    for times, words in (((9, None), "from 9 s on"), ((2.0, 2.04), "from 2 s to 2.04 s")):
        with pytest.raises(InputError, match=rf"[01] frames?; .*\({words}, of {length} s\)"):
            video.open_clip(path, start_s=times[0], end_s=times[1])
    with pytest.raises(UsageError, match="end_s is 2; expected more than start_s, 3"):
        video.open_clip(path, start_s=3, end_s=2)
