"""A door as a process of its own, and its client."""

import json
import os
import resource
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.timeouts import HANG_S, wait_until

ROOT: Final = Path(__file__).parents[2]


class DoorProcess:
    """One ``headrace serve``, on a free port unless one is given; what it says is in ``log``."""

    def __init__(self, folder: Path, environment: Mapping[str, str], port: int = 0) -> None:
        folder.mkdir()
        self.log = folder / "log"
        self._address = folder / "address"
        options = ("--port", str(port), "--ready-file", str(self._address))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli.main", "serve", *options],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> "DoorProcess":
        wait_until(lambda: self.is_running() and self._address.exists() and self._address.read_text(), self.said)
        self.address = self._address.read_text().strip()
        wait_until(lambda: self.is_running() and self.ask("/readyz")[0] == 200, self.said)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def is_running(self) -> bool:
        assert self.process.poll() is None, self.said()
        return True

    def said(self) -> str:
        return self.log.read_text()

    def ask(self, path: str, body: object = None) -> tuple[int, Any]:
        """Sends a request, a POST if it has a body; returns status and answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=HANG_S) as response:  # noqa: S310
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(self.address + "/metrics", timeout=HANG_S) as response:  # noqa: S310
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def descriptors(self) -> int:
        """Number of open files and connections; Linux only."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def resident_bytes(self) -> int:
        """Memory that it has now; Linux only."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * resource.getpagesize()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)
