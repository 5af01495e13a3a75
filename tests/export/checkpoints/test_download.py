"""Weights are fetched once, checked against their hash, never fetched when offline; the hub is
imitated.
"""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import pytest
from samotion.contract import NETS
from samotion.errors import EngineError, OutputError
from samotion.presets import NANO, PRESETS, SAM2_SIZES, Weights
from samotion_export.checkpoints import download, transfer
from samotion_export.checkpoints.listing import table
from samotion_export.report import Report

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"weights of a net" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves `files` by path: /REPO/resolve/REVISION/FILE as the hub does, anything else
    plainly.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}  # a Content-Length other than the truth, by path
        self.content_type = "application/octet-stream"
        self.cuts: list[int] = []  # the next answers break off after so many bytes
        self.ranges = True  # answers requests for a part of a file
        self.content_range: str | None = None  # another Content-Range than the truth, "" for none
        self.validator = True  # sends an ETag
        self.requests: list[tuple[str, str]] = []  # path, Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        if self.server.ranges and wanted and self.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.server.content_range is not None:
            told = self.server.content_range
        if start and told:
            self.send_header("Content-Range", told)
        if self.server.validator:
            self.send_header("ETag", tag)
        length = self.server.announced.get(self.path, len(content) - start)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(content[start:][:cut])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The imitation, with both caches in an empty folder."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Make = Callable[..., Weights]


def on_hub(hub: Hub, content: bytes = CONTENT) -> Weights:
    hub.files[f"/owner/net/resolve/{COMMIT}/net.pt"] = content
    return Weights("net.pt", "Apache-2.0", "owner/net", COMMIT, sha256=SHA256)


def at_url(hub: Hub, content: bytes = CONTENT) -> Weights:
    hub.files["/files/plain.pth"] = content
    return Weights("plain.pth", "Apache-2.0", url=f"{hub.url}/files/plain.pth", sha256=SHA256)


def fetch(weights: Weights, offline: bool = False, accept_hash: bool = False) -> tuple[Path, str]:
    return download.fetch(
        "depth", weights, offline=offline, report=Report(), accept_hash=accept_hash
    )


def left_in_cache(tmp_path: Path) -> list[str]:
    """What lies in the cache beside locks."""
    folder = tmp_path / "cache/samotion"
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_fetched_once_then_found_without_asking(hub: Hub, make: Make) -> None:
    weights = make(hub)
    assert download.find(weights) is None
    path, sha256 = fetch(weights)
    assert path.read_bytes() == CONTENT
    assert sha256 == SHA256
    asked = len(hub.requests)
    assert asked > 0
    assert fetch(weights) == (path, SHA256)
    assert fetch(weights, offline=True) == (path, SHA256)
    assert len(hub.requests) == asked


def test_pinned_revision_is_asked_for(hub: Hub) -> None:
    fetch(on_hub(hub))
    assert [path for path, _ in hub.requests] == [f"/owner/net/resolve/{COMMIT}/net.pt"]


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_offline_names_file_origin_and_option(hub: Hub, make: Make) -> None:
    weights = make(hub)
    with pytest.raises(EngineError, match=r"--checkpoint depth=FILE") as caught:
        fetch(weights, offline=True)
    assert weights.file in str(caught.value)
    assert download.url_of(weights) in str(caught.value)
    assert hub.requests == []


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_corrupt_answer_is_refused_and_kept(hub: Hub, make: Make) -> None:
    """Until it is deleted as the line says, or taken without being fetched again."""
    bad = b"something else"
    weights = make(hub, content=bad)
    with pytest.raises(EngineError, match="delete it and run again") as caught:
        fetch(weights)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(bad).hexdigest() in str(caught.value)
    assert f" from {download.url_of(weights)} has" in str(caught.value)
    path = download.find(weights)
    assert path is not None and str(path) in str(caught.value)
    make(hub)
    with pytest.raises(EngineError, match="delete it and run again"):
        fetch(weights)
    assert fetch(weights, offline=True, accept_hash=True)[1] == hashlib.sha256(bad).hexdigest()
    path.unlink()
    assert fetch(weights)[1] == SHA256


@pytest.mark.parametrize("offline", [False, True])
def test_file_that_a_user_put_into_the_cache_stays(hub: Hub, tmp_path: Path, offline: bool) -> None:
    weights = on_hub(hub)
    path = download.cache_folder() / weights.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(EngineError, match="or take it with --accept-hash") as caught:
        fetch(weights, offline=offline)
    assert ("run again" in str(caught.value)) == (not offline)
    assert str(caught.value).startswith(f"{str(path)!r} has sha256 ")
    assert path.read_bytes() == b"mine" and hub.requests == []


