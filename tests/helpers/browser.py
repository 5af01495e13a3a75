"""A headless Chromium, driven by its DevTools protocol over a pipe: nothing to install for it."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
LIMIT_S = 60.0
LEFT = "Inspected target navigated or closed"  # Chromium's words
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Left(AssertionError):
    """The page was left for another one before it answered."""


class Page:
    """One tab. `problems` holds what its console told of errors, and every request that was not for
    the page itself.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, read, b""
        self._last = 0
        self._session: str | None = None
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                if answer.get("error", {}).get("message") == LEFT:
                    raise Left(answer)
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, path: Path, size: tuple[int, int] = (1280, 900), dark: bool = False) -> None:
        """Open a file from disk in a window of this size, and wait until it is drawn."""
        self.resize(size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=path.absolute().as_uri())
        self.wait("document.readyState === 'complete'")

    def resize(self, size: tuple[int, int]) -> None:
        """Another window; a narrow one is a phone's."""
        phone = size[0] < 600
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def run(self, script: str) -> Any:
        """The value of an expression."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true; on the way to another page it may be none."""
        end = time.monotonic() + LIMIT_S
        wanted = f"(() => {{ try {{ return {condition} }} catch {{ return false }} }})()"
        while time.monotonic() < end:
            with suppress(Left):
                if self.run(wanted):
                    return
            time.sleep(0.02)
        raise AssertionError(f"never: {condition}")

    def press(self, key: str) -> None:
        """A key goes down and up."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def box(self, selector: str) -> dict[str, Any]:
        """Where an element is in the window, as DOMRect tells."""
        found: dict[str, Any] = self.run(
            f"document.querySelector('{selector}').getBoundingClientRect().toJSON()"
        )
        return found

    def mouse(self, kind: str, x: float, y: float, held: bool = False) -> None:
        """The left button is `mousePressed` or `mouseReleased` at a place of the window, or the
        pointer `mouseMoved`, with the button `held`.
        """
        button = "none" if kind == "mouseMoved" and not held else "left"
        down = int(held or kind == "mousePressed")
        self.send(
            "Input.dispatchMouseEvent",
            type=kind,
            button=button,
            buttons=down,
            clickCount=1,
            x=x,
            y=y,
        )

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """What the window shows, or the whole page, as PNG or JPEG."""
        kind = "png" if path.suffix == ".png" else "jpeg"
        shot = self.send("Page.captureScreenshot", format=kind, captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], LIMIT_S)
            assert ready, "the browser is silent"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._rest += data
        text, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.problems.append(str(told["args"]))
        elif method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith(("data:", "file:", "about:")):
                self.problems.append(url)


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser of its own, which keeps its files in `profile`."""
    assert CHROMIUM
    commands, write = os.pipe()
    read, answers = os.pipe()
    # the shell puts the pipes where the browser looks for them: 3 and 4
    script = f'exec "$@" 3<&{commands} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", script, "sh", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(commands, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        yield Page(write, read)
    finally:
        os.close(write)
        os.close(read)
        process.terminate()
        process.wait(20)
