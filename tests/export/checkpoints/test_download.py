"""Weights are fetched once, checked against their hash, and never fetched when offline; the hub is imitated here."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import huggingface_hub
import pytest
from samotion.errors import EngineError, OutputError
from samotion.presets import NANO, Weights
from samotion_export.checkpoints import download
from samotion_export.checkpoints.listing import table
from samotion_export.report import Report

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"weights of a net" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves `files` by path: /REPO/resolve/REVISION/FILE as the hub does, anything else plainly."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}  # a Content-Length other than the truth, by path
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        self.server.requests.append((self.command, self.path))
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        content = content or b""
        self.send_header("Content-Length", str(self.server.announced.get(self.path, len(content))))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The imitation, with both caches in an empty folder."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    thread.join()
    server.server_close()


def on_hub(hub: Hub, sha256: str | None = SHA256, revision: str | None = COMMIT, content: bytes = CONTENT) -> Weights:
    hub.files[f"/owner/net/resolve/{revision or 'main'}/net.pt"] = content
    return Weights("net.pt", "Apache-2.0", "owner/net", revision, sha256=sha256)


def at_url(hub: Hub, sha256: str | None = SHA256, content: bytes = CONTENT) -> Weights:
    hub.files["/files/plain.pth"] = content
    return Weights("plain.pth", "Apache-2.0", url=f"{hub.url}/files/plain.pth", sha256=sha256)


def fetch(weights: Weights, offline: bool = False) -> tuple[Path, str]:
    return download.fetch("depth", weights, offline=offline, report=Report())


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_fetched_once_then_found_without_asking(hub: Hub, make: object) -> None:
    weights = make(hub)  # type: ignore[operator]
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
    assert all(f"/resolve/{COMMIT}/" in path for _, path in hub.requests)


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_offline_names_file_origin_and_option(hub: Hub, make: object) -> None:
    weights = make(hub)  # type: ignore[operator]
    with pytest.raises(EngineError, match=r"--checkpoint depth=FILE") as caught:
        fetch(weights, offline=True)
    assert weights.file in str(caught.value)
    assert download.source_of(weights) in str(caught.value)
    assert hub.requests == []


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_corrupt_answer_is_refused_and_removed(hub: Hub, make: object) -> None:
    bad = b"something else"
    weights = make(hub, content=bad)  # type: ignore[operator]
    with pytest.raises(EngineError) as caught:
        fetch(weights)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(bad).hexdigest() in str(caught.value)
    assert download.find(weights) is None
    make(hub)  # type: ignore[operator]
    assert fetch(weights)[1] == SHA256


def test_corrupt_file_that_others_cached_is_refused_and_kept(hub: Hub) -> None:
    weights = on_hub(hub)
    path, _ = fetch(weights)
    path.resolve().write_bytes(b"edited")
    with pytest.raises(EngineError, match="delete "):
        fetch(weights)
    assert path.exists()


def test_hash_that_is_advice_only_warns(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    path, sha256 = fetch(replace(on_hub(hub, content=b"newer"), hash_is_advice=True))
    assert path.read_bytes() == b"newer"
    assert sha256 == hashlib.sha256(b"newer").hexdigest()
    assert f"expected {SHA256}" in capsys.readouterr().err


def test_unknown_hash_is_recorded_and_insisted_on(hub: Hub, tmp_path: Path) -> None:
    weights = on_hub(hub, sha256=None, revision=None)
    path, _ = fetch(weights)
    assert json.loads((tmp_path / "cache/samotion/hashes.json").read_text()) == {"owner/net/net.pt@main": SHA256}
    assert fetch(weights)[1] == SHA256
    path.resolve().write_bytes(b"edited")
    with pytest.raises(EngineError, match=f"expected {SHA256}"):
        fetch(weights)


@pytest.mark.parametrize("make", [on_hub, at_url])
def test_absent_file_is_one_line(hub: Hub, make: object) -> None:
    weights = make(hub)  # type: ignore[operator]
    hub.files.clear()
    with pytest.raises(EngineError, match="could not be fetched") as caught:
        fetch(weights)
    assert "404" in str(caught.value)
    assert "--checkpoint depth=FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreachable_server_is_one_line(hub: Hub) -> None:
    with pytest.raises(EngineError, match="could not be fetched"):
        fetch(replace(at_url(hub), url="http://127.0.0.1:1/plain.pth"))


def test_broken_transfer_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    weights = at_url(hub)
    hub.announced["/files/plain.pth"] = len(CONTENT) + 7
    with pytest.raises(EngineError, match="broke off"):
        fetch(weights)
    assert [p.name for p in (tmp_path / "cache/samotion").glob("*plain*") if not p.name.endswith(".lock")] == []


def test_full_disk_is_not_blamed_on_the_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(at_url(hub))


def test_licence_is_shown_before_a_non_commercial_file(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_list_names_every_file_and_its_licence(hub: Hub) -> None:
    lines = table().splitlines()
    large = next(line for line in lines if line.startswith("reference") and "depth" in line)
    assert "depth_anything_v2_vitl.pth" in large
    assert "CC-BY-NC-4.0" in large
    assert " no " in large
    assert any(NANO.sam2.weights.file in line for line in lines)
    assert any(line.startswith("--sam2 sam2.1_hiera_b+") for line in lines)
    assert hub.requests == []
