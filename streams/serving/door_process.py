"""A door as a supervised process."""

import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.contract.settings import Settings
from streams.serving.server import run_door

_SETTINGS: Final = "door.json"
_ADDRESS: Final = "door-address"


def start_door(group: ProcessGroup, settings: Settings, log: Path | None = None) -> SupervisedProcess:
    """Starts a door on a free port of loopback; ``log`` as in a group's ``start``."""
    serve = replace(settings.serve, host="127.0.0.1", port=0)
    (group.directory / _SETTINGS).write_bytes(msgspec.json.encode(replace(settings, serve=serve)))
    return group.start_module("streams.serving.door_process", str(group.directory), log=log)


def door_address(group: ProcessGroup) -> str | None:
    """Returns the address of the door, once it listens."""
    try:
        return (group.directory / _ADDRESS).read_text("utf-8").strip() or None
    except OSError:
        return None


def main() -> None:
    """Runs the door, with the directory of its settings as the argument."""
    directory = Path(sys.argv[1])
    settings = msgspec.json.decode((directory / _SETTINGS).read_bytes(), type=Settings)
    run_door(settings, "error", lambda sentence: None, directory / _ADDRESS)


if __name__ == "__main__":
    main()
