"""samotion-live: sources, what is told of them, and what is written at the end."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers import long_scene, media
from samotion import live as session_of
from samotion.backends import engines as backends
from samotion.clips import live as sources
from samotion.clips.live import Newest, open_source
from samotion.commands import live as cli
from samotion.commands.exits import Terminated
from samotion.errors import EngineError, InputError, UsageError
from samotion.results import parts, recording
from typer.testing import CliRunner, Result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call samotion-live in an empty folder, with engines that follow what is bright."""
    engines = long_scene.engines()
    engines.open_all = lambda: None
    engines.folder, engines.manifest = Path("engines"), SimpleNamespace(engines={})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backends, "open_engines", lambda *_: nullcontext(engines))
    monkeypatch.setattr(session_of.Session.__init__, "__defaults__", (None, 8, 6, False))
    return lambda *arguments: CliRunner().invoke(cli.app, [*map(str, arguments)])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return long_scene.write_clip(tmp_path / "square", 16)


def _lines(outcome: Result) -> list[Any]:
    assert outcome.exit_code == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines() if line.startswith("{")]


def test_a_file_is_told_of_frame_by_frame_and_none_is_dropped(run: Any, clip: Path) -> None:
    outcome = run(clip, "--json")
    lines = _lines(outcome)
    assert [line["frame"] for line in lines] == list(range(16))
    assert [len(line["objects"]) for line in lines] == [0] * 7 + [1] * 9
    assert {line["dropped"] for line in lines} == {0}
    assert lines[-1]["objects"][0]["id"] == 1
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("16 frames, 0 dropped") and last.endswith("objects found: 1")


def test_a_source_too_short_to_be_searched_is_told_so(run: Any, clip: Path) -> None:
    lines = run(clip, "--frames", 3).stderr.splitlines()
    assert lines[-2].endswith("objects found: 0")
    assert lines[-1] == "it ended before the first search for objects did; let it run longer"


def test_results_are_those_of_a_run(run: Any, clip: Path) -> None:
    outcome = run(clip, "-q", "--save", "masks,overlay,coco", "--frames", 12)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.strip() == "out/square"
    out = Path("out/square")
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    masks = {f"masks/{number:03d}.png" for number in range(12)}
    assert names == masks | {"objects.json", "overlay.mp4", "coco.json", "run.json"}
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "done" and "12 frames, 0 dropped" in record["live"]
    assert record["preset"] == "fast" and record["engine_folder"] == "engines"
    assert record["arguments"]["frames"] == 12
    found = json.loads((out / "objects.json").read_text())
    assert [one["id"] for one in found["objects"]] == [1]
    assert found["objects"][0]["first_frame"] == 7


def test_raw_frames_come_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = long_scene.frames(3)

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    give(frames.tobytes() + b"half a frame")
    monkeypatch.setattr(sources, "Newest", sources.EachOne)
    with open_source("-", "80x48") as source:
        for frame in frames:
            item = source.take()
            assert item is not None and np.array_equal(item[0], frame)
        assert source.take() is None
        (warning,) = source.warnings
        assert "last 12 bytes" in warning and "80x48 has 11,520" in warning
    give(frames[0].tobytes())
    with open_source("-", "80x49") as source, pytest.raises(InputError, match="only 11,520 bytes"):
        source.take()
    give(b"")
    with open_source("-", "80x49") as source:
        assert source.take() is None and not source.warnings


