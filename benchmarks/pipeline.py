"""The whole pipeline: windows, features, targets, a decision on every view, item signals, learning.

``core`` runs the real folds and the real protocol in memory, so that its processor time is the computing alone; half of
the slates are seen, and some are clicked. ``pipeline`` is one worker with all folds on the embedded broker, RocksDB and
changelogs included, which takes the same shoppers' own events from a backlog.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

from confluent_kafka import Consumer

from benchmarks.harness import PARTITIONS, SOURCES, WORKER, Message, Usage, run_worker, until_committed
from benchmarks.shop import Shop
from streams.contract.events import encode_event
from streams.contract.metrics import FoldMetrics, WorkerMetrics, decode_metrics
from streams.contract.records import decode_recommendation
from streams.contract.topics import CLICKSTREAM, METRICS, RECOMMENDATIONS
from streams.core.behaviour import decider as deciding
from streams.core.behaviour import fold
from streams.core.behaviour import predictor as predicting
from streams.core.behaviour import slate_choices as choosing
from streams.core.behaviour.examples import ExampleEncoder
from streams.core.behaviour.fold import BehaviourFold
from streams.core.behaviour.item_signals import ItemSignals
from streams.core.features.windows import Windows
from streams.engine import protocol
from streams.engine.runtime_tuning import collect_rarely, keep_freed_memory
from streams.testing import MemoryReader, MemoryTopics, Pipeline

BATCH_RECORDS: Final = 1000
STAGES: Final = {
    (protocol, "decode"): "decode",
    (protocol, "load"): "load",
    (protocol, "fold"): "state",
    (protocol, "_encode"): "encode",
    (BehaviourFold, "encode_row"): "encode",
    (predicting, "JSON"): "encode",
    (deciding, "JSON"): "encode",
    (deciding, "MSGPACK"): "encode",
    (ExampleEncoder, "encode"): "encode",
    (ItemSignals, "outputs"): "encode",
    (ItemSignals, "add"): "item_signals",
    (Windows, "slide"): "windows",
    (Windows, "add"): "windows",
    (fold, "feature_vector"): "features",
    (fold, "predict"): "scores",
    (choosing, "shortlists"): "retrieval",
    (choosing, "slate_features"): "slate features",
    (choosing, "decide"): "choice",
    (deciding.Decider, "decide"): "deciding",
    (MemoryTopics, "append"): "in-memory topics",
}


class Stages:
    """Time by stage, exclusive: what a wrapped function calls that is wrapped, too, counts there only.

    Attributes:
        ns: Nanoseconds by stage.
    """

    def __init__(self) -> None:
        self.ns: dict[str, int] = defaultdict(int)
        self._inner_ns = [0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function, charging the stage whenever it is called."""
        ns, inner_ns = self.ns, self._inner_ns

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            inner_ns.append(0)
            begun_ns = perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                spent_ns = perf_counter_ns() - begun_ns
                ns[stage] += spent_ns - inner_ns.pop()
                inner_ns[-1] += spent_ns

        return wrapped

    def us_per(self, events: int) -> dict[str, float]:
        """Divides by a number of events, the largest stage first."""
        return {
            stage: round(spent / 1000 / events, 2)
            for stage, spent in sorted(self.ns.items(), key=lambda entry: -entry[1])
        }


class _TimedEncoder:
    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self.encode = encode


