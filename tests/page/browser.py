"""A real browser, driven by its own protocol (CDP) over one socket: four commands are all that the tests need.

It says what a driver in between would not: every exception, console message and violation of the content policy.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.timeouts import wait_until

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Browser:
    """One tab.

    Attributes:
        complaints: What went wrong in it: exceptions, errors and warnings of the console and of the network.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: ClientWebSocketResponse, process_id: int) -> None:
        self._loop = loop
        self._socket = socket
        self._last_id = 0
        self.process_id = process_id
        self.complaints: list[str] = []

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        return self._loop.run_until_complete(self._command(method, parameters))

    def open(self, address: str, width: int = 1280, *, is_dark: bool = False) -> None:
        """Opens an address in a window of a width and a colour scheme."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.command("Emulation.setEmulatedMedia", features=scheme)
        self.command("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """Evaluates an expression and returns its value; a promise is awaited."""
        result = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        """Returns the text of an element, with single spaces; empty where there is none."""
        found = self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")
        return " ".join(str(found).split())

    def wait_for(self, script: str) -> Any:
        """Waits until an expression holds; returns its value."""
        found: list[Any] = []

        def holds() -> bool:
            found[:] = [self.run(script)]
            return bool(found[0])

        wait_until(holds, lambda: (script, self.text("body"), self.complaints), 0.2)
        return found[0]

    def picture(self, path: Path, height: int | None = None) -> None:
        """Writes a picture of the whole page, or of its uppermost part."""
        width, whole = self.run("[innerWidth, document.documentElement.scrollHeight]")
        size = {"width": width, "height": height or whole, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.run("new Promise((resolve) => setTimeout(resolve, 1500))")
        path.write_bytes(b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    async def _command(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        await self._socket.send_json({"id": self._last_id, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, parameters: dict[str, Any]) -> None:
        match event:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning", "assert"}:
                self.complaints.append(json.dumps(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(json.dumps(parameters["entry"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Starts a browser with a profile of its own; nothing of it is left running."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    process = subprocess.Popen(
        [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    loop = asyncio.new_event_loop()
    try:
        port_file = profile / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and len(port_file.read_text().split()) > 1, process.poll)
        with _connected(loop, int(port_file.read_text().split()[0]), process.pid) as found:
            yield found
    finally:
        loop.close()
        # The session is the browser's own, so its helpers end with it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _connected(loop: asyncio.AbstractEventLoop, port: int, process_id: int) -> Iterator[Browser]:
    session, socket = loop.run_until_complete(_connect(port))
    try:
        found = Browser(loop, socket, process_id)
        for domain in ("Runtime", "Log", "Page"):
            found.command(f"{domain}.enable")
        yield found
    finally:
        loop.run_until_complete(session.close())


async def _connect(port: int) -> tuple[ClientSession, ClientWebSocketResponse]:
    session = ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json") as response:
        tabs = await response.json()
    [tab] = [each for each in tabs if each["type"] == "page"]
    return session, await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
