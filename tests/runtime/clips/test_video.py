"""Clips of all kinds come in with the right frames, numbers, times and turns; broken ones are
named as such.
"""

from __future__ import annotations

import gc
import shutil
import struct
import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers import media
from samotion.clips import decode, pictures, sizes, survey, video
from samotion.clips.part import WHOLE_FILE
from samotion.errors import InputError, UsageError

LOSSY = 12  # 8-bit levels that H.264 with subsampled colour may differ by, away from edges
FACTS = survey.Facts(10, 10.0, 0, "h264", (48, 64), False, ())
CORNERS = ((4, 4), (4, -5), (-5, 4), (-5, -5))


def corners(frame: np.ndarray[Any, Any]) -> str:
    """The colours of a frame's corners by letter: r, g, b or k (black)."""
    letters: dict[tuple[bool, ...], str] = {
        (True, False, False): "r",
        (False, True, False): "g",
        (False, False, True): "b",
    }
    bright = [tuple(bool(v > 128) for v in frame[y, x]) for y, x in CORNERS]
    return "".join(letters.get(colour, "k") for colour in bright)


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    return media.write_video(tmp_path / "clip.mp4", media.quadrants(10), movflags="+faststart")


def test_reads_frames_in_rgb_with_numbers_and_times(clip_path: Path) -> None:
    clip = video.read_clip(clip_path)
    assert clip.frames.shape == (10, 48, 64, 3) and clip.frames.dtype == np.uint8
    assert clip.source_hw == (48, 64)
    assert (clip.name, clip.path, clip.fps, clip.warnings) == ("clip", str(clip_path), 10.0, ())
    assert clip.frame_names is None
    assert clip.indices.tolist() == list(range(10))
    np.testing.assert_allclose(clip.timestamps_s, np.arange(10) / 10, atol=1e-6)
    for y, x in CORNERS:
        shown = np.asarray(clip.frames)[:, y, x].astype(int)
        assert np.abs(shown - media.quadrants(10)[:, y, x]).max() < LOSSY


def test_a_decoded_picture_goes_when_it_is_read(clip_path: Path) -> None:
    """PyAV's `side_data` and its picture hold each other: 2.3 GB of a clip in 4K waited for the
    collector.
    """
    gc.collect()
    gc.disable()
    try:
        video.read_clip(clip_path)
        held = [one for one in gc.get_objects() if isinstance(one, av.VideoFrame)]
        assert not any(one.width for one in held)  # PyAV 13 keeps an empty one
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("max_frames", "kept"), [(2, [0, 5]), (4, [0, 3, 6, 9]), (9, [0, 2, 4, 6, 8]), (10, range(10))]
)
def test_max_frames_keeps_every_kth_frame(
    clip_path: Path, max_frames: int, kept: list[int]
) -> None:
    clip = video.read_clip(clip_path, max_frames=max_frames)
    assert clip.indices.tolist() == list(kept)
    np.testing.assert_allclose(clip.timestamps_s, np.array(kept) / 10, atol=1e-6)
    brightness = np.asarray(clip.frames)[:, -5, -5].mean(-1)
    np.testing.assert_allclose(brightness, np.array(kept) * 4, atol=LOSSY / 4)


