"""Threads while clips run: one for NumPy, for as long as any thread of the process runs a clip, and
then as before; some for what is done beside the thread that feeds a GPU; and two for what a CPU
does piece by piece.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
MOST_WAITING = 8  # things to do: what they hold in memory is bounded
GIVES_WAY = 5  # steps of priority: a third of the time where two want it
WORKERS = 2  # threads of `mapped`; what these call uses more by itself, where it can
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds, and of how many
_lock = threading.Lock()
_runs = 0
_restore: list[Callable[[], None]] = []  # what takes the limit back


@contextmanager
def one_thread_for_numpy() -> Iterator[None]:
    """NumPy's products are small here, and its threads wait for each other: 29.5 s became 26 s on
    two idle cores, and many times as much is won where something else runs. Without threadpoolctl
    nothing changes.

    The limit holds for the process, so the first of several runs at once sets it and the last one
    takes it back, in whatever order they end.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _runs
    with _lock:
        if _runs == 0:
            _restore.append(_limit())
        _runs += 1


def _leave() -> None:
    global _runs
    with _lock:
        _runs = max(0, _runs - 1)  # a child has none of the runs that it leaves
        if _runs == 0 and _restore:
            _restore.pop()()


def _take_back_in_a_child() -> None:
    """A child that was forked while clips ran has none of those threads: the limit would stay, and
    the lock may be another thread's.
    """
    global _lock, _runs
    _lock, _runs = threading.Lock(), 0
    if _restore:
        _restore.pop()()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_back_in_a_child)


def _limit() -> Callable[[], None]:
    """Set the limit; what takes it back."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return lambda: None
    with _from_any_thread():
        limits = threadpool_limits(1, user_api="blas")

    def restore() -> None:
        with _from_any_thread():
            limits.restore_original_limits()

    return restore


@contextmanager
def _from_any_thread() -> Iterator[None]:
    """Newer versions of threadpoolctl (3.8 does) ignore all threads but the first one that set a
    limit for OpenBLAS, and the run that ends last may be in another. So no thread is the first.
    """
    import threadpoolctl

    controller = getattr(threadpoolctl, "OpenBLASController", None)
    clear = getattr(controller, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    yield
    clear(force=True)


def give_way() -> None:
    """Let this thread, and those that it starts, have a core only where others leave one; on
    Linux, where a thread has a priority of its own.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, nice + GIVES_WAY))


def core_count() -> int:
    """How many cores this process may use: those of its affinity, or its container's share."""
    may_use = getattr(os, "sched_getaffinity", None)
    cores = len(may_use(0)) if may_use else os.cpu_count() or 1
    return min(cores, _quota(cores))


def _quota(cores: int) -> int:
    """How many of some cores the quota of the control group allows, at least one; all without a
    quota.
    """
    try:
        quota_us, period_us = CPU_QUOTA.read_text().split()
        return max(1, math.ceil(int(quota_us) / int(period_us)))
    except (OSError, ValueError):  # another system, or no quota: "max 100000"
        return cores


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, which ends with them; but what they do for a generator that is dropped is
    not waited for: Python may drop it while this thread is inside one of the locks that a thread's
    end takes.
    """
    pool, dropped = ThreadPoolExecutor(count), False
    try:
        yield pool
    except GeneratorExit:
        dropped = True
        raise
    finally:
        pool.shutdown(wait=not dropped, cancel_futures=dropped)


def ahead(items: Iterable[Item], on_a_thread: bool) -> Iterator[Item]:
    """The items, each made on a thread while the one before it is used; or simply as they are."""
    if not on_a_thread:
        yield from items
        return
    source, end = iter(items), object()
    with _threads(1) as pool:
        # no variable: its error would hold it, and it the error with all that its functions held
        following: list[Future[Any]] = [pool.submit(next, source, end)]
        while (item := following.pop().result()) is not end:
            following.append(pool.submit(next, source, end))
            yield item


def mapped(
    function: Callable[[Item], Made], items: Iterable[Item], on_threads: bool = True
) -> Iterator[Made]:
    """What `function` makes of each item, in order; of the next ones on threads, while one is
    used. Small nets and pictures leave cores idle when they come one after the other.
    """
    if not on_threads:
        yield from map(function, items)
        return
    waiting: deque[Future[Made]] = deque()
    with _threads(WORKERS) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def aside(on_a_thread: bool, most_waiting: int = MOST_WAITING) -> Iterator[Callable[..., None]]:
    """`do(function, *arguments)` for things to be done in order: at once, or on a thread of their
    own. All are done when this ends; what one of them raises is raised here, or by a later `do`,
    which waits where more than `most_waiting` are to be done.
    """
    if not on_a_thread:
        yield lambda function, *arguments: function(*arguments)
        return
    waiting: deque[Future[Any]] = deque()

    def do(function: Callable[..., Any], *arguments: Any) -> None:
        waiting.append(pool.submit(function, *arguments))
        while len(waiting) > most_waiting:
            waiting.popleft().result()

    with _threads(1) as pool:
        yield do
        while waiting:
            waiting.popleft().result()
