"""A door as a supervised process."""

import socket
import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.contract.settings import Settings
from streams.serving.server import run_door

_SETTINGS: Final = "door.json"


def free_port() -> int:
    """Finds a port of loopback that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def start_door(
    group: ProcessGroup, settings: Settings, port: int, log: Path | None = None, *, has_page: bool = True
) -> SupervisedProcess:
    """Starts a door on loopback; ``log`` as in a group's ``start``."""
    serve = replace(settings.serve, host="127.0.0.1", port=port, page=has_page)
    (group.directory / _SETTINGS).write_bytes(msgspec.json.encode(replace(settings, serve=serve)))
    return group.start_module("streams.serving.door_process", str(group.directory), log=log)


def main() -> None:
    """Runs the door, with the directory of its settings as the argument."""
    directory = Path(sys.argv[1])
    settings = msgspec.json.decode((directory / _SETTINGS).read_bytes(), type=Settings)
    run_door(settings, "error", lambda sentence: None)


if __name__ == "__main__":
    main()
