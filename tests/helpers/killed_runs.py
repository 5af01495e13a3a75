"""Write a result over and over, each time killed at the next of its file operations, then write it
once more.

python -m helpers.killed_runs FOLDER LAYOUT SAVE EVERY [before]

Every write runs in a child of its own, which sends itself SIGKILL when its n-th operation below
FOLDER is about to happen (n = 0, EVERY, 2 * EVERY and so on). The last line is of a write that was
let alone. Each line tells n, how the first write ended, how the second did, and what lies below
FOLDER then.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import cv2
from samotion.results import write as output
from samotion.results.writers import WRITERS

from helpers.made_result import make_result

CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")


def write(
    folder: Path, layout: str, save: tuple[str, ...], kill_at: int | None, overwrite: bool = False
) -> int:
    """Write in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    operations = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal operations
        if event in CHANGES and str(arguments[0]).startswith(str(folder)):
            if operations == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            operations += 1

    sys.addaudithook(count)
    try:
        output.write(make_result(), folder, save=save, layout=layout, overwrite=overwrite)
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)
    os._exit(0)


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def main() -> None:
    folder, layout, save, every = (
        Path(sys.argv[1]),
        sys.argv[2],
        tuple(sys.argv[3].split(",")),
        int(sys.argv[4]),
    )
    overwrite = sys.argv[5:] == ["before"]  # an earlier result, of all kinds, is there already
    cv2.setNumThreads(1)  # threads do not live on in a child
    before = folder.with_name("before")
    before.mkdir(parents=True)
    if overwrite:
        write(before, layout, WRITERS if layout == "clip" else ("masks",), None)
    kill_at, killed = 0, -1
    while killed:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        killed = write(folder, layout, save, kill_at, overwrite)
        again = write(folder, layout, save, None, overwrite) if killed else 0
        print(kill_at, killed, again, *sorted(below(folder)), flush=True)
        kill_at += every


if __name__ == "__main__":
    main()
