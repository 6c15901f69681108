"""A worker as a supervised process."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from streams.agents import FOLDS
from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.contract.settings import Settings


def start_worker(
    group: ProcessGroup, settings: Settings, log: Path | None = None, folds: Sequence[str] = tuple(FOLDS)
) -> SupervisedProcess:
    """Starts a worker whose settings and data are in the group's directory; ``log`` as in a group's ``start``."""
    directory = group.directory / "-".join(folds)
    directory.mkdir()
    engine = msgspec.structs.replace(settings.engine, data_dir=str(directory / "data"))
    path = directory / "worker.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(settings, engine=engine)))
    return group.start_module("streams.brokers.worker_process", str(path), *folds, log=log)


def main() -> None:
    """Runs the worker, with the file of its settings and its folds as the arguments."""
    from streams.app import run_worker

    path, *folds = sys.argv[1:]
    settings = msgspec.json.decode(Path(path).read_bytes(), type=Settings)
    # The demo shows these lines to people: only warnings interrupt it.
    run_worker(settings, folds, incident_level="warning")


if __name__ == "__main__":
    main()
