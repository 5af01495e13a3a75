"""samotion-live: what moves before a camera, while it runs."""

from __future__ import annotations

import json
import statistics
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samotion import __version__
from samotion.commands import exits, options
from samotion.commands.options import Device, EngineDir, MaxObjects, Quiet, Verbose, Version
from samotion.commands.streams import note
from samotion.results.writers import OF_TRACKS, WRITERS

if TYPE_CHECKING:
    from samotion.clips.live import Source
    from samotion.live import LiveResult, Session
    from samotion.results.record import OutputFolder

SAVED = tuple(kind for kind in WRITERS if kind not in OF_TRACKS)  # a live source keeps none
RATE_FRAMES = 30  # over which frames/s are told
STILL_WRITING = "writing results; once more gives them up"
TOO_SHORT = "it ended before the first search for objects did; let it run longer"
SLOWER = ", or send a file's frames at its own pace, as ffmpeg -re does"


@dataclass
class Told:
    """What is told of a source while it runs and at its end."""

    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_FRAMES))
    ids: set[int] = field(default_factory=set)
    frames: int = 0
    begun_s: float = 0.0

    def add(self, result: LiveResult, now_s: float) -> None:
        """One more frame is done."""
        self.frames += 1
        self.begun_s = self.begun_s if self.times_s else now_s
        self.latencies_s.append(result.latency_s)
        self.times_s.append(now_s)
        self.ids.update(one.id for one in result.objects)

    @property
    def rate(self) -> float:
        """Frames/s of late."""
        return _rate(len(self.times_s), self.times_s[-1] - self.times_s[0])

    def line(self, dropped: int) -> str:
        """Of all of it."""
        if not self.frames:
            return "no frame came"
        rate = _rate(self.frames, self.times_s[-1] - self.begun_s)
        middle, most = statistics.median(self.latencies_s), max(self.latencies_s)
        return (
            f"{self.frames} frames, {dropped} dropped, {rate:.1f} frames/s; delay"
            f" {1000 * middle:.0f} ms in the middle, {1000 * most:.0f} ms at most; objects found:"
            f" {len(self.ids)}"
        )


def _rate(frames: int, spent_s: float) -> float:
    """Frames/s, from the first of them to the last."""
    return (frames - 1) / spent_s if spent_s else 0.0


