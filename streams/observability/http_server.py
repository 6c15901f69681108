"""HTTP server of a worker: ``/healthz``, ``/readyz``, and ``/metrics`` in Prometheus' format; and its client."""

import http.client
import os
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.contract.errors import HeadraceError, RefusedStart
from streams.contract.settings import Http
from streams.observability.health import Health

ADDRESS_FILE: Final = "http-address"
_REQUEST_S: Final = 5.0
_ANSWER_S: Final = 5.0


class HttpServer:
    """HTTP server on threads of its own, so that it answers when the event loop hangs.

    While it runs, its address is in the file ``http-address`` of the data directory.
    """

    def __init__(self, settings: Http, data_dir: str, health: Health, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._data_dir = Path(data_dir)
        self._health = health
        self._registry = registry
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Starts to listen.

        Raises:
            RefusedStart: The port is in use, or the address is not this machine's.
        """
        host, port = self._settings.host, self._settings.port
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), self._handler())
        except OSError as error:
            raise RefusedStart(
                f"cannot listen on {host}:{port} ({error.strerror}): set http.port to a free one, or to 0 for any, "
                "or http.enabled = false"
            ) from error
        self._data_dir.mkdir(parents=True, exist_ok=True)
        (self._data_dir / ADDRESS_FILE).write_text("{}:{}\n".format(*self._server.server_address[:2]), "utf-8")
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            (self._data_dir / ADDRESS_FILE).unlink(missing_ok=True)
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str, accept: str = "") -> tuple[int, str, bytes]:
        """Returns status, content type and body for a request."""
        if path == "/healthz":
            return self._verdict(self._health.reasons_unhealthy(), "stalled")
        if path == "/readyz":
            return self._verdict(self._health.reasons_not_ready(), "not ready")
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return HTTPStatus.OK, content_type, encode(self._registry)
        return _json(HTTPStatus.NOT_FOUND, {"paths": ["/healthz", "/readyz", "/metrics"]})

    def _verdict(self, why: list[str], otherwise: str) -> tuple[int, str, bytes]:
        status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
        body = {
            "status": otherwise if why else "ok",
            "why": why,
            "pid": os.getpid(),
            "data_dir": str(self._data_dir.resolve()),
            **self._health.facts(),
        }
        return _json(status, body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_S
            server_version = "headrace"
            sys_version = ""

            def do_GET(self) -> None:
                status, content_type, body = answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - named by the standard library

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing: a probe comes every few seconds."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing: a client that closes its connection early is no incident."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _json(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, "application/json", orjson.dumps(body) + b"\n"


class _Answer(msgspec.Struct):
    data_dir: str


def probe(data_dir: Path, path: str) -> tuple[bool, str]:
    """Sends a request to the worker of this machine that uses ``data_dir``.

    Returns:
        Whether the status is 200, and the answer as JSON.

    Raises:
        HeadraceError: No worker with this data directory answers.
    """
    try:
        address = (data_dir / ADDRESS_FILE).read_text("utf-8").strip()
    except OSError as error:
        raise HeadraceError(f"no worker runs on {data_dir}: {error.strerror}: {ADDRESS_FILE}") from error
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=_ANSWER_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise HeadraceError(f"the worker on {data_dir} does not answer at {address}: {error}") from error
    finally:
        connection.close()
    # A killed worker leaves the file, and its port may be another worker's by now.
    if msgspec.json.decode(answer, type=_Answer).data_dir != str(data_dir.resolve()):
        raise HeadraceError(f"the worker on {data_dir} has ended; another one answers at {address}")
    return response.status == http.client.OK, answer.decode().rstrip()