def test_standard_input_may_stay_open_when_the_work_is_done() -> None:
    code = (
        "from samotion.clips.live import open_source\n"
        "with open_source('-', '20x16') as source: print(source.take()[0].shape)"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | path,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(bytes(16 * 20 * 3))
        process.stdin.flush()
        assert process.wait(60) == 0
        assert process.stdout.read() == b"(16, 20, 3)\n" and process.stderr.read() == b""


def test_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"), open_source("-", "80x48"):
        pass


def test_nothing_is_played_before_it_is_asked_for(clip: Path) -> None:
    with open_source(str(clip), realtime=True) as source:
        time.sleep(0.5)  # engines are opened
        item = source.take()
        assert item is not None and item[1] == 0 and source.dropped == 0


@pytest.mark.parametrize("saved", [[], ["--save", "masks"]])
def test_a_source_may_end_at_once(run: Any, monkeypatch: Any, saved: list[str]) -> None:
    monkeypatch.setattr(sources, "_raw", lambda *_: lambda: None)
    outcome = run("-", "--size", "80x48", *saved)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert outcome.stderr.splitlines()[-1] == "no frame came"
    assert not Path("out").exists()


def test_an_earlier_result_outlives_a_source_without_a_frame(
    run: Any, clip: Path, monkeypatch: Any
) -> None:
    assert run(clip, "-q", "--save", "masks").exit_code == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    monkeypatch.setattr(cli, "_follow", lambda *_: None)
    assert run(clip, "-q", "--save", "masks", "--overwrite").exit_code == 0
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_frames_are_called_by_their_numbers_in_the_source(
    run: Any, clip: Path, monkeypatch: Any
) -> None:
    class EverySecond(sources.EachOne):
        def take(self) -> Any:
            super().take()
            return super().take()

    monkeypatch.setattr(sources, "EachOne", EverySecond)
    assert run(clip, "-q", "--save", "masks,mots").exit_code == 0
    names = sorted(path.name for path in Path("out/square/masks").iterdir())
    assert names[:2] == ["001.png", "003.png"]
    shown = {int(line.split()[0]) for line in Path("out/square/mots.txt").read_text().splitlines()}
    assert shown and all(number % 2 == 0 for number in shown)  # from 1 there


def test_pictures_of_a_folder_keep_their_names(run: Any, clip: Path) -> None:
    assert run(clip, "-q", "--save", "images,coco", "--frames", 2).exit_code == 0
    names = ["000.png", "001.png"]
    assert sorted(path.name for path in Path("out/square/images").iterdir()) == names
    coco = json.loads(Path("out/square/coco.json").read_text())
    assert [one["file_name"] for one in coco["images"]] == names


def test_names_too_long_for_colmap_are_told_before_a_frame_is_done(run: Any, clip: Path) -> None:
    (clip / "000.png").rename(clip / f"{0:0251d}.png")
    outcome = run(clip, "--json", "--save", "colmap")
    assert (outcome.exit_code, outcome.stdout) == (7, "") and "too long a name" in outcome.stderr


def test_standard_output_is_json_alone_where_that_is_asked_for(run: Any, clip: Path) -> None:
    outcome = run(clip, "-q", "--json", "--save", "masks", "--frames", 3)
    assert outcome.exit_code == 0 and Path("out/square/masks").is_dir()
    assert [json.loads(line)["frame"] for line in outcome.stdout.splitlines()] == [0, 1, 2]
    assert outcome.stderr == ""
    outcome = run(clip, "--json", "--save", "masks", "--frames", 3, "--overwrite")
    assert "results: out/square" in outcome.stderr.splitlines()
    assert [json.loads(line)["frame"] for line in outcome.stdout.splitlines()] == [0, 1, 2]


def test_warnings_of_a_source_are_kept_with_its_results(
    run: Any, clip: Path, monkeypatch: Any
) -> None:
    follow = cli._follow

    def follow_and_warn(source: Any, *rest: Any) -> None:
        follow(source, *rest)
        source.warnings.append("the last 12 bytes are no frame")

    monkeypatch.setattr(cli, "_follow", follow_and_warn)
    outcome = run(clip, "-q", "--save", "masks", "--frames", 2)
    record = json.loads(Path("out/square/run.json").read_text())
    assert record["warnings"] == ["the last 12 bytes are no frame"]
    assert outcome.stderr.count("the last 12 bytes") == 1


def test_films_of_a_file_look_as_it_does(run: Any, tmp_path: Path) -> None:
    """HD without a colour matrix, which keeps its numbers without one, and pixels that are wide."""
    pictures = media.quadrants(3, (48, 1280))
    path = media.write_video(tmp_path / "wide.mp4", pictures, pixel_ratio=Fraction(16, 11))
    outcome = run(path, "-q", "--save", "cutout,matte,overlay")
    assert outcome.exit_code == 0
    for name in ("cutout.mov", "matte.mp4", "overlay.mp4"):
        with av.open(str(Path("out/wide") / name)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11), name
            assert next(container.decode(video=0)).colorspace == 2, name
    (warning,) = json.loads(Path("out/wide/run.json").read_text())["warnings"]
    assert warning.startswith("pixels are not square (16:11)")
    assert outcome.stderr.count(warning) == 1


def test_a_shorter_result_takes_the_place_of_a_longer_one(run: Any, clip: Path) -> None:
    for frames in (8, 3):
        assert run(clip, "-q", "--save", "masks", "--frames", frames, "--overwrite").exit_code == 0
        assert len(list(Path("out/square/masks").iterdir())) == frames


@pytest.mark.parametrize(
    "end, code",
    [
        (InputError("the camera is gone"), 3),
        (EngineError("engine 'depth' failed"), 4),
        (Terminated(), 143),
    ],
)
def test_what_came_before_a_bad_end_is_written(
    run: Any, clip: Path, monkeypatch: Any, end: BaseException, code: int
) -> None:
    follow = cli._follow

    def break_off(source: Any, *rest: Any) -> None:
        follow(source, *rest)
        raise end

    monkeypatch.setattr(cli, "_follow", break_off)
    outcome = run(clip, "-q", "--save", "masks")
    assert (outcome.exit_code, outcome.stdout.strip()) == (code, "out/square")
    assert len(outcome.stderr.splitlines()) == 1
    assert len(list(Path("out/square/masks").iterdir())) == 16
    assert json.loads(Path("out/square/run.json").read_text())["status"] == "done"


def test_frames_are_kept_where_something_shows_them(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And come back as they were, from all parts."""
    monkeypatch.setattr(recording, "PART_FRAMES", 5)
    packed: list[set[str]] = []
    flush = recording.Recording._flush

    def told(one: Any) -> None:
        packed.extend({*kept.pictures} for kept in one._kept[one._written :][:1])
        flush(one)
        assert not any(kept.pictures for kept in one._kept), "they lie on the disk"

    monkeypatch.setattr(recording.Recording, "_flush", told)
    assert run(clip, "-q", "--save", "masks,csv").exit_code == 0
    assert {"labels"} in packed and {"labels", "frames"} not in packed
    assert run(clip, "-q", "--save", "masks,images", "-o", "more").exit_code == 0
    assert {"labels", "frames"} in packed
    pictures = sorted(Path("more/square/images").iterdir())
    assert len(pictures) == 16
    for picture, source in zip(pictures, sorted(clip.iterdir())):
        shown: Any = cv2.imread(str(picture))
        wanted: Any = cv2.imread(str(source))
        assert cv2.absdiff(shown, wanted).mean() < 2
        masks = (Path(f"{out}/square/masks/{picture.stem}.png") for out in ("out", "more"))
        assert len({mask.read_bytes() for mask in masks}) == 1


def test_results_are_written_though_a_signal_comes_once_more(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = recording.Recording.write

    def signalled(*given: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        write(*given)

    monkeypatch.setattr(recording.Recording, "write", signalled)
    outcome = run(clip, "-q", "--save", "masks")
    assert outcome.exit_code == 0 and cli.STILL_WRITING in outcome.stderr
    assert len(list(Path("out/square/masks").iterdir())) == 16

    def twice(*given: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(recording.Recording, "write", twice)
    assert run(clip, "-q", "--save", "masks", "-o", "more").exit_code == 130


def test_labels_that_are_given_again_are_told(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a run's long clip."""
    add, numbers = recording.Recording.add, iter(range(1, 100_000, 255))

    def changing(one: Any, frame: np.ndarray, result: Any, number: int) -> None:
        objects = [replace(known, id=next(numbers)) for known in result.objects]
        add(one, frame, replace(result, objects=objects), number)

    monkeypatch.setattr(recording.Recording, "add", changing)
    assert run(clip, "-q", "--save", "masks").exit_code == 0
    warnings = json.loads(Path("out/square/run.json").read_text())["warnings"]
    assert any("have ids of some long gone" in one for one in warnings)


def test_a_part_that_cannot_be_written_costs_no_other(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal may come just then."""
    monkeypatch.setattr(recording, "PART_FRAMES", 5)
    write, calls = parts.Parts.write, iter(range(100))

    def broken(*given: Any, **options: Any) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        write(*given, **options)

    monkeypatch.setattr(parts.Parts, "write", broken)
    assert run(clip, "-q", "--save", "masks").exit_code == 0
    assert len(list(Path("out/square/masks").iterdir())) == 10


def test_a_disk_that_runs_full_is_named(run: Any, clip: Path, monkeypatch: Any) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parts.Parts, "write", no_space)
    outcome = run(clip, "-q", "--save", "masks")
    words = "error: cannot write results to 'out/square': No space left on device"
    assert outcome.exit_code == 7 and outcome.stderr.startswith(words)


def test_a_signal_while_a_frame_is_kept_shifts_no_other(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels are packed already, its picture is not."""
    calls = iter(range(1, 1000))

    class Packer(ThreadPoolExecutor):
        def submit(self, *given: Any, **options: Any) -> Any:
            if next(calls) == 14:
                raise KeyboardInterrupt
            return super().submit(*given, **options)

    assert run(clip, "-q", "--save", "masks,images", "-o", "whole").exit_code == 0
    monkeypatch.setattr(recording, "ThreadPoolExecutor", Packer)
    assert run(clip, "-q", "--save", "masks,images").exit_code == 0
    for kind in ("masks", "images"):
        written = sorted(Path(f"out/square/{kind}").iterdir())
        assert len(written) == 6
        for one in written:
            assert one.read_bytes() == Path(f"whole/square/{kind}/{one.name}").read_bytes()


def test_frames_of_another_size_end_a_source(run: Any, clip: Path) -> None:
    cv2.imwrite(str(clip / "010.png"), np.zeros((30, 40, 3), np.uint8))
    outcome = run(clip, "-q", "--save", "masks")
    assert outcome.exit_code == 3 and "expected frames of one size" in outcome.stderr
    assert len(list(Path("out/square/masks").iterdir())) == 10


def test_a_source_that_does_not_wait_is_read_in_a_thread(clip: Path) -> None:
    with open_source(str(clip), realtime=True) as source:
        assert isinstance(source.frames, Newest)
        taken = 0
        while source.take() is not None:
            taken += 1
        assert taken + source.dropped == 16 == source.frames.came


def test_a_clip_whose_times_begin_late_is_played_at_once() -> None:
    times = iter([(np.zeros((2, 2, 3), np.uint8), 36000 + k / 100) for k in range(4)])
    read = sources._paced(lambda: next(times, None))
    begin = time.monotonic()
    while read() is not None:
        pass
    assert 0.03 <= time.monotonic() - begin < 30


def test_a_clock_that_leaps_stops_no_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_PAUSE_S", 0.01)
    times = iter([(np.zeros((2, 2, 3), np.uint8), time_s) for time_s in (0.0, 7200, 3.0, 3.05)])
    read = sources._paced(lambda: next(times, None))
    begin = time.monotonic()
    assert [item[1] for item in iter(read, None)] == [0.0, 7200, 3.0, 3.05]
    assert 0.02 <= time.monotonic() - begin < 30


def test_frames_without_times_come_by_the_frame_rate() -> None:
    class Scaled:
        def __init__(self) -> None:
            self.times_s: list[float] = []

        def __iter__(self) -> Any:
            for time_s in (np.nan, np.nan, 0.5, np.nan):
                self.times_s.append(time_s)
                yield np.zeros((2, 2, 3), np.uint8)

    read = sources._file(Scaled(), 0.04)
    assert [item[1] for item in iter(read, None)] == pytest.approx([0, 0.04, 0.5, 0.54])


def test_a_network_that_breaks_off_is_told_without_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "rtsp://user:secret@camera/1"

    class Container:
        def __init__(self) -> None:
            codec = SimpleNamespace(options={})
            stream = SimpleNamespace(codec_context=codec, average_rate=25)
            self.streams = SimpleNamespace(video=[stream])

        def demux(self, _: Any) -> Any:
            picture = SimpleNamespace(to_ndarray=lambda format: np.zeros((4, 4, 3), np.uint8))
            yield SimpleNamespace(decode=lambda: [picture])
            raise av.error.ExitError(1414092869, "Immediate exit requested", address)

    monkeypatch.setattr(av, "open", lambda *_, **__: Container())
    fps, read = sources._network(address, [])
    assert fps == 25 and read() is not None
    silent = "the stream broke off (it was silent for 15 s)"
    with pytest.raises(InputError, match=re.escape(silent)) as raised:
        read()
    assert "secret" not in str(raised.value)


def test_a_packet_that_is_lost_ends_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a start between two keyframes."""
    path = media.write_video(tmp_path / "clip.ts", media.quadrants(12))
    opened, given = av.open(str(path)), []

    class Container:
        streams = opened.streams

        def demux(self, stream: Any) -> Any:
            broken = SimpleNamespace(decode=partial(stream.decode, av.Packet(b"\1" * 40)))
            for number, packet in enumerate(opened.demux(stream)):
                yield broken if number in (3, 5) else packet

    def open_it(address: str, **how: Any) -> Any:
        given.append((address, how))
        return Container()

    monkeypatch.setattr(av, "open", open_it)
    warnings: list[str] = []
    _, read = sources._network("UDP://Host:1", warnings)
    assert given[0][0] == "udp://Host:1"
    assert "hls" not in given[0][1]["container_options"]["format_whitelist"]
    assert len(list(iter(read, None))) >= 6
    assert warnings == ["2 packets of the stream cannot be decoded"]


def test_a_stream_of_nothing_that_can_be_decoded_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode() -> Any:  # as MJPEG's decoder for damage that looks like what it lacks
        raise av.error.PatchWelcomeError(1163346256, "Not yet implemented")

    monkeypatch.setattr(sources, "PICTURE_S", 0.02)
    warnings: list[str] = []
    packets = itertools.repeat(SimpleNamespace(decode=decode))
    with pytest.raises(av.error.PatchWelcomeError):
        next(sources._pictures(packets, warnings))
    assert len(warnings) == 1


def test_a_signal_need_not_wait_for_a_silent_server() -> None:
    let_go = threading.Event()
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        sources._aside(lambda: let_go.wait(60))
    let_go.set()
    assert sources._aside(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        sources._aside(lambda: 1 / 0)

    def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        sources._aside(late)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", buffering=0) as file:
        read = sources._raw(file, (2, 2), [])
        threading.Timer(0.1, os.write, [writer, bytes(range(12))]).start()
        item = read()
        assert item is not None and item[0].ravel().tolist() == list(range(12))
        os.close(writer)
        assert read() is None


def test_the_rate_at_the_end_is_that_of_the_whole() -> None:
    told = cli.Told()
    result: Any = SimpleNamespace(latency_s=0.0, objects=[])
    for number in range(101):
        told.add(result, 10 + number + 9 * max(0, number - 50))
    assert told.rate == pytest.approx(0.1)
    assert "101 frames, 0 dropped, 0.2 frames/s" in told.line(0)


@pytest.mark.parametrize(
    "source, size, words",
    [
        ("-", None, "raw frames need --size"),
        ("clip.mp4", "80x48", "raw frames need --size"),
        ("-", "wide", "expected WIDTHxHEIGHT"),
        ("-", "0x48", "expected WIDTHxHEIGHT"),
    ],
)
def test_a_size_goes_with_raw_frames_alone(source: str, size: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words), open_source(source, size):
        pass


def test_what_cannot_be_opened_is_told_in_one_line(tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(InputError, match="no such file"), open_source(str(tmp_path / "none.mp4")):
        pass
    for number in ("²", "9" * 11):
        with pytest.raises(InputError, match="no such file"), open_source(number):
            pass
    with pytest.raises(InputError, match="camera 99 cannot be opened"), open_source("99"):
        pass
    assert capfd.readouterr() == ("", "")  # OpenCV, too, says nothing
    address = "rtsp://user:secret@127.0.0.1:1/none"
    with pytest.raises(InputError, match="cannot be opened") as raised, open_source(address):
        pass
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_a_camera_gives_frames_in_rgb_until_it_is_unplugged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bgr = media.quadrants(1)[0, ..., ::-1]
    given = iter([(True, bgr), (False, None)])
    camera = SimpleNamespace(isOpened=lambda: True, read=lambda: next(given), get=lambda _: 12.5)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    fps, read = sources._camera(1)
    item = read()
    assert item is not None and fps == 12.5 and 0 <= item[1] < 60
    np.testing.assert_array_equal(item[0], media.quadrants(1)[0])
    assert item[0].flags.c_contiguous
    with pytest.raises(InputError, match="camera 1 gives no more frames"):
        read()


def test_a_window_shows_the_masks_until_it_is_closed(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []
    windows: list[str] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda title, _: windows.append(title))
    monkeypatch.setattr(cv2, "imshow", lambda _, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 9 else -1)
    monkeypatch.setattr(cv2, "destroyWindow", windows.remove)
    assert len(_lines(run(clip, "--json", "--show"))) == len(shown) == 9 and not windows
    frame = long_scene.frames(1)[0]
    np.testing.assert_array_equal(shown[0][28:], frame[28:])
    assert (shown[0] != frame).any(), "the figures, above"
    assert np.ptp(shown[8][28:], axis=-1).any(), "a grey picture with a mask's colour"
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 0.0)
    assert len(_lines(run(clip, "--json", "--show"))) == 1 and not windows


def test_a_window_needs_an_opencv_that_has_them(run: Any, clip: Path, monkeypatch: Any) -> None:
    def fail(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", fail)
    outcome = run(clip, "-q", "--show")
    assert outcome.exit_code == 5 and "this OpenCV has no windows" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_a_video_file_is_a_source(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", media.quadrants(4))
    with open_source(str(path)) as source:
        items = [source.take() for _ in range(5)]
    assert items[4] is None and all(items[:4]) and items[0] is not None and items[0][1] == 0
    assert source.name == "clip"


def test_looks_are_waited_for_before_a_file_alone(run: Any, clip: Path, monkeypatch: Any) -> None:
    asked = []
    begin: Any = session_of.Session.__init__

    def spy(self: Any, *arguments: Any, background: bool) -> None:
        asked.append(background)
        begin(self, *arguments, background=background)

    monkeypatch.setattr(session_of.Session, "__init__", spy)
    assert run(clip, "-q").exit_code == run(clip, "-q", "--realtime").exit_code == 0
    assert asked == [False, True]
