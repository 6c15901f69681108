"""The whole pipeline: windows, features, targets with their families, a decision on every view, relations, learning.

``core`` runs the real folds and the real protocol in memory, so that its processor time is the computing alone; half of
the slates are seen, and some are clicked. ``pipeline`` is one worker with all folds on the embedded broker, RocksDB and
changelogs included, which takes the same shoppers' own events from a backlog.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

import orjson
from confluent_kafka import Consumer

from benchmarks import engine
from benchmarks.shop import Shop
from benchmarks.stages import Stages, watched
from streams.contract.events import Event, encode_event
from streams.contract.outputs import Output
from streams.contract.records import decode_item, decode_parameters, decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import (
    CLICKSTREAM,
    EXPERIENCES,
    ITEMS,
    METRICS,
    MODELS,
    RECOMMENDATIONS,
    RELATIONS,
)
from streams.core import deciding, predicting, row
from streams.core.behaviour import BehaviourFold
from streams.core.experiences import Experiences
from streams.core.features.schema import feature_schema
from streams.core.features.windows import Windows
from streams.core.learning import LearningFold
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.predicting import Predictor
from streams.core.relating import Relating
from streams.core.relations import RelationsFold
from streams.core.retrieval.catalogue import Catalogue
from streams.engine import protocol
from streams.engine.allocator import keep_freed_memory
from streams.engine.garbage import collect_seldom
from streams.engine.memory import MemoryTopics, MemoryWorker
from streams.ops.broker import EmbeddedBroker

LATE_MS: Final = 4_102_444_800_000
BATCH_RECORDS: Final = 1000
WORKER: Final = (sys.executable, "-m", "streams.ops.cli", "worker")
STAGES: Final = {
    (protocol, "decode"): "decode",
    (protocol, "load"): "load",
    (protocol, "fold"): "state",
    (protocol, "_encode"): "encode",
    (BehaviourFold, "encode_row"): "encode",
    (predicting, "JSON"): "encode",
    (deciding, "JSON"): "encode",
    (deciding, "MSGPACK"): "encode",
    (Experiences, "outputs"): "encode",
    (Relating, "outputs"): "encode",
    (Relating, "add"): "relating",
    (Windows, "slide"): "windows",
    (Windows, "add"): "windows",
    (row, "feature_vector"): "features",
    (Predictor, "predict"): "scores",
    (deciding, "shortlists"): "retrieval",
    (deciding, "slate_features"): "slate features",
    (deciding, "decide"): "choice",
    (deciding.Decider, "decide"): "deciding",
    (MemoryTopics, "append"): "in-memory topics",
}


class Core:
    """The folds in memory with their feeds, as one worker would run them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = MemoryTopics(settings, lambda: LATE_MS)
        self.catalogue = Catalogue(settings)
        self.scorers = Scorers(settings.targets, feature_schema(settings.windows))
        self.policies = PolicyModels(settings.decisions)
        fold = BehaviourFold(settings, self.catalogue, self.scorers, self.policies)
        self.behaviour = MemoryWorker(fold, self.topics, settings)
        self.relations = MemoryWorker(RelationsFold(settings), self.topics, settings)
        self.learning = MemoryWorker(LearningFold(settings), self.topics, settings)
        self._read: dict[tuple[str, int], int] = defaultdict(int)

    def publish(self, event: Event) -> None:
        key = (event.user_id or "").encode()
        self.topics.append(Output(CLICKSTREAM, key, encode_event(event)))

    def unread(self, topic: str) -> list[bytes]:
        values: list[bytes] = []
        for partition in range(self.topics.partitions[topic]):
            records = self.topics.records[topic, partition]
            values += [record.value or b"" for record in records[self._read[topic, partition] :]]
            self._read[topic, partition] = len(records)
        return values

    def refresh(self) -> None:
        self.catalogue.apply([decode_item(value) for value in self.unread(ITEMS)])
        for parameters in map(decode_parameters, self.unread(MODELS)):
            taker = self.policies if parameters.learner in self.policies.versions else self.scorers
            taker.apply(parameters)


