"""The engine beside others on one job, all in one run: only their ratios mean something on another machine.

The job: JSON in, count and sum by user, one JSON out for each event. Start-up is taken off, native threads are in.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import engine, pipeline
from streams.contract.settings import Kafka
from streams.contract.topics import PREDICTIONS
from streams.engine.offsets import Offsets
from streams.ops.broker import EmbeddedBroker

QUIX: Final = "quixstreams==3.28.1"
CHANGELOGS: Final = ("headrace-stock-users-changelog", "changelog__headrace--clickstream--tumbling_window_86400000")
"""Of the peers, by the names that they give them."""
TIMEOUT_S: Final = 120.0


class Job(NamedTuple):
    """A program that does the job.

    Attributes:
        events: As many as take it some seconds.
    """

    command: tuple[str, ...]
    events: int


def measure_table(quick: bool) -> dict[str, Any]:
    """Runs every job in turn, again and again; the medians of the rounds, and what each is of the others."""
    rounds, share = (1, 0.25) if quick else (5, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(Path(folder))
        start = {name: _cpu_s(job, engine.PARTITIONS) for name, job in jobs.items()}
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, job in jobs.items():
                events = int(job.events * share)
                found.setdefault(name, []).append(events / (_cpu_s(job, events) - start[name]))
            found.setdefault("core", []).append(pipeline.measure_core(quick=True)["events_per_core_s"])
            found.setdefault("pipeline", []).append(pipeline.measure_pipeline(quick=True)["events_per_core_s"])
    rates = {name: round(median(values)) for name, values in found.items()}
    return {"rounds": rounds, "events_per_core_s": rates, "ratios": ratios(rates)}


def ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """What is compared between runs: the engine to each peer, and the pipeline to the bare loop."""
    pairs = [("engine", peer) for peer in ("bare_loop", "quix", "faust") if peer in rates]
    pairs += [(name, "bare_loop") for name in ("core", "pipeline")]
    return {f"{name}/{other}": round(rates[name] / rates[other], 4) for name, other in pairs}


def _jobs(folder: Path) -> dict[str, Job]:
    python = sys.executable
    jobs = {
        "engine": Job(tuple(engine.COUNTING), 200_000),
        "bare_loop": Job((python, "-m", "benchmarks.peers.bare_loop"), 200_000),
        "faust": Job((python, "-m", "benchmarks.peers.stock_faust"), 12_000),
    }
    if quix := _quix_python(folder):
        jobs["quix"] = Job((quix, str(engine.ROOT / "benchmarks/peers/quix.py")), 60_000)
    return jobs


def _quix_python(folder: Path) -> str | None:
    """Installs Quix Streams into a virtual environment of its own; ``None`` where that does not work."""
    python = folder / "quix/bin/python"
    steps: list[Sequence[str]] = [
        (sys.executable, "-m", "venv", str(folder / "quix")),
        (str(python), "-m", "pip", "install", "--quiet", QUIX),
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            print(f"{QUIX} could not be installed; the table goes without it", file=sys.stderr)
            return None
    return str(python)


def _cpu_s(job: Job, events: int) -> float:
    with EmbeddedBroker({**engine.TOPICS, **dict.fromkeys(CHANGELOGS, engine.PARTITIONS)}) as broker:
        engine.publish(broker, events)
        return engine.run_worker(broker, job.command, until=_until_out(events)).cpu_s


def _until_out(events: int) -> Callable[[EmbeddedBroker, "subprocess.Popen[bytes]"], None]:
    """Waits for one output an event: when a peer commits is its own affair."""

    def wait(broker: EmbeddedBroker, worker: "subprocess.Popen[bytes]") -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        with Offsets(Kafka(bootstrap_servers=broker.bootstrap_servers)) as offsets:
            while sum(offsets.coverage(PREDICTIONS, number).end for number in range(engine.PARTITIONS)) < events:
                if worker.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"a job has not made {events} outputs (it ended with {worker.poll()})")
                time.sleep(0.1)

    return wait
