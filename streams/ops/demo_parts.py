"""The demo's child processes: a worker and the shoppers. Each ends when its parent is gone."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

from streams.contract.settings import Settings

_ORPHANED: Final = 1


def main() -> None:
    """Runs one part: ``worker CONFIG DATA`` or ``simulator CONFIG EVENTS SEED USERS SUMMARY``."""
    part, config, *arguments = sys.argv[1:]
    settings = msgspec.json.decode(Path(config).read_bytes(), type=Settings)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if part == "worker":
        from streams.ops.worker import run_worker

        engine = msgspec.structs.replace(settings.engine, data_dir=arguments[0])
        # The terminal is the live view's: the ordinary course of a worker stays out of it.
        run_worker(msgspec.structs.replace(settings, engine=engine), incident_level="warning")
    else:
        events, seed, users, summary = arguments
        _simulate(settings, int(events), int(seed), int(users), Path(summary))


def _simulate(settings: Settings, events: int, seed: int, users: int, summary: Path) -> None:
    from producers.simulator.parameters import SimulationParameters
    from streams.ops.simulating import simulate

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    parameters = SimulationParameters(seed=seed, events=events, n_users=users)
    summary.write_bytes(msgspec.json.encode(simulate(settings, parameters, stopping.is_set)))


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # At once: the broker and the folder of the data went with the parent, so nothing is left to be finished.
    os._exit(_ORPHANED)


if __name__ == "__main__":
    main()