def in_hub_cache(tmp_path: Path, content: bytes) -> Path:
    """A file as the hub's own programs would have left it."""
    path = tmp_path / f"cache/huggingface/hub/models--owner--net/snapshots/{COMMIT}/net.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_file_that_other_programs_cached_is_taken(hub: Hub, tmp_path: Path) -> None:
    path = in_hub_cache(tmp_path, CONTENT)
    assert fetch(on_hub(hub)) == (path, SHA256)
    assert hub.requests == []


def test_corrupt_file_that_others_cached_is_refused_and_kept(hub: Hub, tmp_path: Path) -> None:
    path = in_hub_cache(tmp_path, b"edited")
    with pytest.raises(EngineError, match="delete "):
        fetch(on_hub(hub))
    assert path.exists()


def test_cached_file_that_cannot_be_read_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = in_hub_cache(tmp_path, CONTENT)
    monkeypatch.setattr("samotion_export.checkpoints.foreign.sha256_of", denied)
    with pytest.raises(EngineError, match="cannot be read: Permission denied") as caught:
        fetch(on_hub(hub))
    assert repr(str(path)) in str(caught.value)


def test_another_hash_is_accepted_when_asked_and_remembered(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = replace(on_hub(hub, content=b"newer"), size_bytes=len(CONTENT))
    with pytest.raises(EngineError, match="server offers 5 bytes"):
        fetch(weights)
    with pytest.raises(EngineError, match="or take it with --accept-hash"):
        fetch(replace(weights, size_bytes=None))
    newer = hashlib.sha256(b"newer").hexdigest()
    path, sha256 = fetch(weights, accept_hash=True)
    assert (path.read_bytes(), sha256) == (b"newer", newer)
    assert f"{newer}, not the published {SHA256}; accepted" in capsys.readouterr().err
    assert fetch(weights)[1] == newer
    path.write_bytes(b"newest")
    with pytest.raises(EngineError, match="expected"):
        fetch(weights)


def test_damaged_record_is_named(hub: Hub, tmp_path: Path) -> None:
    weights = at_url(hub, content=b"newer")
    (tmp_path / "cache/samotion").mkdir(parents=True)
    (tmp_path / "cache/samotion/hashes.json").write_text("[1]")
    with pytest.raises(EngineError, match=r"hashes\.json.* is damaged"):
        fetch(weights)


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_absent_file_is_one_line(hub: Hub, make: Make) -> None:
    weights = make(hub)
    hub.files.clear()
    with pytest.raises(EngineError, match="could not be fetched") as caught:
        fetch(weights)
    assert "404" in str(caught.value)
    assert "--checkpoint depth=FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mirror_is_named_where_it_is_asked(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    weights = replace(on_hub(hub), licence="CC-BY-NC-4.0", non_commercial=True)
    fetch(weights)
    said = capsys.readouterr().err
    assert f"fetching from {hub.url}/owner/net/resolve/" in said
    assert f"Terms: {download.HUB}/owner/net" in said
    hub.files.clear()
    with pytest.raises(EngineError, match=f"could not be fetched from {hub.url}"):
        fetch(replace(weights, file="other.pt"))


def test_unreachable_server_is_one_line(hub: Hub) -> None:
    with pytest.raises(EngineError, match="could not be fetched"):
        fetch(replace(at_url(hub), url="http://127.0.0.1:1/plain.pth"))


def test_broken_transfer_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    weights = at_url(hub)
    hub.cuts = [1000, 2000]
    path, sha256 = fetch(weights)
    assert (path.read_bytes(), sha256) == (CONTENT, SHA256)
    assert [wanted for _, wanted in hub.requests] == ["", "bytes=1000-", "bytes=3000-"]
    assert left_in_cache(tmp_path) == ["plain.pth"]


def test_next_command_goes_on_where_the_last_one_stopped(hub: Hub, tmp_path: Path) -> None:
    weights = at_url(hub)
    hub.cuts = [100, 100, 100]
    with pytest.raises(EngineError, match="broke off at 300 of 16000 bytes; try again"):
        fetch(weights)
    assert download.find(weights) is None
    assert [name.rsplit(".", 1)[1] for name in left_in_cache(tmp_path)] == ["etag", "part"]
    assert fetch(weights)[1] == SHA256
    assert hub.requests[-1][1] == "bytes=300-"


@pytest.mark.parametrize("change", ["content", "ranges", "validator", "whole"])
def test_what_cannot_be_continued_is_fetched_anew(hub: Hub, change: str) -> None:
    """Another file by now; a server that knows no parts; one that names no version; no byte
    left.
    """
    weights = at_url(hub, content=b"older" * 5000 if change == "content" else CONTENT)
    hub.validator = change != "validator"
    hub.ranges = change != "ranges"
    hub.cuts = [100] * 3 if change != "whole" else []
    if change == "whole":
        hub.announced["/files/plain.pth"] = len(CONTENT) + 7
    with pytest.raises(EngineError, match="broke off"):
        fetch(weights)
    hub.announced.clear()
    assert fetch(at_url(hub))[1] == SHA256


@pytest.mark.parametrize("told", ["", "bytes */16000", "bytes 7-15999/16000"])
def test_a_part_that_does_not_go_on_is_fetched_anew(hub: Hub, told: str) -> None:
    weights = at_url(hub)
    hub.content_range, hub.cuts = told, [1000]
    assert fetch(weights)[1] == SHA256
    assert [wanted for _, wanted in hub.requests] == ["", "bytes=1000-", ""]


def test_partial_files_of_two_addresses_are_two(tmp_path: Path) -> None:
    names = {transfer.partial_file(url, tmp_path / "a.pt") for url in ("http://x/1", "http://x/2")}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xef\xbb\xbf <!DOCTYPE html><html>log in first</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
    ],
)
def test_what_is_no_checkpoint_is_never_kept(
    hub: Hub, tmp_path: Path, content: bytes, kind: str
) -> None:
    weights = replace(at_url(hub, content=content), size_bytes=len(CONTENT))
    for accept_hash in (False, True):
        with pytest.raises(EngineError, match=f"answered with {kind}, not the file"):
            fetch(weights, accept_hash=accept_hash)
    assert left_in_cache(tmp_path) == []