@contextmanager
def watched(stages: Stages, functions: Mapping[tuple[Any, str], str]) -> Iterator[None]:
    """Charges functions to stages for a while: ``(owner, attribute)`` to the stage; encoders by their ``encode``."""
    originals = [(owner, name, getattr(owner, name)) for owner, name in functions]
    try:
        for owner, name, original in originals:
            stage = functions[owner, name]
            encode = getattr(original, "encode", None)
            timed: Any = _TimedEncoder(stages.timed(stage, encode)) if encode else stages.timed(stage, original)
            setattr(owner, name, timed)
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def measure_core(quick: bool) -> dict[str, Any]:
    """Folds what shoppers do and answer; what counts is the folds' processor time, once it has warmed up."""
    rounds, warm = (16, 4) if quick else (60, 12)
    pipeline, shop, stages = Pipeline(), Shop(), Stages()
    recommended = MemoryReader(pipeline.topics, RECOMMENDATIONS)
    cpu_ns, wall_ns, events, decisions = 0, 0, 0, 0
    collect_rarely()  # as a worker does, and what follows
    keep_freed_memory()
    for number in range(warm + rounds):
        for event in shop.events(BATCH_RECORDS):
            pipeline.publish(event)
        for value in recommended.take():
            decisions += number >= warm
            for event in shop.answers(decode_recommendation(value)):
                pipeline.publish(event)
        spent_ns, passed_ns, taken = _work(pipeline, stages if number >= warm else Stages())
        if number >= warm:
            cpu_ns, wall_ns, events = cpu_ns + spent_ns, wall_ns + passed_ns, events + taken
    # Stages are taken on the wall clock, which is read faster; their sum is brought to the processor's.
    share = cpu_ns / wall_ns
    return {
        "events": events,
        "decisions": decisions,
        "events_per_core_s": round(events / cpu_ns * 1e9),
        "cpu_us_per_event": round(cpu_ns / events / 1000, 2),
        "stage_us_per_event": {stage: round(us * share, 2) for stage, us in stages.us_per(events).items()},
        **row_bytes(pipeline),
    }


def row_bytes(pipeline: Pipeline) -> dict[str, int]:
    """Takes the sizes of the users' rows."""
    sizes = sorted(len(row) for rows in pipeline.behaviour.table.rows.values() for row in rows.values())
    return {"row_bytes_p50": sizes[len(sizes) // 2], "row_bytes_p99": sizes[len(sizes) * 99 // 100]}


def _work(pipeline: Pipeline, stages: Stages) -> tuple[int, int, int]:
    """Folds what there is; returns processor and wall time, and how many events of the clickstream it were."""
    cpu_ns, wall_ns = process_time_ns(), perf_counter_ns()
    with watched(stages, STAGES):
        stages.timed("global_tables", pipeline.refresh)()
        taken = sum(pipeline.behaviour.step(number, BATCH_RECORDS) for number in pipeline.partitions)
    stages.timed("items", pipeline.items.drain)(BATCH_RECORDS)
    stages.timed("learning", pipeline.learning.drain)(BATCH_RECORDS)
    return process_time_ns() - cpu_ns, perf_counter_ns() - wall_ns, taken


def measure_pipeline(quick: bool) -> dict[str, Any]:
    """Runs a worker with all folds over a backlog of shoppers' own events."""
    events = 10_000 if quick else 60_000
    start = _usage(PARTITIONS)
    steps: dict[str, Any] = {}
    usage = _usage(events, lambda servers: steps.update(_steps(servers)))
    cpu_s = usage.cpu_s - start.cpu_s
    return {
        "events": events,
        "events_per_core_s": round(events / cpu_s),
        "cpu_us_per_event": round(cpu_s / events * 1e6, 2),
        "step_wall_us_per_record": steps,
        "peak_rss_mib": round(usage.peak_rss_bytes / 2**20),
    }


def _usage(events: int, look: Callable[[str], object] = lambda servers: None) -> Usage:
    return run_worker(shopping(Shop(), events), WORKER, until_committed(*SOURCES), look=look)


def shopping(shop: Shop, events: int) -> Iterator[Message]:
    for event in shop.events(events):
        yield Message(CLICKSTREAM, encode_event(event), event.user_id or "")


def _steps(servers: str) -> dict[str, dict[str, float]]:
    """Reads the worker's last record of the time of its steps, by fold."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "benchmark", "auto.offset.reset": "earliest"})
    consumer.subscribe([METRICS])
    last: dict[str, FoldMetrics] = {}
    while messages := consumer.consume(500, 5.0):
        for message in messages:
            record = decode_metrics(message.value())
            last = record.folds if isinstance(record, WorkerMetrics) else last
    consumer.close()
    return {
        source: {step: round(us, 2) for step, us in fold.step_us_per_record.items()} for source, fold in last.items()
    }
