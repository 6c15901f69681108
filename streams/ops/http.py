"""What a worker answers over HTTP: ``/healthz``, ``/readyz``, and ``/metrics`` in Prometheus' format."""

import os
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.contract.errors import RefusedStart
from streams.contract.settings import Http
from streams.ops.health import Health, Verdict

ADDRESS_FILE: Final = "http-address"
_REQUEST_S: Final = 5.0


class HttpServer:
    """Serves one worker, on threads of its own, so that it answers when the event loop is stuck.

    Its address is in the file ``http-address`` of the data directory while it serves.
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
            RefusedStart: The port is taken, or the address is not this machine's.
        """
        host, port = self._settings.host, self._settings.port
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), self._handler())
        except OSError as error:
            raise RefusedStart(
                f"nothing can listen on {host}:{port} ({error.strerror}): set http.port, or 0 for any that is free, "
                "or http.enabled = false"
            ) from error
        self._data_dir.mkdir(parents=True, exist_ok=True)
        (self._data_dir / ADDRESS_FILE).write_text("{}:{}\n".format(*self._server.server_address[:2]), "utf-8")
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True).start()

    def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            (self._data_dir / ADDRESS_FILE).unlink(missing_ok=True)
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str, accept: str = "") -> tuple[int, str, bytes]:
        """Answers one request with status, content type and body."""
        if path == "/healthz":
            return self._judged(self._health.progress(), "stalled")
        if path == "/readyz":
            return self._judged(self._health.readiness(), "not ready")
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return HTTPStatus.OK, content_type, encode(self._registry)
        return _json(HTTPStatus.NOT_FOUND, {"paths": ["/healthz", "/readyz", "/metrics"]})

    def _judged(self, verdict: Verdict, otherwise: str) -> tuple[int, str, bytes]:
        status = HTTPStatus.OK if verdict.is_good else HTTPStatus.SERVICE_UNAVAILABLE
        body = {
            "status": "ok" if verdict.is_good else otherwise,
            "why": verdict.why,
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
                """Says nothing: a probe comes every few seconds."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that hangs up is no incident of the worker's."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _json(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, "application/json", orjson.dumps(body) + b"\n"
