"""What a person is told when no broker answers: the reason, and what to do."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from streams.contract.settings import Kafka
from streams.engine.reachability import why_unreachable

SELF_SIGNED: Final = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout -"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a certificate that signed itself, and its key; nothing trusts it."""
    path = tmp_path_factory.mktemp("certificate") / "untrusted.pem"
    path.write_bytes(subprocess.run(SELF_SIGNED.split(), check=True, capture_output=True).stdout)
    return path


@contextmanager
def listening(certificate: Path | None = None) -> Iterator[str]:
    """Listens on a free port; every connection is ended, after the handshake if there is a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        if certificate is not None:
                            context.wrap_socket(connection, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_a_host_that_is_not_there() -> None:
    assert "there is no such host" in why_unreachable(Kafka(bootstrap_servers="no-such-host.invalid:9092"))


def test_a_port_where_nobody_listens() -> None:
    why = why_unreachable(Kafka(bootstrap_servers="127.0.0.1:1"))
    assert "nobody listens there" in why
    assert "127.0.0.1:1" in why


def test_a_certificate_that_nobody_signed(certificate: Path) -> None:
    with listening(certificate) as address:
        why = why_unreachable(Kafka(bootstrap_servers=address, security_protocol="SSL"))
    assert "certificate is not trusted" in why
    assert "kafka.ssl_ca_location" in why


def test_a_listener_without_tls() -> None:
    with listening() as address:
        why = why_unreachable(Kafka(bootstrap_servers=address, security_protocol="SSL"))
    assert "kafka.security_protocol is SSL; set it to what the listener speaks" in why