def live(
    live_source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A camera's number, a video or folder of frames, rtsp://..., or - for raw RGB.",
            show_default=False,
        ),
    ],
    engine_dir: EngineDir = None,
    device: Device = "auto",
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Of the raw frames that - reads."),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option("--realtime", help="Play a file at its own pace, as a camera would."),
    ] = False,
    max_objects: MaxObjects = 10,
    frames: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Stop after so many frames.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="A window with masks, delay and frames/s; q ends it.")
    ] = False,
    save: Annotated[
        str | None,
        options.several(
            SAVED,
            metavar="NAME,NAME",
            help=f"What to write at the end, some of {', '.join(SAVED)}.",
            show_default="nothing",
        ),
    ] = None,
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="FOLDER", help="Results go to FOLDER/SOURCE.")
    ] = "out",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result of samotion.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per frame.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Follow every object that moves before a camera, frame by frame; Ctrl-C ends it."""

    def work() -> None:
        kinds = None if save is None else options.names(save)
        if not quiet:
            note(f"samotion {__version__}: opening {options.engines_at(engine_dir)}")
        from samotion.backends.engines import open_engines
        from samotion.clips.live import open_source
        from samotion.commands.details import recorded_engines
        from samotion.live import Session
        from samotion.results.folder import locate
        from samotion.settings import Settings

        wanted = Settings(max_objects=max_objects)
        with (
            _window(show) as window,
            open_source(live_source, size, realtime) as opened,
            open_engines(engine_dir, device) as engines,
            Session(engines, wanted, background=not opened.waits) as session,
        ):
            engines.open_all()
            told = Told()
            if kinds is None:
                with suppress(KeyboardInterrupt):
                    _follow(opened, session, told, window, frames, as_json)
            else:
                asked = {"size": size, "realtime": realtime, "max_objects": max_objects}
                info = {"arguments": asked | {"frames": frames}} | recorded_engines(engines)
                where = locate(out, opened.name, kinds), overwrite, info
                _record(opened, session, told, window, frames, as_json, quiet, where)
            for warning in opened.warnings:
                note(warning)
            if not quiet:
                note(told.line(opened.dropped))
                if told.frames and not session.searches:
                    hint = SLOWER * (live_source == "-") + ", or leave out --realtime" * realtime
                    note(TOO_SHORT + hint)

    exits.run_command(work, verbose)


def _follow(
    source: Source,
    session: Session,
    told: Told,
    window: Any,
    most: int | None,
    as_json: bool,
    keep: Any = None,
) -> None:
    """Frame after frame, until the source ends, the window is closed, or there are `most`."""
    import time

    while (most is None or told.frames < most) and (item := source.take()) is not None:
        frame, time_s = item
        result = session.push(frame, time_s)
        told.add(result, time.perf_counter())
        if as_json:
            print(json.dumps(_as_json(result, source)), flush=True)
        if keep is not None:
            keep(frame, result, source.number)
        if window is not None and not window(frame, result, told.rate, source.dropped):
            return


def _as_json(result: LiveResult, source: Source) -> dict[str, Any]:
    return {
        "frame": source.number,
        "time_s": round(result.time_s, 6),
        "latency_ms": round(1000 * result.latency_s, 1),
        "dropped": source.dropped,
        "objects": [asdict(one) | {"label": one.label} for one in result.objects],
    }


def _record(
    source: Source,
    session: Session,
    told: Told,
    window: Any,
    most: int | None,
    as_json: bool,
    quiet: bool,
    where: tuple[OutputFolder, bool, dict[str, Any]],
) -> None:
    """Follow, and write results as a run does, however the source ends: what came before counts."""
    from samotion.results.folder import check_frame_names, reserve
    from samotion.results.recording import Recording

    target, overwrite, info = where
    check_frame_names(target, source.frame_names)
    with reserve(target, overwrite):
        recording, ended = Recording(target, source), None
        try:
            try:
                _follow(source, session, told, window, most, as_json, recording.add)
            except KeyboardInterrupt:
                pass
            except BaseException as error:
                ended = error
            if recording.count:
                with exits.first_signal(lambda _: note(STILL_WRITING)):
                    of_run = {"live": told.line(source.dropped)} | info
                    recording.write(session.numbers, of_run)
                if not as_json:
                    print(target.tree, flush=True)
                elif not quiet:
                    note(f"results: {target.tree}")
        finally:
            recording.clear()
    if ended is not None:
        raise ended


@contextmanager
def _window(wanted: bool) -> Iterator[Any]:
    """A function that shows a frame and says whether to go on; None where none is wanted. Raises
    DeviceError where OpenCV has no windows.
    """
    if not wanted:
        yield None
        return
    import cv2

    from samotion.errors import DeviceError
    from samotion.results.colours import palette
    from samotion.results.drawing import draw
    from samotion.results.sizes import at_source

    title, colour_of = "samotion", palette()
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise DeviceError(
            "this OpenCV has no windows, as --show wants; install one that has: pip uninstall"
            " opencv-python-headless, then pip install opencv-python"
        ) from error

    def show(frame: Any, result: LiveResult, rate: float, dropped: int) -> bool:
        labels = at_source(result.labels, frame.shape[:2])
        picture = draw(frame, labels, colour_of)[..., ::-1].copy()
        text = f"{1000 * result.latency_s:.0f} ms  {rate:.1f} frames/s  {dropped} dropped"
        for colour, width in ((0, 3), (255, 1)):
            at, size = (8, 20), 0.5
            cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (colour,) * 3, width)
        cv2.imshow(title, picture)
        closed = cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1
        return not closed and cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    try:
        yield show
    finally:
        cv2.destroyWindow(title)


app = options.command_line(live)


def main() -> None:
    """The command."""
    options.start(app, "samotion-live")
