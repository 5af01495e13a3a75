"""An overlay keeps the sound of its clip, in step, whatever it comes as."""

from __future__ import annotations

import itertools
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import media
from helpers.made_result import without_objects
from samotion.clips.survey import DEFAULT
from samotion.clips.video import read_clip
from samotion.results import sound
from samotion.results import write as output
from samotion.results.result import Result

RATE, FPS = 44_100, 24
BEEP_S = 0.5  # when it is loud for the first time


def clip_with_sound(
    path: Path, codec: str, rate: int = RATE, layout: str = "stereo", start_frame: int = 0
) -> Path:
    """Two seconds of video, and 2.5 s of sound that is silent up to BEEP_S."""
    times = np.arange(round(2.5 * rate)) / rate
    wave = np.where(times >= BEEP_S, 0.5 * np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream(codec, rate=rate, layout=layout)
        for number, rgb in enumerate(media.quadrants(2 * FPS), start_frame):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for at in range(0, len(wave) - 1024, 1024):
            planes = np.repeat(wave[None, at : at + 1024], audio.layout.nb_channels, 0)
            samples = av.AudioFrame.from_ndarray(planes, "fltp", layout)
            samples.sample_rate, samples.pts, samples.time_base = rate, at, Fraction(1, rate)
            container.mux(audio.encode(samples))
        container.mux(audio.encode())
    return path


def overlay_of(clip: Path, folder: Path) -> tuple[Path, Result]:
    result = without_objects(clip)
    return output.write(result, folder, ["overlay"]) / "overlay.mp4", result


def heard(path: Path) -> tuple[str, float, float]:
    """The codec of a file's sound, when it is loud for the first time, and when it ends."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "mono", RATE)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        wave = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        start = frames[0].time or 0.0
        name = stream.codec_context.name
    return name, start + float(np.argmax(np.abs(wave) > 0.2)) / RATE, start + len(wave) / RATE


@pytest.mark.parametrize(
    ("file", "codec", "rate", "layout", "expected"),
    [
        ("a.mp4", "aac", RATE, "stereo", "aac"),
        ("a.mp4", "aac", 22_050, "mono", "aac"),
        ("a.mkv", "libopus", 48_000, "stereo", "opus"),
        ("a.mkv", "flac", RATE, "stereo", "flac"),
        ("a.avi", "mp3", RATE, "stereo", "mp3float"),
        ("a.ts", "aac", RATE, "stereo", "aac"),
        ("a.mov", "pcm_s16le", RATE, "stereo", "aac"),
        ("a.mkv", "pcm_s16le", 96_000, "stereo", "aac"),
        ("a.avi", "ac3", RATE, "stereo", "aac"),
        ("a.mkv", "ac3", RATE, "5.1", "aac"),
    ],
)
def test_sound_is_kept_in_step(
    tmp_path: Path, file: str, codec: str, rate: int, layout: str, expected: str
) -> None:
    clip = clip_with_sound(tmp_path / file, codec, rate, layout)
    path, result = overlay_of(clip, tmp_path / "out")
    name, beep_s, end_s = heard(path)
    assert name == expected and result.warnings == []
    _, source_s, _ = heard(clip)
    assert beep_s == pytest.approx(source_s - result.clip.timestamps_s[0], abs=0.01)
    assert end_s == pytest.approx(2, abs=0.1)  # with the pictures


@pytest.mark.parametrize(("file", "codec"), [("a.mp4", "aac"), ("a.avi", "ac3")])
def test_sound_that_goes_on_after_the_film_is_not_kept(
    tmp_path: Path, file: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clip_with_sound(tmp_path / file, codec)
    opened: list[weakref.ref[sound.Sound]] = []
    join = sound.Sound.join

    def joined(one: sound.Sound, film: Any) -> None:
        opened.append(weakref.ref(one))
        join(one, film)

    monkeypatch.setattr(sound.Sound, "join", joined)
    overlay_of(clip, tmp_path / "out")
    assert [one() for one in opened] == [None]


def test_packets_are_copied_as_they_are(tmp_path: Path) -> None:
    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(one) for one in container.demux(audio=0) if one.size]

    clip = clip_with_sound(tmp_path / "a.mp4", "aac")
    path, _ = overlay_of(clip, tmp_path / "out")
    kept, all_of_them = packets(path), packets(clip)
    assert len(kept) > 80 and kept == all_of_them[: len(kept)]


def test_sound_before_the_first_frame_is_left_out(tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "a.mp4", "aac", start_frame=FPS // 4)
    path, result = overlay_of(clip, tmp_path / "out")
    assert result.clip.timestamps_s[0] == 0.25
    assert heard(path)[1] == pytest.approx(BEEP_S - 0.25, abs=0.01)


@pytest.mark.parametrize(("file", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le")])
def test_a_part_has_its_own_sound(tmp_path: Path, file: str, codec: str) -> None:
    clip = clip_with_sound(tmp_path / file, codec)
    result = without_objects(clip, start_s=0.25, end_s=1)
    path = output.write(result, tmp_path / "out", ["overlay"]) / "overlay.mp4"
    assert len(result.clip.frames) == 18
    _, start_s, end_s = heard(path)
    assert start_s == pytest.approx(BEEP_S - 0.25, abs=0.01)
    assert end_s == pytest.approx(0.75, abs=0.06)


def test_a_clip_without_sound_has_none(tmp_path: Path) -> None:
    silent = media.write_video(tmp_path / "a.mp4", media.quadrants(4))
    path, result = overlay_of(silent, tmp_path / "out")
    with av.open(str(path)) as container:
        assert not container.streams.audio and result.warnings == []


def test_cut_pauses_take_the_sound_with_them(tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "a.mp4", "aac")
    read = read_clip(clip)
    read.timestamps_s[10:] += 100
    said: list[str] = []
    with sound.sound_of(read, said.append) as found:
        assert found is None and said == ["the overlay has no sound, for its pauses are cut"]


def test_a_change_from_five_channels_to_two_is_no_end(tmp_path: Path) -> None:
    """As in broadcasts, whose packets follow each other in one stream."""
    clip = tmp_path / "a.ts"
    parts = [clip_with_sound(tmp_path / f"{n}.ac3.mkv", "ac3", RATE, n) for n in ("5.1", "stereo")]
    with av.open(str(clip), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream("ac3", rate=RATE, layout="stereo")
        for number, rgb in enumerate(media.quadrants(4 * FPS)):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for at_s, part in zip((0, 2), parts):
            with av.open(str(part)) as source:
                packets: Any = source.demux(audio=0)
                for packet in packets:
                    if packet.size and packet.pts * packet.time_base < 2:
                        packet.pts += round(at_s / packet.time_base)
                        packet.dts, packet.stream = packet.pts, audio
                        container.mux(packet)
    path, result = overlay_of(clip, tmp_path / "out")
    name, beep_s, end_s = heard(path)
    assert (name, result.warnings) == ("aac", [])
    assert beep_s == pytest.approx(BEEP_S, abs=0.06) and end_s == pytest.approx(4, abs=0.1)


def test_a_packet_that_cannot_be_decoded_costs_itself_alone(tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "a.avi", "ac3")
    with av.open(str(clip)) as container:
        first = next(bytes(one) for one in container.demux(audio=0) if one.size)
    data = clip.read_bytes()
    clip.write_bytes(data.replace(first, bytes(len(first)), 1))
    path, result = overlay_of(clip, tmp_path / "out")
    name, beep_s, end_s = heard(path)
    assert name == "aac" and beep_s == pytest.approx(BEEP_S, abs=0.06)
    assert end_s == pytest.approx(2, abs=0.1) and len(result.warnings) == 1
    assert result.warnings[0].startswith("the overlay's sound lacks parts")


def test_a_sound_that_breaks_off_is_kept_up_to_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sound.Sound._copied

    def half(self: sound.Sound, packets: Any) -> Any:
        yield from itertools.islice(whole(self, packets), 43)
        raise av.error.InvalidDataError(1094995529, "Invalid data")

    monkeypatch.setattr(sound.Sound, "_copied", half)
    path, result = overlay_of(clip_with_sound(tmp_path / "a.mp4", "aac"), tmp_path / "out")
    assert heard(path)[1:] == pytest.approx((BEEP_S, 1), abs=0.06)
    assert result.warnings == ["the overlay's sound breaks off (Invalid data)"]


def test_the_default_track_is_heard(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    parts = [clip_with_sound(tmp_path / f"{name}.mkv", name) for name in ("flac", "ac3")]
    with av.open(str(clip), "w") as container, av.open(str(parts[0])) as pictures:
        video: Any = container.add_stream_from_template(pictures.streams.video[0])
        sources = [av.open(str(part)) for part in parts]
        tracks: Any = [container.add_stream_from_template(s.streams.audio[0]) for s in sources]
        tracks[0].disposition, tracks[1].disposition = 0, DEFAULT
        inputs: Any = [(one.demux(audio=0), to) for one, to in zip(sources, tracks)]
        for packets, target in [*inputs, (pictures.demux(video=0), video)]:
            for packet in packets:
                if packet.size:
                    packet.stream = target
                    container.mux(packet)
    path, result = overlay_of(clip, tmp_path / "out")
    assert heard(path)[0] == "aac"  # ac3, for flac would be kept
    assert result.warnings == ["of 2 audio tracks number 2 is the overlay's sound"]


def test_a_sound_that_no_film_takes_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **more: Any) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    clip = clip_with_sound(tmp_path / "a.mp4", "aac")
    monkeypatch.setattr(sound.Sound, "until", refuse)
    path, result = overlay_of(clip, tmp_path / "out")
    with av.open(str(path)) as container:
        assert not container.streams.audio and len(list(container.decode(video=0))) == 2 * FPS
    assert result.warnings == ["the overlay has no sound (ArgumentError: Invalid argument)"]