def test_longer_side_is_scaled_down_by_area(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", media.quadrants(2, (60, 120)), "ffv1", "bgr0")
    clip = video.read_clip(path, long_side_px=40)
    assert clip.frames.shape == (2, 20, 40, 3) and clip.source_hw == (60, 120)
    expected = media.quadrants(2, (60, 120))[:, :60, :120].reshape(2, 20, 3, 40, 3, 3).mean((2, 4))
    np.testing.assert_allclose(clip.frames, expected, atol=1)


def test_scaled_hw_never_scales_up() -> None:
    assert video.scaled_hw((480, 854), 1000) == (480, 854)
    assert video.scaled_hw((1080, 1920), 1000) == (562, 1000)
    assert video.scaled_hw((2000, 16), 1000) == (1000, 8)
    assert video.scaled_hw((1088, 1920), 1000) == (566, 1000)  # cut, not rounded
    assert video.scaled_hw((4001, 1), 1000) == (1000, 1)
    assert video.scaled_hw((1080, 1920), None) == (1080, 1920)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "hw"),
    [
        ("a.gif", "gif", "rgb8", (49, 65)),
        ("a.webm", "libvpx-vp9", "yuv420p", (48, 64)),
        ("a.mov", "mpeg4", "yuv420p", (48, 64)),
        ("a.avi", "mjpeg", "yuvj420p", (48, 64)),
        ("deep.mkv", "ffv1", "yuv420p10le", (49, 65)),
        ("alpha.mkv", "ffv1", "bgra", (49, 65)),
        ("odd.mp4", "libx264", "yuv444p", (49, 65)),
        ("a.ts", "mpeg2video", "yuv420p", (48, 64)),
    ],
)
def test_formats(tmp_path: Path, name: str, codec: str, pix_fmt: str, hw: tuple[int, int]) -> None:
    clip = video.read_clip(
        media.write_video(tmp_path / name, media.quadrants(5, hw), codec, pix_fmt, fps=25)
    )
    assert clip.frames.shape == (5, *hw, 3)
    assert [corners(frame) for frame in clip.frames] == ["rgbk"] * 5
    assert clip.warnings == ()


def test_grayscale(tmp_path: Path) -> None:
    clip = video.read_clip(
        media.write_video(tmp_path / "g.mkv", media.quadrants(3), "ffv1", "gray")
    )
    assert np.ptp(clip.frames, axis=-1).max() == 0 and np.ptp(clip.frames) > 100


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.54, 1.25]
    clip = video.read_clip(media.write_video(tmp_path / "v.mp4", media.quadrants(5), times_s=times))
    np.testing.assert_allclose(clip.timestamps_s, times, atol=1e-4)


def test_a_file_without_times_takes_them_from_its_frame_rate(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.h264", media.quadrants(6), fps=25)
    clip = video.read_clip(path, max_frames=3)
    assert clip.timestamps_s.tolist() == pytest.approx([0, 0.08, 0.16])
    assert "the file has no usable times; set by the frame rate of 25" in clip.warnings


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 1, -1, 0), "brkg"),  # a quarter turn clockwise, as phones held upright write it
        ((0, -1, 1, 0), "gkrb"),
        ((-1, 0, 0, -1), "kbgr"),
        ((-1, 0, 0, 1), "grkb"),
        ((0, 1, 1, 0), "rbgk"),
    ],
)
def test_display_matrix_turns_frames_upright(
    clip_path: Path, matrix: tuple[int, int, int, int], expected: str
) -> None:
    media.set_display_matrix(clip_path, *matrix)
    clip = video.read_clip(clip_path)
    assert corners(clip.frames[0]) == expected
    assert clip.source_hw == ((64, 48) if matrix[0] == 0 else (48, 64)) == clip.frames.shape[1:3]


def test_pixels_that_are_not_square_are_noted(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "wide.mp4", media.quadrants(3), pixel_ratio=Fraction(4, 3))
    assert "pixels are not square (4:3)" in video.read_clip(path).warnings[0]