def test_what_is_sent_as_a_page_is_never_kept(hub: Hub, tmp_path: Path) -> None:
    hub.content_type = "text/html; charset=utf-8"
    with pytest.raises(EngineError, match="answered with a web page"):
        fetch(at_url(hub))
    assert left_in_cache(tmp_path) == []


def test_full_disk_is_not_blamed_on_the_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(at_url(hub))


def test_licence_is_shown_before_a_non_commercial_file(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = replace(on_hub(hub), licence="CC-BY-NC-4.0", non_commercial=True)
    with pytest.raises(EngineError):
        fetch(weights, offline=True)
    assert capsys.readouterr().err == ""
    download.fetch("depth", weights, offline=False, report=Report(-1))
    said = capsys.readouterr()
    assert "CC-BY-NC-4.0: not for commercial use" in said.err
    assert said.out == ""


def test_unwritable_cache_is_an_output_error(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(at_url(hub))


def test_a_second_process_waits_for_the_first(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    weights = at_url(hub)
    download.cache_folder().mkdir(parents=True)
    first = filelock.FileLock(download.cache_folder() / f".{weights.file}.lock")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with first:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    threading.Timer(0.2, release.set).start()
    assert fetch(weights)[1] == SHA256
    thread.join()
    assert "waiting for another process" in capsys.readouterr().err


def test_every_published_file_is_pinned() -> None:
    presets = (getattr(preset, net) for preset in PRESETS.values() for net in NETS)
    for weights in {net.weights for net in (*presets, *SAM2_SIZES.values())}:
        if not weights.bundled:
            assert re.fullmatch("[0-9a-f]{64}", weights.sha256 or ""), weights.file
            assert weights.url or re.fullmatch("[0-9a-f]{40}", weights.revision or ""), weights.file


def test_list_names_every_file_and_its_licence(hub: Hub) -> None:
    lines = table().splitlines()
    large = next(line for line in lines if line.startswith("reference") and "depth" in line)
    assert "depth_anything_v2_vitl.pth" in large
    assert "CC-BY-NC-4.0" in large
    assert " no " in large
    assert any(NANO.sam2.weights.file in line for line in lines)
    assert any(line.startswith("--sam2 sam2.1_hiera_b+") for line in lines)
    assert hub.requests == []
