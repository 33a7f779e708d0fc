"""A headless Chromium driven by the DevTools protocol over a pipe: no port, no WebSocket, nothing but Python's own."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
LIMIT = 60  # seconds that an answer may take
CODES = {"ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27}
"""Keys without a character, by the number that Windows gives them."""
SHIFT = 8


class Browser:
    """One Chromium with one page; `profile` is the folder that keeps what a page stores. A context manager."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        asked, self._asking = os.pipe()
        self._answers, answering = os.pipe()
        self._folder = profile
        profile.mkdir(parents=True, exist_ok=True)
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", "--no-first-run", "about:blank"]
        with (profile / "log.txt").open("a") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{asked} 4>&{answering}', "bash", *command],
                pass_fds=(asked, answering), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        os.close(asked)
        os.close(answering)
        self._received = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        targets = self._send("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the browser, so that it writes its storage, and end what is left of its own processes."""
        with suppress(OSError, RuntimeError, TimeoutError):
            self._send("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._asking)
        os.close(self._answers)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to the page and return its result; RuntimeError where the browser refuses."""
        return self._send(method, self._session, **params)

    def _send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        waiting = json.dumps(message).encode() + b"\0"
        while waiting:
            waiting = waiting[os.write(self._asking, waiting) :]
        answer = self._await(lambda one: one.get("id") == self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _await(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next message that is wanted; others are kept in `events`."""
        end = time.monotonic() + LIMIT
        while True:
            while b"\0" in self._received:
                text, self._received = self._received.split(b"\0", 1)
                message = json.loads(text)
                if wanted(message):
                    return message
                self.events.append(message)
            if not select.select([self._answers], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium has not answered for {LIMIT} s; see {self._folder / 'log.txt'}")
            received = os.read(self._answers, 2**16)
            if not received:
                raise RuntimeError(f"Chromium has ended; see {self._folder / 'log.txt'}")
            self._received += received

    def open(self, path: Path) -> float:
        """Open a file and return the seconds until it has loaded."""
        self.events.clear()
        begin = time.monotonic()
        self.send("Page.navigate", url=path.as_uri())
        loaded = "Page.loadEventFired"
        if not any(event.get("method") == loaded for event in self.events):
            self._await(lambda one: one.get("method") == loaded)
        return time.monotonic() - begin

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited, an exception is a RuntimeError."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys as a person does: one character each, or a name such as ArrowDown."""
        for key in keys:
            event: dict[str, Any] = {"key": key, "modifiers": SHIFT * shift}
            if key in CODES:
                event |= {"code": key, "windowsVirtualKeyCode": CODES[key]}
            else:
                event |= {"text": key, "code": f"Digit{key}" if key.isdigit() else f"Key{key.upper()}"}
            self.send("Input.dispatchKeyEvent", type="keyDown", **event)
            self.send("Input.dispatchKeyEvent", type="keyUp", **(event | {"text": ""}))

    def click(self, name: str) -> None:
        """Click the middle of the element with this id with the mouse."""
        find = f"document.getElementById({json.dumps(name)})"
        self.evaluate(f"{find}.scrollIntoView({{block: 'nearest'}})")
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({find}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def text(self, name: str) -> str:
        """Return the text of the element with this id."""
        return self.evaluate(f"document.getElementById({json.dumps(name)}).textContent")

    def set_size(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is in sight, or the whole page, as a PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the page was opened."""
        asked = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def save_downloads(self, folder: Path) -> None:
        self._send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
