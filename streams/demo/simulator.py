"""The demo's synthetic shoppers as a supervised process."""

import signal
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from producers.simulator.attainable import Attainable
from producers.simulator.closed_loop import fit_to_workers, simulate_closed_loop
from producers.simulator.parameters import SimulationParameters
from producers.simulator.simulation import SimulationSummary
from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings, Time

_SETTINGS: Final = "simulator.json"
_SUMMARY: Final = "simulation.json"
_ATTAINABLE: Final = "attainable.json"
_REFUSED: Final = 3


def with_demo_clock(settings: Settings) -> Settings:
    """Allows events to be an hour late, unless ``[time]`` was changed.

    Event time passes as far as the shoppers under way are apart (see ``max_skew_s`` of the simulation), so that hours
    pass in a minute. Labels are final an hour of event time later, which is a few seconds.
    """
    if settings.time != Time():
        return settings
    return replace(settings, time=replace(settings.time, allowed_lateness_s=3600.0))


def start_simulator(
    group: ProcessGroup, settings: Settings, events: int, seed: int, users: int, log: Path
) -> SupervisedProcess:
    """Starts the simulation; SIGTERM ends it early."""
    (group.directory / _SETTINGS).write_bytes(msgspec.json.encode(settings))
    arguments = (group.directory, events, seed, users)
    return group.start_module("streams.demo.simulator", *map(str, arguments), log=log)


def has_summary(group: ProcessGroup) -> bool:
    """Returns whether the last event is published; the process then measures what was attainable, and ends."""
    return (group.directory / _SUMMARY).exists()


def read_summary(group: ProcessGroup) -> SimulationSummary:
    """Reads the summary of the simulation."""
    return msgspec.json.decode((group.directory / _SUMMARY).read_bytes(), type=SimulationSummary)


def read_attainable(group: ProcessGroup) -> Attainable:
    """Reads what was attainable, once the process has ended."""
    return msgspec.json.decode((group.directory / _ATTAINABLE).read_bytes(), type=Attainable)


def main() -> None:
    """Runs the simulation, with the arguments ``DIRECTORY EVENTS SEED USERS``."""
    directory = Path(sys.argv[1])
    events, seed, users = map(int, sys.argv[2:])
    settings = msgspec.json.decode((directory / _SETTINGS).read_bytes(), type=Settings)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    shop = SimulationParameters(seed=seed, events=events, n_users=users)
    try:
        simulated = simulate_closed_loop(settings, fit_to_workers(shop, settings), stopping.is_set, _notify)
    except RefusedStart as refusal:
        _notify(str(refusal))
        sys.exit(_REFUSED)
    _write(directory / _SUMMARY, simulated.summary)
    _write(directory / _ATTAINABLE, simulated.attainable(settings))


def _notify(sentence: str) -> None:
    # The demo shows what its processes write to standard error.
    sys.stderr.write(f"headrace: {sentence}\n")
    sys.stderr.flush()


def _write(path: Path, value: object) -> None:
    """Writes a file that is whole as soon as it exists."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(value))
    part.replace(path)


if __name__ == "__main__":
    main()