def measure_core(quick: bool) -> dict[str, Any]:
    """Folds what shoppers do and answer; what counts is the folds' processor time, once it has warmed up."""
    rounds, warm = (16, 4) if quick else (60, 12)
    core, shop, stages = Core(Settings()), Shop(), Stages()
    cpu_ns, wall_ns, events, decisions = 0, 0, 0, 0
    collect_seldom()  # as a worker does, and what follows
    keep_freed_memory()
    for number in range(warm + rounds):
        for event in shop.events(BATCH_RECORDS):
            core.publish(event)
        for value in core.unread(RECOMMENDATIONS):
            decisions += number >= warm
            for event in shop.answers(decode_recommendation(value)):
                core.publish(event)
        spent_ns, passed_ns, taken = _work(core, stages if number >= warm else Stages())
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
        **row_bytes(core),
    }


def row_bytes(core: Core) -> dict[str, int]:
    """Takes the sizes of the users' rows."""
    sizes = sorted(len(row) for rows in core.behaviour.table.rows.values() for row in rows.values())
    return {"row_bytes_p50": sizes[len(sizes) // 2], "row_bytes_p99": sizes[len(sizes) * 99 // 100]}


def _work(core: Core, stages: Stages) -> tuple[int, int, int]:
    """Folds what there is; returns processor and wall time, and how many events of the clickstream it were."""
    cpu_ns, wall_ns = process_time_ns(), perf_counter_ns()
    with watched(stages, STAGES):
        stages.timed("feeds", core.refresh)()
        taken = sum(core.behaviour.step(number, BATCH_RECORDS) for number in range(core.settings.kafka.partitions))
    stages.timed("relations", core.relations.drain)(BATCH_RECORDS)
    stages.timed("learning", core.learning.drain)(BATCH_RECORDS)
    return process_time_ns() - cpu_ns, perf_counter_ns() - wall_ns, taken


def measure_pipeline(quick: bool) -> dict[str, Any]:
    """Runs a worker with all folds over a backlog of shoppers' own events."""
    events = 10_000 if quick else 60_000
    start = _usage(engine.PARTITIONS, lambda broker: {})
    steps: dict[str, Any] = {}
    usage = _usage(events, lambda broker: steps.update(_steps(broker)))
    cpu_s = usage.cpu_s - start.cpu_s
    return {
        "events": events,
        "events_per_core_s": round(events / cpu_s),
        "cpu_us_per_event": round(cpu_s / events * 1e6, 2),
        "step_wall_us_per_record": steps,
        "peak_rss_mib": round(usage.peak_rss_bytes / 2**20),
    }


def _usage(events: int, look: Callable[[EmbeddedBroker], object]) -> engine.Usage:
    with EmbeddedBroker(engine.TOPICS) as broker:
        publish_shopping(broker, events)
        usage = engine.run_worker(broker, WORKER, (CLICKSTREAM, RELATIONS, EXPERIENCES))
        look(broker)
    return usage


def publish_shopping(broker: EmbeddedBroker, events: int) -> None:
    """Publishes what shoppers do of their own accord."""
    with engine.publisher(broker) as producer:
        for number, event in enumerate(Shop().events(events)):
            producer.produce(CLICKSTREAM, encode_event(event), event.user_id)
            if number % 1000 == 0:
                producer.poll(0)


def _steps(broker: EmbeddedBroker) -> dict[str, dict[str, float]]:
    """Reads what the worker said last of its steps, by fold."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "benchmark", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([METRICS])
    last: dict[str, Any] = {}
    while messages := consumer.consume(500, 5.0):
        for message in messages:
            value = orjson.loads(message.value() or b"{}")
            last = value.get("folds") or last
    consumer.close()
    return {
        source: {step: round(us, 2) for step, us in fold["step_us_per_record"].items()} for source, fold in last.items()
    }
