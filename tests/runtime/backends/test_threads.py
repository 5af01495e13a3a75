"""Threads that share one opened folder: each engine is opened once, and answers each as if it
were alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers.backends import onnx_folder, open_backend
from samotion.backends import ort, threads
from samotion.backends.engines import EngineFolder
from samotion.errors import EngineError
from samotion.manifest import BUNDLED
from samotion.presets import FAST

THREADS = 4
CALLS = 20
KINDS = ("cpu", "tensorrt-8.6.0", "tensorrt-10.13.0")


def at_once(work: Callable[[int], object]) -> list[object]:
    """What `work` gives in each of some threads that begin together."""
    barrier = threading.Barrier(THREADS)

    def begin(index: int) -> object:
        barrier.wait(20)
        return work(index)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


class Slow:
    """An engine that counts how often it was opened and closed."""

    opened = closed = 0

    def __call__(self, **inputs: object) -> dict[str, object]:
        return {}

    def close(self) -> None:
        Slow.closed += 1


def test_an_engine_is_opened_once_and_closed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slow, "opened", 0)
    monkeypatch.setattr(Slow, "closed", 0)
    onnx_folder(tmp_path)

    def opener(*_: object) -> Any:
        threading.Event().wait(0.02)  # long enough for all threads to arrive
        Slow.opened += 1
        return Slow()

    engines = EngineFolder(tmp_path, "cpu", opener)
    found = at_once(lambda _: engines["depth"])
    assert Slow.opened == 1 and len({id(engine) for engine in found}) == 1
    at_once(lambda _: engines.close())
    assert Slow.closed == 1


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_one_thread(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Shapes differ from thread to thread: a context that two threads share would mix them up."""
    frames = [rng.integers(0, 256, (1, 2 + i, 3 + i, 3), np.uint8) for i in range(THREADS)]
    with open_backend(kind, tmp_path, monkeypatch) as engines:

        def work(index: int) -> None:
            for _ in range(CALLS):
                disparity = engines["depth"](frames=frames[index])["disparity"]
                np.testing.assert_array_equal(disparity, frames[index].sum(-1, dtype=np.float32))

        at_once(work)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_engines_say_so(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = open_backend(kind, tmp_path, monkeypatch)
    depth = engines["depth"]
    engines.close()
    engines.close()
    with pytest.raises(EngineError, match="are closed; open them again"):
        engines["depth"]
    with pytest.raises(EngineError, match="'depth' is closed"):
        depth(frames=np.zeros((1, 4, 4, 3), np.uint8))


def test_closing_while_another_thread_calls_ends_in_answers_or_one_error(tmp_path: Path) -> None:
    onnx_folder(tmp_path)
    engines = samotion.open_engines(tmp_path, "cpu", threads=1)
    frames = np.ones((1, 64, 64, 3), np.uint8)

    def work(index: int) -> object:
        try:
            for _ in range(CALLS):
                assert engines["depth"](frames=frames)["disparity"][0, 0, 0] == 3
                if index == 0:
                    engines.close()
        except EngineError as error:
            return "closed" in str(error)
        return True

    assert all(at_once(work))


def test_clips_segmented_at_once_get_the_labels_of_one_after_the_other(
    rng: np.random.Generator,
) -> None:
    settings = samotion.Settings(max_tracks=64)
    clips = [_moving_square(rng, speed) for speed in (4, 6)]
    with samotion.open_engines(BUNDLED, "cpu") as engines:

        def labels(clip: Any) -> Any:
            return samotion.segment_clip(clip, engines, settings).labels

        alone = [labels(clip) for clip in clips]
        with ThreadPoolExecutor(len(clips)) as pool:
            together = list(pool.map(labels, clips))
    assert any(found.any() for found in alone)
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def _moving_square(rng: np.random.Generator, speed: int) -> Any:
    """Frames (6,96,160,3): a bright textured square that moves by `speed` px a frame."""
    frames = np.repeat(_texture(rng, 96, 160)[None] // 2, 6, axis=0)
    square = _texture(rng, 32, 32) // 2 + 120
    for t, frame in enumerate(frames):
        frame[32:64, 8 + speed * t : 40 + speed * t] = square
    return frames


def _texture(rng: np.random.Generator, height: int, width: int) -> Any:
    cells = rng.integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return cells.repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize("on_a_thread", [False, True])
def test_items_made_ahead_come_in_order_and_errors_with_them(on_a_thread: bool) -> None:
    def made() -> Iterator[int]:
        yield from range(5)
        raise ValueError("no more")

    found = []
    with pytest.raises(ValueError, match="no more"):
        for item in threads.ahead(made(), on_a_thread):
            found.append(item)
    assert found == [*range(5)]


def in_turn_ahead(do: Callable[[int], object]) -> None:
    for _ in threads.ahead(map(do, range(3)), on_a_thread=True):
        pass


def in_turn_mapped(do: Callable[[int], object]) -> None:
    for _ in threads.mapped(do, range(3)):
        pass


def in_turn_aside(do: Callable[[int], object]) -> None:
    with threads.aside(on_a_thread=True) as later:
        for k in range(3):
            later(do, k)


@pytest.mark.parametrize("in_turn", [in_turn_ahead, in_turn_mapped, in_turn_aside])
def test_an_error_of_a_thread_keeps_nothing_once_it_is_told(
    in_turn: Callable[[Callable[[int], object]], None],
) -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def fail(number: int) -> None:
        array = np.zeros(number + 1)
        held.append(weakref.ref(array))
        raise ValueError(number)

    with pytest.raises(ValueError, match="0") as told:
        in_turn(fail)
    del told
    assert held and all(one() is None for one in held)


@pytest.mark.parametrize("on_a_thread", [False, True])
def test_things_aside_are_done_in_order_and_their_errors_raised(on_a_thread: bool) -> None:
    done: list[int] = []
    with threads.aside(on_a_thread) as do:
        for k in range(40):
            do(done.append, k)
    assert done == [*range(40)]
    with pytest.raises(ZeroDivisionError), threads.aside(on_a_thread) as do:
        do(divmod, 1, 0)


@pytest.mark.parametrize("on_threads", [False, True])
def test_what_is_mapped_comes_in_order_with_few_at_once_and_errors(on_threads: bool) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for k in range(99):
            taken.append(k)
            yield k

    answers = threads.mapped(lambda k: 1 / (5 - k), items(), on_threads)
    assert next(answers) == 1 / 5
    assert len(taken) <= 1 + threads.WORKERS
    assert [next(answers) for _ in range(4)] == [1 / 4, 1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """How many threads each engine is opened with, by name."""
    counts: dict[str, int | None] = {}

    def opened(name: str, path: Path, entry: object, provider: str, count: int, *_: object) -> Slow:
        counts[name] = count
        return Slow()

    monkeypatch.setattr(ort, "OrtEngine", opened)
    return counts


@pytest.mark.parametrize("many", [lambda made: threads.ahead(made, True), lambda made: made])
def test_what_is_dropped_half_way_is_not_waited_for(many: Callable[..., Iterator[int]]) -> None:
    """Python may drop it in any thread at any place: where a thread begins, to wait for the end of
    another is to wait for ever.
    """
    begun, go_on = threading.Event(), threading.Event()

    def make(number: int) -> int:
        if number:
            begun.set()
            go_on.wait()
        return number

    items = many(threads.mapped(make, range(9)))
    assert next(items) == 0 and begun.wait(10)
    dropping = threading.Thread(target=items.close, daemon=True)  # type: ignore[attr-defined]
    dropping.start()
    dropping.join(10)
    waits = dropping.is_alive()
    go_on.set()
    dropping.join()
    assert not waits


def test_engines_called_in_pairs_get_half_of_the_threads_each(
    given: dict[str, int | None],
) -> None:
    for for_clips, image in ((True, 3), (False, 6)):
        with samotion.open_engines(BUNDLED, "cpu", threads=6, for_clips=for_clips) as engines:
            assert engines["sam2_image"] and engines["sam2_track"] and engines["tracks_refine"]
        assert given == {"sam2_image": image, "sam2_track": 6, "tracks_refine": 3}
    with samotion.open_engines(BUNDLED, "cpu", threads=1) as engines:
        assert engines["tracks_refine"]
    assert given["tracks_refine"] == 1  # 0 would be all cores


def test_engines_of_large_nets_get_all_threads(
    given: dict[str, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They use them by themselves, one call at a time."""
    monkeypatch.setattr("samotion.manifest.Manifest.get_preset", lambda _: FAST)
    with samotion.open_engines(BUNDLED, "cpu", threads=6, for_clips=True) as engines:
        assert engines["sam2_image"] and engines["tracks_refine"]
    assert given == {"sam2_image": 6, "tracks_refine": 6}


FORKED = """
import os
import numpy, threadpoolctl
from samotion.backends import threads

def counts():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]

threadpoolctl.threadpool_limits(2, user_api="blas")
before = counts()
with threads.one_thread_for_numpy():
    limited, child = counts(), os.fork()
    assert child or counts() == before
if not child:
    with threads.one_thread_for_numpy():
        assert counts() == limited
assert counts() == before
if child:
    assert limited == [1] * len(before) and os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork")
def test_a_child_that_is_forked_while_a_clip_runs_has_all_threads_and_takes_part() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", FORKED], env=env, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_a_thread_gives_way_with_those_that_it_starts_and_no_other() -> None:
    def nice(*_: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = nice()
    wanted = min(19, before + threads.GIVES_WAY)
    with ThreadPoolExecutor(1, initializer=threads.give_way) as pool:
        assert pool.submit(nice).result() == wanted
        assert pool.submit(lambda: list(threads.mapped(nice, range(3)))).result() == [wanted] * 3
    assert nice() == before


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 2), ("5000 100000", 1), ("max 100000", 8), ("", 8), (None, 8)],
)
def test_a_containers_share_bounds_the_cores(tmp_path, monkeypatch, quota, expected) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(threads, "CPU_QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert threads.core_count() == expected


def test_engines_take_no_more_threads_than_a_containers_share(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, int | None]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for share, expected in ((4, 4), (64, None)):
        monkeypatch.setattr("samotion.backends.engines.core_count", lambda cores=share: cores)
        with samotion.open_engines(BUNDLED, device="cpu") as engines:
            assert engines["motion"]
        assert given == {"motion": expected}
