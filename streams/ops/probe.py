"""Asks a worker over HTTP, found by its data directory."""

import http.client
from pathlib import Path
from typing import Final

import msgspec

from streams.contract.errors import HeadraceError
from streams.ops.http import ADDRESS_FILE

_TIMEOUT_S: Final = 5.0


class _Answer(msgspec.Struct):
    data_dir: str


def probe(data_dir: Path, path: str) -> tuple[bool, str]:
    """Asks the worker that has ``data_dir``.

    Returns:
        Whether it said yes, and all that it said, JSON.

    Raises:
        HeadraceError: No worker of this data directory answers.
    """
    try:
        address = (data_dir / ADDRESS_FILE).read_text("utf-8").strip()
    except OSError as error:
        raise HeadraceError(f"no worker serves {data_dir}: {error.strerror} {ADDRESS_FILE}") from error
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise HeadraceError(f"the worker of {data_dir} does not answer at {address}: {error}") from error
    finally:
        connection.close()
    # After a kill the file stays, and its port may have become another worker's.
    if msgspec.json.decode(answer, type=_Answer).data_dir != str(data_dir.resolve()):
        raise HeadraceError(f"the worker of {data_dir} has ended; another one answers at {address}")
    return response.status == http.client.OK, answer.decode().rstrip()
