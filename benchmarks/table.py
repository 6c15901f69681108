"""Engine and pipeline beside other engines: the same job, and the same core, in one run.

The engine's job: JSON in, count and sum by user, one JSON out for each event. The pipeline's: what shoppers do, through
all folds. Start-up is taken off, native threads are in. Only ratios mean something on another machine.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import engine, harness, pipeline
from benchmarks.harness import PARTITIONS, SOURCES, Message, Until, Worker, polls, until_committed
from benchmarks.shop import Shop
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import PREDICTIONS
from streams.engine.offsets import Offsets

QUIX: Final = "quixstreams==3.28.1"
OF_THE_CORE: Final = ("msgspec", "numpy", "river", "scipy")
"""Libraries of the core, installed into the peers' environment in the versions used here."""
WORDS: Final = ("words", "word-counts", "word-counts-changelog")
TOPICS: Final = {
    **harness.TOPICS,
    **dict.fromkeys((*WORDS, "headrace-stock-users-changelog"), PARTITIONS),
    **{f"headrace-stock-{source}-changelog": harness.TOPICS[source] for source in SOURCES},
    **{f"changelog__headrace--{source}--default": harness.TOPICS[source] for source in SOURCES},
    "changelog__headrace--clickstream--tumbling_window_86400000": PARTITIONS,
}
"""Ours, and the peers' changelogs by the names that they give them."""


class Job(NamedTuple):
    """A program that does a job.

    Attributes:
        events: As many as take it some seconds.
        backlog: Makes, of a number of events, what is on the broker before the program starts.
        until: Makes, of their number, what waits until it is done.
    """

    command: tuple[str, ...]
    events: int
    backlog: Callable[[int], Iterator[Message]]
    until: Callable[[int], Until]


def measure_table(quick: bool) -> dict[str, Any]:
    """Runs every job in turn, again and again; returns the medians of the rounds and their ratios."""
    rounds, share = (1, 0.25) if quick else (5, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(Path(folder))
        start = {name: _cpu_s(job, PARTITIONS) for name, job in jobs.items()}
        found: dict[str, list[float]] = {name: [] for name in (*jobs, "core")}
        for _ in range(rounds):
            for name, job in jobs.items():
                events = int(job.events * share)
                found[name].append(events / (_cpu_s(job, events) - start[name]))
            found["core"].append(pipeline.measure_core(quick=True)["events_per_core_s"])
    rates = {name: round(median(values)) for name, values in found.items()}
    return {"rounds": rounds, "events_per_core_s": rates, "ratios": ratios(rates)}


def ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """Compares engine and pipeline to their peers, and the others to the bare loop."""
    pairs = [
        *(("engine", peer) for peer in ("bare_loop", "quix", "faust")),
        *(("pipeline", peer) for peer in ("quix_pipeline", "faust_pipeline")),
        *((name, "bare_loop") for name in ("wordcount", "core", "pipeline")),
    ]
    return {f"{name}/{peer}": round(rates[name] / rates[peer], 4) for name, peer in pairs if peer in rates}


def _jobs(folder: Path) -> dict[str, Job]:
    python = sys.executable

    def counting(command: tuple[str, ...], events: int) -> Job:
        return Job(command, events, engine.views, _until_out)

    def shopping(command: tuple[str, ...], events: int) -> Job:
        return Job(command, events, lambda count: pipeline.shopping(Shop(), count), lambda _: until_committed(*SOURCES))

    jobs = {
        "engine": counting(harness.COUNTING, 200_000),
        "bare_loop": counting((python, "-m", "benchmarks.peers.bare_loop"), 200_000),
        "faust": counting((python, "-m", "benchmarks.peers.stock_faust"), 12_000),
        "wordcount": Job((python, "examples/wordcount.py"), 200_000, _words, lambda _: until_committed(WORDS[0])),
        "pipeline": shopping(harness.WORKER, 30_000),
        "faust_pipeline": shopping((python, "-m", "benchmarks.peers.faust_pipeline"), 3_000),
    }
    if quix := _quix_python(folder):
        jobs["quix"] = counting((quix, "-m", "benchmarks.peers.quix"), 60_000)
        jobs["quix_pipeline"] = shopping((quix, "-m", "benchmarks.peers.quix_pipeline"), 10_000)
    return jobs


def _words(count: int) -> Iterator[Message]:
    """Makes words of a vocabulary as large as the number of users; few are said often, most seldom."""
    for number in range(count):
        word = f"word-{int((number * 7919 % engine.USERS / engine.USERS) ** 3 * engine.USERS)}"
        yield Message(WORDS[0], word.encode(), word)


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
    return harness.run_worker(job.backlog(events), job.command, job.until(events), topics=TOPICS).cpu_s


def _until_out(events: int) -> Until:
    """Waits for one output an event: when a peer commits is its own affair."""

    def wait(servers: str, worker: Worker) -> None:
        with Offsets(Settings(kafka=Kafka(bootstrap_servers=servers))) as offsets:
            for _ in polls(worker, f"made {events} outputs"):
                if sum(offsets.coverage(PREDICTIONS, number).end for number in range(PARTITIONS)) >= events:
                    return

    return wait
