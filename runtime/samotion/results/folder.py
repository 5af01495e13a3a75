"""The folder where one clip's results go: checked, locked, and never cleaned of what is not
ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from samotion.errors import OutputError, UsageError
from samotion.manifest import is_temporary
from samotion.results import finished
from samotion.results.names import MAX_NAME_BYTES, colmap_name, is_plain
from samotion.results.record import (
    DEFAULT_LAYERS,
    FOLDERS,
    LAYERS,
    RUN,
    OutputFolder,
    Record,
    is_result,
    owned,
    read_file,
)
from samotion.results.writers import UNASKED, WRITERS

LAYOUTS = ("clip", "davis")
LOCK = ".samotion.lock"
IN_USE = "is in use by another samotion-run"
RESERVED = (RUN, LOCK)  # names that no clip's folder may have in layout davis
# of samotion 0.1.0 before it had names of its own
_OLD_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.mp4)?")


def check_options(save: Iterable[str] | None, layout: str) -> tuple[str, ...]:
    """What a layout will hold, of `save` (None: what it holds unasked). Raises UsageError."""
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    unasked = UNASKED if layout == "clip" else ("masks",)
    kinds = unasked if save is None else _names(save)
    if unknown := [kind for kind in kinds if kind not in WRITERS]:
        raise UsageError(f"cannot save {unknown[0]!r}; choose from {', '.join(WRITERS)}")
    if layout == "davis" and kinds != ("masks",):
        raise UsageError(f"layout davis holds masks only; got save {','.join(kinds) or 'nothing'}")
    return kinds


def check_layers(overlay: Iterable[str] | None) -> tuple[str, ...]:
    """What an overlay will show, of `overlay` (None: what it shows unasked). Raises UsageError."""
    layers = DEFAULT_LAYERS if overlay is None else _names(overlay)
    if unknown := [layer for layer in layers if layer not in LAYERS]:
        raise UsageError(f"an overlay cannot show {unknown[0]!r}; choose from {', '.join(LAYERS)}")
    return layers


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """Each name once; a text is one name."""
    return tuple(dict.fromkeys([given] if isinstance(given, str) else given))


def locate(
    folder: str | os.PathLike[str],
    name: str,
    save: Iterable[str] | None = None,
    layout: str = "clip",
    overlay: Iterable[str] | None = None,
) -> OutputFolder:
    """The folder of a clip called `name` below `folder`. Raises UsageError, also for a name that
    leads elsewhere.
    """
    kinds, layers = check_options(save, layout), check_layers(overlay)
    if not is_plain(name) or (layout == "davis" and name in RESERVED):
        raise UsageError(f"results cannot go to a folder called {name!r}; rename the clip")
    base, tree = Path(folder), Path(folder) / name
    if layout == "davis":
        return OutputFolder(base, tree, tree, name, layout, kinds, layers)
    return OutputFolder(tree, tree, tree / "masks", name, layout, kinds, layers)


def check_frame_names(folder: OutputFolder, names: Sequence[str] | None) -> None:
    """Raise OutputError for a folder's frame whose name is too long to have a mask for COLMAP, as
    is known before the work begins.
    """
    for name in names or () if "colmap" in folder.kinds else ():
        length = len(os.fsencode(colmap_name(name)))
        if length > MAX_NAME_BYTES:
            raise OutputError(
                f"the frame {name!r} has too long a name for a mask for COLMAP, which adds .png:"
                f" {length} bytes, of {MAX_NAME_BYTES} that file systems take; rename it, or save"
                " without colmap"
            )


@contextmanager
def reserve(
    folder: OutputFolder, overwrite: bool = False, request: Record | None = None
) -> Iterator[None]:
    """Check and lock an output folder before the work begins; what stays empty is removed after it.

    What a run that broke off left there is taken over; an earlier result is an OutputError without
    `overwrite`, which tells how it differs from `request` where that is given.
    """
    with disk_errors(folder.base):
        _refuse_links(folder)
        made = _make(folder.base)
    if folder.base == folder.tree and os.path.lexists(folder.base / LOCK):
        made = [folder.base]  # a killed run made it
    try:
        with _locked_folder(folder):
            with disk_errors(folder.base):
                _check(folder, overwrite, request)
                _remove_temporary(folder)
            yield
    finally:
        for new in made:
            with suppress(OSError):  # it holds results: the normal case
                new.rmdir()


def is_finished(folder: OutputFolder, request: Record) -> bool:
    """Whether the result that is asked for is there already; what a killed run left beside it is
    removed.
    """
    if not finished.is_done(folder) or finished.difference(folder, request, present(folder)):
        return False
    if os.path.lexists(folder.base / LOCK):
        with suppress(OutputError), _locked_folder(folder):
            _remove_temporary(folder)
    return True


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Name the folder and the way out when the system refuses to write."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write results to {str(folder)!r}: {reason}; free it or choose another -o"
        ) from error


def present(folder: OutputFolder) -> set[str]:
    """Files below the clip's folder, relative to run.json's; hidden files are nobody's concern, and
    results of other clips in folders of their own are theirs.
    """
    relative = set()
    for root, folders, files in os.walk(folder.tree):
        folders[:] = [name for name in folders if not _is_anothers(folder, Path(root, name))]
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        visible = [Path(root) / name for name in (*files, *links) if name[0] != "."]
        relative |= {path.relative_to(folder.base).as_posix() for path in visible}
    return relative - {RUN} if folder.tree == folder.base else relative


def delete(folder: OutputFolder, files: Iterable[str]) -> None:
    """Delete files (relative to run.json's folder), and folders of ours that are left empty."""
    for file in files:
        (folder.base / file).unlink()
    ours = {(folder.base / file).parent for file in owned(folder)} | {folder.masks}
    for inside in _folders(folder):
        if inside in ours - {folder.base}:
            with suppress(OSError):  # not empty
                inside.rmdir()


@contextmanager
def locked(path: Path, in_use: str) -> Iterator[None]:
    """Keep others out by the lock file `path`. The system drops the lock of a process that dies,
    and its file is taken over. Raises OutputError that says `in_use`.
    """
    from filelock import FileLock, Timeout

    refuse_links(path)
    lock = FileLock(path, timeout=0)
    with disk_errors(path.parent):
        try:
            lock.acquire()
        except Timeout as error:
            raise OutputError(f"{in_use}; wait, or change -o") from error
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        lock.release()


def _locked_folder(folder: OutputFolder) -> AbstractContextManager[None]:
    return locked(folder.base / LOCK, f"{str(folder.base)!r} {IN_USE}")


def _refuse_links(folder: OutputFolder) -> None:
    """Links inside -o may lead out of it; -o itself may be one."""
    refuse_links(folder.tree, folder.masks, folder.record)


def refuse_links(*paths: Path) -> None:
    """Raise OutputError for the first of these paths that is a link."""
    for path in paths:
        if path.is_symlink():
            raise OutputError(
                f"{str(path)!r} is a link, and samotion writes through none; remove it, or"
                f" change -o"
            )


def _make(folder: Path) -> list[Path]:
    """Make a folder and its parents; the ones that are new, innermost first."""
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def _check(folder: OutputFolder, overwrite: bool, request: Record | None) -> None:
    here = present(folder)
    links = {file for file in here if (folder.base / file).is_symlink()}
    foreign = sorted(here - owned(folder) | links)
    if _has_bytes(folder.record) and read_file(folder) is None:
        foreign.append(RUN)
    if foreign:
        _refuse_other_layout(folder, foreign[0])
        raise OutputError(
            f"{str(folder.tree)!r} holds {foreign[0]!r}, which samotion did not write; choose"
            f" another folder with -o"
        )
    if finished.is_kept(folder) and not overwrite:
        how = finished.difference(folder, request, here) if request else ""
        raise OutputError(
            f"{str(folder.tree)!r} holds an earlier result{how and ' ' + how};"
            " use --overwrite (in Python overwrite=True), or another folder with -o"
        )


def _has_bytes(file: Path) -> bool:
    """Whether a file is there with something in it, or a pipe or the like; a machine that went down
    leaves empty ones.
    """
    return file.exists() and (not file.is_file() or file.stat().st_size > 0)


def _refuse_other_layout(folder: OutputFolder, file: str) -> None:
    """Raise OutputError if a run in the other layout wrote a file that is in the way."""
    (layout,) = {*LAYOUTS} - {folder.layout}
    other = locate(folder.tree.parent, folder.name, layout=layout)
    if folder.base / file in {other.record, *(other.base / one for one in owned(other))}:
        raise OutputError(
            f"{str(folder.tree)!r} holds a result in layout {layout}; choose another folder with -o"
        )


def _remove_temporary(folder: OutputFolder) -> None:
    """Delete what a killed run had half written: files whose names only samotion gives."""
    ours = owned(folder) | {RUN}
    for parent in {folder.base, *_folders(folder)}:
        for path in _plain_files(parent):
            if is_temporary(path.name) or _stood_for(path, folder.base) in ours:
                path.unlink()


def _folders(folder: OutputFolder) -> list[Path]:
    """The clip's folder, after those in it; links are none."""
    if not folder.tree.is_dir():
        return []
    with os.scandir(folder.tree) as entries:
        inside = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    return [*(one for one in inside if not _is_anothers(folder, one)), folder.tree]


def _is_anothers(folder: OutputFolder, inside: Path) -> bool:
    """Whether a folder in a clip's holds another clip's result, where this one has no files."""
    has_files = inside.parent == folder.tree and inside.name in FOLDERS
    return not has_files and is_result(inside)


def _plain_files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]


def _stood_for(path: Path, base: Path) -> str | None:
    """The file that an old temporary one was to become, relative to `base`:
    .overlay.1a2b3c4d.mp4 was overlay.mp4.
    """
    match = _OLD_TEMPORARY.fullmatch(path.name)
    return (
        (path.parent / (match[1] + (match[2] or ""))).relative_to(base).as_posix()
        if match
        else None
    )