def test_holds_no_more_than_the_kept_frames(tmp_path: Path) -> None:
    hw = 360, 640
    path = media.write_video(tmp_path / "long.mp4", np.zeros((60, *hw, 3), np.uint8))
    tracemalloc.start()
    clip = video.read_clip(path, max_frames=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(clip.frames) == 3
    # three kept, one or two on their way; 60 would be seven times more
    assert peak < 8 * hw[0] * hw[1] * 3


def test_folder_in_natural_order(tmp_path: Path) -> None:
    names = ["f10.png", "f9.PNG", "f2.jpg", "f1.webp", "f100.bmp"]
    frames = np.full(
        (5, 32, 40, 3), np.array([100, 90, 20, 10, 200], np.uint8)[:, None, None, None]
    )
    folder = media.write_images(tmp_path / "walk", frames, names)
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._f1.png").write_bytes(b"not a frame either")
    clip = video.read_clip(folder)
    assert np.asarray(clip.frames)[:, 5, 5, 0].tolist() == [10, 20, 90, 100, 200]
    assert (clip.name, clip.indices.tolist()) == ("walk", [0, 1, 2, 3, 4])
    assert clip.frame_names == ("f1.webp", "f2.jpg", "f9.PNG", "f10.png", "f100.bmp")
    np.testing.assert_allclose(np.diff(clip.timestamps_s), 1 / 24)
    few = video.read_clip(folder, max_frames=2)
    assert few.indices.tolist() == [0, 3] and few.frame_names == ("f1.webp", "f10.png")


def test_folder_of_gray_alpha_and_deep_images(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    gray = np.full((32, 40), 77, np.uint8)
    images: list[Any] = [gray, np.dstack([gray] * 3 + [gray * 0]), gray.astype(np.uint16) * 257]
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    assert np.all(video.read_clip(folder).frames == 77)


def test_array(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 255, (7, 20, 30, 3), np.uint8)
    clip = video.read_clip(frames, max_frames=3)
    np.testing.assert_array_equal(clip.frames, frames[::3])
    assert (clip.name, clip.path, clip.indices.tolist()) == ("clip", None, [0, 3, 6])
    for wrong in (frames[0], frames.astype(np.float32), frames[..., :2]):
        with pytest.raises(InputError, match=r"expected uint8 \[T,H,W,3\]"):
            video.read_clip(wrong)
    with pytest.raises(InputError, match="1 frame; motion needs at least 2"):
        video.read_clip(frames[:1])


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", 'quote\'s "x".mp4', "Ünïcödé-猫.mp4", "file:a,b%03d.mp4", "-dash.mp4"],
)
def test_paths(clip_path: Path, name: str) -> None:
    path = shutil.copy(clip_path, clip_path.with_name(name))
    assert video.read_clip(path).name == Path(name).stem
    frames = media.write_images(clip_path.with_name(name + " frames"), media.quadrants(2))
    assert len(video.read_clip(frames).frames) == 2


def test_titles_that_are_not_utf8(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        container.metadata["title"] = "FILM"
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for rgb in media.quadrants(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"FILM", b"F\xff\xfeM"))
    assert len(video.read_clip(tmp_path / "a.mkv").frames) == 3


def test_names() -> None:
    assert video.clip_name("/a/b.c.mp4") == "b.c"
    assert video.clip_name("/") == "clip"


def test_a_link_has_its_own_name(clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In stores of links the files that they lead to are called by their hashes."""
    blob = clip_path.rename(clip_path.with_name("9f86d081"))
    link = clip_path.with_name("walker.mp4")
    link.symlink_to(blob)
    assert video.read_clip(link).name == "walker"
    monkeypatch.chdir(clip_path.parent)
    assert video.clip_name(".") == clip_path.parent.name


def test_damaged_packets_are_skipped(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 255, (9, 64, 64, 3), np.uint8)
    path = media.write_video(tmp_path / "bad.avi", noise, "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    second = data.index(b"00dc", data.index(b"00dc") + 8) + 8
    data[second : second + 600] = bytes(600)
    path.write_bytes(data)
    clip = video.read_clip(path)
    assert len(clip.frames) == 8
    assert clip.warnings == ("of 9 frames: 1 cannot be decoded",)


def test_bad_inputs_are_named_in_one_line(tmp_path: Path) -> None:
    for case, (path, words) in media.bad_inputs(tmp_path).items():
        with pytest.raises(InputError) as caught:
            video.read_clip(path)
        message = str(caught.value)
        assert words in message and "\n" not in message and path.name in message, case
    with pytest.raises(InputError, match="path is empty"):
        video.read_clip("")


def test_limits(clip_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = media.write_images(tmp_path / "frames", media.quadrants(3))
    with pytest.raises(UsageError, match="max_frames is 1"):
        video.read_clip(clip_path, max_frames=1)
    monkeypatch.setattr(sizes, "MAX_CLIP_BYTES", 48 * 64 * 3 * 5)
    with pytest.raises(InputError, match="use --max-frames"):
        video.read_clip(clip_path)
    assert len(video.read_clip(clip_path, max_frames=5).frames) == 5
    monkeypatch.setattr(sizes, "MAX_SOURCE_FRAMES", 9)
    with pytest.raises(InputError, match="10 frames; expected at most 9"):
        video.read_clip(clip_path)
    monkeypatch.setattr(sizes, "MAX_FRAME_PIXELS", 48 * 64 - 1)
    monkeypatch.setattr(pictures, "limited", dict)  # as PyAV up to 17 has it
    for source in (clip_path, folder):
        with pytest.raises(InputError, match="frames are 64x48; expected at most 3,071 px"):
            video.read_clip(source)


@pytest.mark.skipif(decode.limited() == {}, reason="PyAV takes the limit from 18 on")
def test_a_picture_that_is_too_large_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PNG of some KB may hold gigabytes. PyAV, which looks at it first, was given no limit."""
    monkeypatch.setattr(sizes, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    folder = media.write_images(tmp_path / "frames", media.quadrants(3))
    with pytest.raises(InputError, match="its header gives no size, or an impossible one"):
        video.read_clip(folder)


def test_a_header_that_promises_too_much_is_told_the_limit(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"0" * 99)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(data)
    with pytest.raises(InputError, match=f"expected at most {sizes.MAX_FRAME_PIXELS:,} px"):
        video.read_clip(tmp_path)


def test_a_cut_png_is_named_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = media.write_images(tmp_path / "frames", media.quadrants(3))
    cut = sorted(folder.iterdir())[1]
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(InputError, match=f"{cut.name}' cannot be read as an image"):
        video.read_clip(folder)
    assert capfd.readouterr() == ("", "")


def test_frame_limit_holds_in_the_decoder(clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header may lie about the size, so the decoder has the limit as well."""
    monkeypatch.setattr(sizes, "MAX_FRAME_PIXELS", 48 * 64 - 1)
    with pytest.raises(InputError, match="cannot be read as video"):
        next(decode.frames(clip_path, FACTS, WHOLE_FILE, lambda *_: True, decode.Report()))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_damage_of_any_kind_gives_a_clip_or_one_line(
    tmp_path: Path, rng: np.random.Generator, name: str, codec: str, pix_fmt: str
) -> None:
    path = media.write_video(tmp_path / name, media.quadrants(6), codec, pix_fmt)
    whole = path.read_bytes()
    for attempt in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 8):
            data[place] = rng.integers(256)
        path.write_bytes(data[: len(data) - attempt * len(data) // 120])
        try:
            clip = video.read_clip(path)
        except InputError as error:
            assert name in str(error) and "\n" not in str(error)
        else:
            assert len(clip.frames) == len(clip.indices) >= 2
            assert (np.diff(clip.timestamps_s) > 0).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("-", "a clip cannot come from standard input"),
        ("https://example.org/a.mp4", "'https://example.org/a.mp4' is an address; download it"),
        ("rtsp://camera/1", "'rtsp://camera/1' is an address; download it"),
        ("h+t-p://me:se@cr/et@camera/1", "'h+t-p://...@camera/1' is an address; download it"),
    ],
)
def test_streams_are_refused_in_their_own_words(
    given: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        video.read_clip(given)
    assert str(caught.value).startswith(says)


def test_a_file_called_like_standard_input_is_a_file(
    clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip_path.parent)
    clip_path.rename("-")
    assert len(video.read_clip("-").frames) == 10
