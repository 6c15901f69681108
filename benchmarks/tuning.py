"""The engine with one thing otherwise at a time, in turns within one run: what each choice is worth, or not."""

import importlib.util
import sys
from statistics import median
from typing import Any, Final

from benchmarks import engine
from streams.ops.broker import EmbeddedBroker

SETTINGS: Final = {
    "batch_records": (250, 1000, 8000),
    "buffer_batches": (2, 32),
    "fetch_wait_ms": (2, 100),
    "hot_bytes": (0, 64 * 2**20),
    "block_cache_bytes": (2**20, 128 * 2**20),
    "write_buffer_bytes": (2**20, 64 * 2**20),
}
"""Keys of ``engine`` to values other than the default."""
PROGRAMS: Final = (
    "collector_as_python_has_it",
    "allocator_as_glibc_has_it",
    "turns_as_python_has_them",
    "records_as_aiokafka_has_them",
    "linger_5_ms",
    "uncompressed",
    "uvloop",
)
"""Of :mod:`benchmarks.untuned`; uvloop is left out where it is not installed."""


def measure_tuning(quick: bool) -> dict[str, Any]:
    """Takes processor time an event of every variant; medians of the rounds, and what each is of the defaults."""
    events, rounds = (20_000, 1) if quick else (100_000, 5)
    variants = _variants()
    found: dict[str, list[float]] = {name: [] for name in variants}
    starts_s: list[float] = []
    for _ in range(rounds):
        starts_s.append(_cpu_s({}, (), engine.PARTITIONS))
        for name, (settings, program) in variants.items():
            found[name].append(_cpu_s(settings, program, events))
    start_s = median(starts_s)
    us = {name: (median(values) - start_s) / events * 1e6 for name, values in found.items()}
    return {
        "events": events,
        "rounds": rounds,
        "cpu_us_per_event": {name: round(value, 2) for name, value in us.items()},
        "of_the_defaults": {name: round(value / us["defaults"], 3) for name, value in us.items()},
    }


def _variants() -> dict[str, tuple[dict[str, int], tuple[str, ...]]]:
    programs = [name for name in PROGRAMS if name != "uvloop" or importlib.util.find_spec(name)]
    return {
        "defaults": ({}, ()),
        **{f"{key} = {value}": ({key: value}, ()) for key, values in SETTINGS.items() for value in values},
        **{name: ({}, (sys.executable, "-m", "benchmarks.untuned", name)) for name in programs},
    }


def _cpu_s(settings: dict[str, int], program: tuple[str, ...], events: int) -> float:
    with EmbeddedBroker(engine.TOPICS) as broker:
        engine.publish(broker, events)
        return engine.run_worker(broker, program or engine.COUNTING, engine=settings).cpu_s
