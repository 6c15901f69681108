"""The engine beside others on one job, and the whole pipeline beside others on the same core, all in one run.

The engine's job: JSON in, count and sum by user, one JSON out for each event. The pipeline's: what shoppers do, through
all folds. Start-up is taken off, native threads are in. Only ratios mean something on another machine.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import engine, pipeline, producers
from streams.contract.settings import Kafka
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, PREDICTIONS, RELATIONS
from streams.engine.offsets import Offsets
from streams.ops.broker import EmbeddedBroker

QUIX: Final = "quixstreams==3.28.1"
OF_THE_CORE: Final = ("msgspec", "numpy", "river", "scipy")
"""What the core needs in the peers' environment, of the versions that it has here."""
HERE: Final = {
    "core": pipeline.measure_core,
    "simulator": producers.measure_simulator,
    "replayer": producers.measure_replayer,
}
"""What runs in this process."""
TIMEOUT_S: Final = 120.0

WORDS: Final = ("words", "word-counts", "word-counts-changelog")
_FOLDED: Final = (CLICKSTREAM, RELATIONS, EXPERIENCES)
TOPICS: Final = {
    **engine.TOPICS,
    **dict.fromkeys((*WORDS, "headrace-stock-users-changelog"), engine.PARTITIONS),
    **{f"headrace-stock-{source}-changelog": engine.TOPICS[source] for source in _FOLDED},
    **{f"changelog__headrace--{source}--default": engine.TOPICS[source] for source in _FOLDED},
    "changelog__headrace--clickstream--tumbling_window_86400000": engine.PARTITIONS,
}
"""Ours, and the peers' changelogs by the names that they give them."""

Until = Callable[[EmbeddedBroker, "subprocess.Popen[bytes]"], None]


class Job(NamedTuple):
    """A program that does a job.

    Attributes:
        events: As many as take it some seconds.
        publish: Puts that many on the broker before it starts.
        until: Makes, of their number, what waits until it is done.
    """

    command: tuple[str, ...]
    events: int
    publish: Callable[[EmbeddedBroker, int], None]
    until: Callable[[int], Until]


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
            for name, measure in HERE.items():
                found.setdefault(name, []).append(measure(True)["events_per_core_s"])
    rates = {name: round(median(values)) for name, values in found.items()}
    return {"rounds": rounds, "events_per_core_s": rates, "ratios": ratios(rates)}


def ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """What is compared between runs: engine and pipeline to their peers, and the others to the bare loop."""
    pairs = [
        *(("engine", peer) for peer in ("bare_loop", "quix", "faust")),
        *(("pipeline", peer) for peer in ("quix_pipeline", "faust_pipeline")),
        *((name, "bare_loop") for name in ("wordcount", "core", "pipeline", "simulator", "replayer")),
    ]
    return {f"{name}/{peer}": round(rates[name] / rates[peer], 4) for name, peer in pairs if peer in rates}


def _jobs(folder: Path) -> dict[str, Job]:
    python = sys.executable
    counting = engine.publish, _until_out
    shopping = pipeline.publish_shopping, _until_committed(_FOLDED)
    jobs = {
        "engine": Job(engine.COUNTING, 200_000, *counting),
        "bare_loop": Job((python, "-m", "benchmarks.peers.bare_loop"), 200_000, *counting),
        "faust": Job((python, "-m", "benchmarks.peers.stock_faust"), 12_000, *counting),
        "wordcount": Job((python, "examples/wordcount.py"), 200_000, publish_words, _until_committed(WORDS[:1])),
        "pipeline": Job(pipeline.WORKER, 30_000, *shopping),
        "faust_pipeline": Job((python, "-m", "benchmarks.peers.faust_pipeline"), 3_000, *shopping),
    }
    if quix := _quix_python(folder):
        jobs["quix"] = Job((quix, "-m", "benchmarks.peers.quix"), 60_000, *counting)
        jobs["quix_pipeline"] = Job((quix, "-m", "benchmarks.peers.quix_pipeline"), 10_000, *shopping)
    return jobs


def publish_words(broker: EmbeddedBroker, words: int) -> None:
    """Publishes words of a vocabulary as large as the number of users; few are said often, most seldom."""
    with engine.publisher(broker) as producer:
        for number in range(words):
            word = f"word-{int((number * 7919 % engine.USERS / engine.USERS) ** 3 * engine.USERS)}"
            producer.produce(WORDS[0], word, word)
            if number % 1000 == 0:
                producer.poll(0)


def _quix_python(folder: Path) -> str | None:
    """Installs Quix Streams into a virtual environment of its own; ``None`` where that does not work."""
    python = folder / "quix/bin/python"
    steps: list[Sequence[str]] = [
        (sys.executable, "-m", "venv", str(folder / "quix")),
        (str(python), "-m", "pip", "install", "--quiet", QUIX, *(f"{name}=={version(name)}" for name in OF_THE_CORE)),
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            print(f"{QUIX} could not be installed; the table goes without it", file=sys.stderr)
            return None
    return str(python)


def _cpu_s(job: Job, events: int) -> float:
    with EmbeddedBroker(TOPICS) as broker:
        job.publish(broker, events)
        return engine.run_worker(broker, job.command, until=job.until(events)).cpu_s


def _until_committed(sources: Sequence[str]) -> Callable[[int], Until]:
    return lambda _: lambda broker, worker: engine.wait_until_committed(broker, worker, sources)


def _until_out(events: int) -> Until:
    """Waits for one output an event: when a peer commits is its own affair."""

    def wait(broker: EmbeddedBroker, worker: "subprocess.Popen[bytes]") -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        with Offsets(Kafka(bootstrap_servers=broker.bootstrap_servers)) as offsets:
            while sum(offsets.coverage(PREDICTIONS, number).end for number in range(engine.PARTITIONS)) < events:
                if worker.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"a job has not made {events} outputs (it ended with {worker.poll()})")
                time.sleep(0.1)

    return wait
