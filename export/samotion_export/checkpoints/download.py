"""Published weights: found in a cache or fetched once, and never used with another hash than the known one."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from samotion import manifest
from samotion.commands.exits import is_disk_error
from samotion.errors import EngineError, OutputError
from samotion.manifest import sha256_of, write_atomically
from samotion.presets import Weights

from samotion_export.report import Report

BUNDLED = manifest.BUNDLED  # beside the graphs made from them
TIMEOUT_S = 30
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """`~/.cache/samotion`, or under XDG_CACHE_HOME. Files of the hub lie in Hugging Face's own cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samotion"


def source_of(weights: Weights) -> str:
    """Where a file comes from, in words."""
    if weights.bundled:
        return "bundled with samotion"
    return weights.url or f"https://huggingface.co/{weights.repo}" + (
        f" @ {weights.revision[:12]}" if weights.revision else ""
    )


def bundled_file(weights: Weights) -> Path:
    """Where a bundled file lies. Raises EngineError where this installation lacks it."""
    path = BUNDLED / weights.file
    if not weights.bundled:
        raise EngineError(f"{weights.file} is not bundled; give it with --checkpoint, or let samotion-export fetch it")
    if not path.is_file():
        raise EngineError(
            f"the bundled weights {weights.file} are missing from this installation (expected {str(path)!r});"
            " install samotion again, or choose another preset"
        )
    return path


def find(weights: Weights) -> Path | None:
    """The file where it is on this machine already, its hash not looked at."""
    path: Path | None
    if weights.bundled:
        path = BUNDLED / weights.file
    elif weights.repo is None:
        path = cache_folder() / weights.file
    else:
        path = _find_on_hub_cache(weights)
    return path if path is not None and path.is_file() else None


def fetch(net: str, weights: Weights, *, offline: bool, report: Report) -> tuple[Path, str]:
    """A net's published file and its sha256, downloaded if it must be.

    Raises EngineError for a file that cannot be had or has another hash, OutputError for a cache that cannot be
    written.
    """
    if weights.bundled:
        path = bundled_file(weights)
        return path, sha256_of(path)
    with _locked(weights, report):
        cached = find(weights)
        if cached is None and offline:
            raise EngineError(
                f"{weights.file} is not in the cache and --offline forbids fetching it; it comes from"
                f" {source_of(weights)}; give the file with --checkpoint {net}=FILE"
            )
        path = cached or _download(net, weights, report)
        report.detail(f"{weights.file}: checking {str(path)!r}")
        return path, _checked_hash(net, weights, path, cached is None, report)


def _show_licence(weights: Weights, report: Report) -> None:
    if weights.non_commercial:
        report.insist(
            f"LICENCE: {weights.file} is {weights.licence}: not for commercial use."
            f" Terms: {source_of(weights)}. Fetching it means you accept them."
        )
    report.note(f"{weights.file}: fetching from {source_of(weights)} (licence: {weights.licence})")


def _download(net: str, weights: Weights, report: Report) -> Path:
    _show_licence(weights, report)
    try:
        if weights.repo is not None:
            return _download_from_hub(weights, report)
        return _download_from_url(weights, report)
    except EngineError:
        raise
    except Exception as error:  # urllib, httpx and the hub client each raise a family of their own
        if is_disk_error(error):
            raise
        reason = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
        raise EngineError(
            f"{weights.file} could not be fetched from {source_of(weights)}: {reason[:200]};"
            f" try again, or give the file with --checkpoint {net}=FILE"
        ) from error


def _download_from_hub(weights: Weights, report: Report) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not report.animated:
        disable_progress_bars()
    return Path(hf_hub_download(str(weights.repo), weights.file, revision=weights.revision))


def _find_on_hub_cache(weights: Weights) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(weights.repo), weights.file, revision=weights.revision)
    return Path(found) if isinstance(found, str) else None


def _download_from_url(weights: Weights, report: Report) -> Path:
    """Stream to a temporary file beside the target, and rename it once it is whole."""
    target = cache_folder() / weights.file
    request = urllib.request.Request(str(weights.url), headers={"User-Agent": "samotion"})
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{weights.file}.")
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            length = response.headers.get("Content-Length")
            with report.bar(weights.file) as (progress, task):
                progress.update(task, total=int(length) if length else None)
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    progress.advance(task, len(chunk))
            if length and file.tell() != int(length):
                raise EngineError(
                    f"{weights.file}: the transfer broke off at {file.tell()} of {length} bytes; try again"
                )
        os.replace(temporary, target)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, urllib.error.HTTPError):  # it is a response too, and holds its connection open
            error.close()
        raise
    return target


def _checked_hash(net: str, weights: Weights, path: Path, downloaded: bool, report: Report) -> str:
    got = sha256_of(path)
    wanted = weights.sha256 or _recorded_hash(weights)
    if wanted is None:
        _record_hash(weights, got)
        report.note(f"{weights.file}: sha256 {got} recorded; later runs insist on it")
    elif got != wanted and weights.hash_is_advice:
        report.insist(f"warning: {weights.file} has sha256 {got}, expected {wanted}; using it all the same")
    elif got != wanted:
        ours = downloaded or weights.repo is None
        if ours:
            _remove(path)
        what = "it was removed; run again" if ours else f"delete {str(path)!r} and run again"
        raise EngineError(
            f"{weights.file} from {source_of(weights)} has sha256 {got}, expected {wanted}; {what},"
            f" or give a good file with --checkpoint {net}=FILE"
        )
    return got


def _remove(path: Path) -> None:
    """A file of the hub's cache is a link to a blob: both go, or the next run would link the same blob again."""
    blob = path.resolve()
    path.unlink()
    blob.unlink(missing_ok=True)


def _records() -> Path:
    return cache_folder() / "hashes.json"


def _record_key(weights: Weights) -> str:
    return f"{weights.repo or weights.url}/{weights.file}@{weights.revision or 'main'}"


def _read_records() -> dict[str, str]:
    try:
        records = json.loads(_records().read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EngineError(f"{str(_records())!r} is damaged ({error}); delete it and run again") from error
    return dict(records)


def _recorded_hash(weights: Weights) -> str | None:
    return _read_records().get(_record_key(weights))


def _record_hash(weights: Weights, sha256: str) -> None:
    with filelock.FileLock(cache_folder() / ".hashes.lock"):
        records = {**_read_records(), _record_key(weights): sha256}
        write_atomically(_records(), (json.dumps(records, indent=2) + "\n").encode())


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
            raise OutputError(f"the cache {str(folder)!r} cannot be written: {error.strerror}") from error
        raise
    try:
        yield
    finally:
        lock.release()
