"""Published weights: found in a cache or fetched once, never used with a hash nobody vouches
for.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from samotion import manifest
from samotion.errors import EngineError, OutputError, is_disk_error
from samotion.manifest import write_json
from samotion.presets import Weights

from samotion_export.checkpoints import transfer
from samotion_export.checkpoints.foreign import hash_of
from samotion_export.report import Report

BUNDLED = manifest.BUNDLED  # beside the graphs made from them
HUB = "https://huggingface.co"


def cache_folder() -> Path:
    """`~/.cache/samotion`, or under XDG_CACHE_HOME: where downloaded files lie."""
    return _user_cache() / "samotion"


def source_of(weights: Weights) -> str:
    """Where a file comes from, in words."""
    if weights.bundled:
        return "bundled with samotion"
    return weights.url or f"{HUB}/{weights.repo} @ {(weights.revision or '')[:12]}"


def url_of(weights: Weights) -> str:
    """The address of a file, at its pinned revision; HF_ENDPOINT names a mirror of the hub."""
    hub = os.environ.get("HF_ENDPOINT") or HUB
    return weights.url or f"{hub}/{weights.repo}/resolve/{weights.revision}/{weights.file}"


def bundled_file(weights: Weights) -> Path:
    """Where a bundled file lies. Raises EngineError where this installation lacks it."""
    path = BUNDLED / weights.file
    if not weights.bundled:
        raise EngineError(
            f"{weights.file} is not bundled; give it with --checkpoint, or let samotion-export"
            f" fetch it"
        )
    if not path.is_file():
        raise EngineError(
            f"the bundled weights {weights.file} are missing from this installation"
            f" (expected {str(path)!r}); install samotion again, or choose another preset"
        )
    return path


def find(weights: Weights) -> Path | None:
    """The file where it is on this machine already, its hash not looked at."""
    places = [BUNDLED / weights.file]
    if not weights.bundled:
        places = [cache_folder() / weights.file, *_in_hub_cache(weights)]
    return next(filter(os.path.isfile, places), None)  # False where a folder cannot be entered


def fetch(
    net: str, weights: Weights, *, offline: bool, report: Report, accept_hash: bool = False
) -> tuple[Path, str]:
    """A net's published file and its sha256, downloaded if it must be.

    `accept_hash`: take a file whose hash is not the published one, and remember that hash. Raises
    EngineError for a file that cannot be had or has another hash, OutputError for a cache that
    cannot be written.
    """
    if weights.bundled:
        path = bundled_file(weights)
        return path, hash_of(path)
    with _locked(weights, report):
        cached = find(weights)
        if cached is None and offline:
            raise EngineError(
                f"{weights.file} is not in the cache and --offline forbids fetching it; it comes"
                f" from {url_of(weights)}; give the file with --checkpoint {net}=FILE"
            )
        path = cached or _download(net, weights, report, accept_hash)
        report.detail(f"{weights.file}: checking {str(path)!r}")
        got = hash_of(path)
        if got != weights.sha256 and not _is_accepted(weights, got, accept_hash):
            origin = "" if cached else f" from {url_of(weights)}"
            again = "" if offline else "delete it and run again, "
            raise EngineError(
                f"{str(path)!r}{origin} has sha256 {got}, expected {weights.sha256}; {again}give"
                f" a good file with --checkpoint {net}=FILE, or take it with --accept-hash"
            )
        if got != weights.sha256:
            report.insist(
                f"warning: {weights.file} has sha256 {got}, not the published {weights.sha256};"
                " accepted"
            )
        return path, got


def _show_licence(weights: Weights, report: Report) -> None:
    if weights.non_commercial:
        report.insist(
            f"LICENCE: {weights.file} is {weights.licence}: not for commercial use."
            f" Terms: {source_of(weights)}. Fetching it means you accept them."
        )
    report.note(f"{weights.file}: fetching from {url_of(weights)} (licence: {weights.licence})")


def _download(net: str, weights: Weights, report: Report, accept_hash: bool) -> Path:
    _show_licence(weights, report)
    target = cache_folder() / weights.file
    size_bytes = None if accept_hash else weights.size_bytes
    try:
        transfer.download(url_of(weights), target, report, size_bytes)
    except Exception as error:  # urllib, sockets and http.client each raise a family of their own
        if is_disk_error(error):
            raise
        reason = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
        raise EngineError(
            f"{weights.file} could not be fetched from {url_of(weights)}: {reason[:200]};"
            f" try again, or give the file with --checkpoint {net}=FILE"
        ) from error
    return target


def _is_accepted(weights: Weights, got: str, accept_hash: bool) -> bool:
    """Whether the user takes a file with this hash, now or since an earlier export."""
    if got == _read_records().get(_record_key(weights)):
        return True
    if accept_hash:
        _record_hash(weights, got)
    return accept_hash


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _in_hub_cache(weights: Weights) -> Iterator[Path]:
    """Where the hub's own programs keep this file."""
    if weights.repo is not None:
        home = Path(os.environ.get("HF_HOME") or _user_cache() / "huggingface")
        hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
        folder = hub / f"models--{weights.repo.replace('/', '--')}" / "snapshots"
        yield folder / str(weights.revision) / weights.file


def _records() -> Path:
    """Hashes that a user accepted, by file."""
    return cache_folder() / "hashes.json"


def _record_key(weights: Weights) -> str:
    return f"{weights.repo or weights.url}/{weights.file}@{weights.revision}"


def _read_records() -> dict[str, str]:
    try:
        return dict(json.loads(_records().read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise EngineError(
            f"{str(_records())!r} is damaged ({error}); delete it and run again"
        ) from error


def _record_hash(weights: Weights, sha256: str) -> None:
    with filelock.FileLock(cache_folder() / ".hashes.lock"):
        records = {**_read_records(), _record_key(weights): sha256}
        write_json(_records(), records, indent=2)


@contextmanager
def _locked(weights: Weights, report: Report) -> Iterator[None]:
    """One process at a time fetches a file; the others wait and find it."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f".{weights.file}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report.note(f"{weights.file}: waiting for another process that is fetching it")
            lock.acquire()
    except OSError as error:
        if is_disk_error(error) or error.errno in (errno.EACCES, errno.EEXIST, errno.ENOTDIR):
            raise OutputError(
                f"the cache {str(folder)!r} cannot be written: {error.strerror}"
            ) from error
        raise
    try:
        yield
    finally:
        lock.release()
