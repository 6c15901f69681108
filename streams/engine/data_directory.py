"""Data directory of a worker: made and locked before anything is read from it, so that no second worker shares it."""

import fcntl
import os
import resource
from pathlib import Path
from typing import Final

from streams.contract.errors import RefusedStart

LOCK_FILE: Final = "worker.lock"

_BASE_FILES: Final = 120
"""Open files of a worker without partitions, as measured on three brokers: libraries, clients, the event loop."""
_FILES_PER_PARTITION: Final = 12
"""Open files for each partition of a table or a source: a database, or a producer and its connections.

Measured were 3 without transactions, 7 with them on one broker, and 9.5 on three; each further broker takes one or two
more. The rest is for the files of larger tables, about one for each 64 MiB of rows.
"""


def lock_data_directory(path: Path) -> None:
    """Makes the directory and locks it until the process ends, however that ends: its descriptor stays open.

    Raises:
        RefusedStart: Another worker uses it, or it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RefusedStart(
            f"the data directory {path} cannot be used ({error.strerror}: {error.filename}): make it writable, or "
            "choose another one with --data or engine.data_dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise RefusedStart(
            f"the data directory {path} is in use by the worker with process id {owner or 'unknown'}: "
            "each worker needs its own; choose another one with --data or engine.data_dir"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def allow_open_files(partitions: int) -> None:
    """Raises the process's limit of open files as far as this user may, and compares it with what it needs.

    It has to do for all partitions, since the worker owns them when the others end. Large tables need more.

    Args:
        partitions: Of all source topics and changelogs together.

    Raises:
        RefusedStart: The limit is too low and must not be raised by this user.
    """
    needed = _BASE_FILES + _FILES_PER_PARTITION * partitions
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = needed if hard == unlimited else max(hard, needed)
    if soft == unlimited or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        raise RefusedStart(
            f"the limit of open files is {hard}, and a worker that owns all {partitions} partitions of its topics "
            f"needs about {needed}: raise it with `ulimit -n {needed}`, or with LimitNOFILE= in a unit of systemd"
        ) from error
