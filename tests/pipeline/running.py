"""All three folds in memory with their feeds, where Behaviour may be cut off, and a shop that answers."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, PartitionRow, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.records import (
    ExperienceBatch,
    Relation,
    decode_experiences,
    decode_item,
    decode_parameters,
    decode_recommendation,
    decode_relations,
)
from streams.contract.settings import Decisions, Kafka, Settings, Target, Time, Window
from streams.contract.topics import (
    CLICKSTREAM,
    DEAD_LETTERS,
    DECISIONS,
    EXPERIENCES,
    ITEMS,
    MODELS,
    PREDICTIONS,
    RECOMMENDATIONS,
    RELATIONS,
    USERS_CHANGELOG,
)
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.learning import LearningFold
from streams.core.learning.row import LearnerRow
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.relations import RelationsFold
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.memory import MemoryRecord, MemoryTopics, MemoryWorker

START_MS = 1_700_000_000_000
LAST_MS = 4_102_444_800_000
MINUTE_MS = 60_000
SETTINGS = Settings(
    kafka=Kafka(partitions=2),
    time=Time(allowed_lateness_s=240.0),
    windows=(Window(name="5m", pane_s=60, panes=5), Window(name="1h", pane_s=300, panes=12)),
    targets=(
        Target(
            name="purchase",
            label="purchase",
            horizon_s=1200,
            sampling_rate=0.7,
            prior=0.05,
            members=("linear", "additive", "perceptron", "blend"),
        ),
        Target(name="cart", label="add_to_cart", horizon_s=300, sampling_rate=0.7, prior=0.1, labels="correct"),
        Target(name="click", label="click", horizon_s=240, sampling_rate=0.7, prior=0.1),
        Target(name="churn", rule="churn", horizon_s=7200, sampling_rate=0.9, prior=0.3),
        Target(name="next_category", rule="next_category", horizon_s=600, sampling_rate=0.7, prior=0.3),
        Target(name="rating", rule="rating", horizon_s=3600, sampling_rate=0.7, prior=0.6),
        Target(name="spend", rule="spend", horizon_s=1200, sampling_rate=0.7, prior=4.0, members=("hurdle",)),
    ),
    decisions=Decisions(q_epsilon=0.7),
)
PUBLISHED = (PREDICTIONS, RECOMMENDATIONS, DECISIONS, DEAD_LETTERS)
Log = dict[int, list[MemoryRecord]]


class Example(NamedTuple):
    """One example, taken out of its columns."""

    trigger: tuple[int, int]
    vector: bytes
    label: float
    probabilities: dict[str, float]
    weight: float
    timestamp_ms: int


class Crash(BaseException):
    """The worker is cut off; nothing may catch it."""


class Topics(MemoryTopics):
    """Topics on which the worker can be cut off within a delivery.

    Attributes:
        budget: Records that may still be delivered; ``None`` is no limit.
    """

    budget: int | None = None

    async def deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if self.budget is not None:
                if not self.budget:
                    raise Crash
                self.budget -= 1
            self.append(output)


class Pipeline:
    """The folds, their topics and their feeds.

    Args:
        feeds: Values of the items and the models feed that Behaviour begins with.
        log: What ``clickstream`` holds.
    """

    def __init__(
        self,
        settings: Settings = SETTINGS,
        feeds: tuple[list[bytes], list[bytes]] = ([], []),
        log: Log | None = None,
    ) -> None:
        self.settings = settings
        self.partitions = range(settings.kafka.partitions)
        self.topics = Topics(settings, lambda: LAST_MS)
        for partition, records in (log or {}).items():
            self.topics.records[CLICKSTREAM, partition] = list(records)
        self.catalogue = Catalogue(settings)
        self.scorers = Scorers(settings.targets, feature_schema(settings.windows))
        self.policies = PolicyModels(settings.decisions)
        self._read: dict[tuple[str, int], int] = defaultdict(int)
        self.begun_with = feeds
        self._take(*feeds)
        fold = BehaviourFold(settings, self.catalogue, self.scorers, self.policies)
        self.behaviour = MemoryWorker(fold, self.topics, settings)
        self.relations = MemoryWorker(RelationsFold(settings), self.topics, settings)
        self.learning = MemoryWorker(LearningFold(settings), self.topics, settings)

    @property
    def log(self) -> Log:
        return {partition: self.topics.records[CLICKSTREAM, partition] for partition in self.partitions}

    @property
    def feeds(self) -> tuple[list[bytes], list[bytes]]:
        """All that was ever sent to the feeds."""
        return self.topics.values(ITEMS), self.topics.values(MODELS)

    def publish(self, event: Event) -> int:
        """Appends an event to its user's partition, which is returned."""
        key = (event.user_id or "").encode()
        self.topics.append(Output(CLICKSTREAM, key, encode_event(event)))
        return next(number for number in self.partitions if self._ends_with(number, key))

    def tick(self, at_ms: int) -> None:
        """Lets time pass in all partitions."""
        for partition in self.partitions:
            value = encode_event(Event(event_id="tick", timestamp_ms=at_ms, kind="tick"))
            self.topics.append(Output(CLICKSTREAM, None, value, partition))

    def fold(self, partition: int) -> None:
        """Folds what is new in one partition of the clickstream, event by event."""
        while self.behaviour.step(partition, 1):
            pass

    def behave(self, batch_records: int) -> None:
        """Folds the clickstream, one partition after the other, so that the order of experiences is a given."""
        for partition in self.partitions:
            while self.behaviour.step(partition, batch_records):
                pass

    def learn(self, batch_records: int) -> None:
        """Folds what Behaviour has sent."""
        for worker in (self.relations, self.learning):
            for partition in range(self.topics.partitions[worker.engine.fold.source]):
                while worker.step(partition, batch_records):
                    pass

    def refresh(self) -> None:
        """Hands Behaviour what is new on the feeds."""
        self._take(self._unread(ITEMS), self._unread(MODELS))

    def crash(self) -> None:
        """Ends Behaviour's process; the next one recovers its table from the changelog."""
        self.topics.budget = None
        for partition in self.partitions:
            for record in self.topics.records[USERS_CHANGELOG, partition]:
                self.behaviour.table.rows[partition][record.key or b""] = record.value or b""
        self.behaviour.restart()

    def _take(self, items: list[bytes], models: list[bytes]) -> None:
        self.catalogue.apply([decode_item(value) for value in items])
        for parameters in map(decode_parameters, models):
            applied = self.policies.apply(parameters) or self.scorers.apply(parameters)
            assert applied

    def _unread(self, topic: str) -> list[bytes]:
        values: list[bytes] = []
        for partition in range(self.topics.partitions[topic]):
            records = self.topics.records[topic, partition]
            values += [record.value or b"" for record in records[self._read[topic, partition] :]]
            self._read[topic, partition] = len(records)
        return values

    def _ends_with(self, partition: int, key: bytes) -> bool:
        records = self.topics.records[CLICKSTREAM, partition]
        return bool(records) and records[-1].key == key


def shop(pipeline: Pipeline, n_events: int, after_event: Callable[[], None] = lambda: None, seed: int = 1) -> None:
    """Lets shoppers look around and answer what they are shown; some of what they do is late, double or wrong.

    Shoppers come in waves with an hour between, so that one event may make a lot fall due.
    """
    random = Random(seed)
    answers: list[tuple[int, int, Event]] = []
    now_ms = START_MS
    for number in range(n_events):
        now_ms += random.choice((1, 2_000, 9_000, 40_000)) if number % 150 else 60 * MINUTE_MS
        while answers and answers[0][0] <= now_ms:
            _publish_and_fold(pipeline, heappop(answers)[2])
        event = _organic(random, number, now_ms)
        partition = _publish_and_fold(pipeline, event)
        recommended = pipeline.topics.records[RECOMMENDATIONS, partition]
        if event.kind == "view" and recommended:
            for answer in _answers(random, recommended[-1].value or b"", now_ms):
                heappush(answers, (answer.timestamp_ms, len(answers) + 1000 * number, answer))
        if number % 11 == 0:
            _publish_and_fold(pipeline, event)
        if number % 29 == 0:
            _rubbish(pipeline, random, partition, event)
        after_event()
    pipeline.tick(now_ms + 90 * MINUTE_MS)
    pipeline.tick(now_ms + 24 * 60 * MINUTE_MS)
    pipeline.behave(1)


def _publish_and_fold(pipeline: Pipeline, event: Event) -> int:
    partition = pipeline.publish(event)
    pipeline.fold(partition)
    return partition


def _organic(random: Random, number: int, now_ms: int) -> Event:
    kind: Any = random.choices(
        ["view", "search", "add_to_cart", "remove_from_cart", "purchase", "rating"], [70, 6, 10, 2, 8, 4]
    )[0]
    item = min(int(random.expovariate(0.1)), 39)
    behind_ms = random.choices((0, random.randrange(200_000), 2 * 3600 * 1000), [90, 7, 3])[0]
    return Event(
        event_id=f"e{number}",
        timestamp_ms=now_ms - behind_ms,
        kind=kind,
        user_id=f"user-{min(int(random.expovariate(0.15)), 23)}",
        item_id=None if kind == "search" else f"item-{item}",
        category=None if kind == "search" or item == 7 else f"category-{item % 5}",
        price=None if item % 9 == 4 else round(random.uniform(3, 90), 2),
        quantity=random.choice((None, 1, 3)) if kind == "purchase" else None,
        query="shoes" if kind == "search" else None,
        rating=float(number % 5 + 1) if kind == "rating" else None,
    )


def _answers(random: Random, value: bytes, now_ms: int) -> Iterator[Event]:
    """The impression of what was recommended, and clicks: in time, too late, double, before it, of another decision."""
    recommended = decode_recommendation(value)
    if not recommended.items or random.random() < 0.15:
        return
    shown_ms = now_ms + random.choice((500, 3_000, 30_000))
    decision_id = recommended.decision_id if random.random() < 0.95 else recommended.decision_id[:-1] + "x"
    common: dict[str, Any] = {"user_id": recommended.user_id, "decision_id": decision_id}
    reference = f"{recommended.event_ref}-{random.randrange(10**9)}"
    slots = list(enumerate(recommended.items))
    if random.random() < 0.7:
        yield Event(event_id=f"i-{reference}", timestamp_ms=shown_ms, kind="impression", **common)
    else:
        for slot, item in slots[:2]:
            yield Event(
                event_id=f"i{slot}-{reference}",
                timestamp_ms=shown_ms + slot * 800,
                kind="impression",
                item_id=item.item_id,
                position=slot,
                **common,
            )
    yield from _taken(random, random.choice(recommended.items).item_id, reference, shown_ms, recommended.user_id)
    for click in range(random.choices((0, 1, 2), [50, 40, 10])[0]):
        slot, item = random.choice(slots)
        yield Event(
            event_id=f"c{click}-{reference}",
            timestamp_ms=shown_ms + random.choices((-400, 5_000, 90_000, 290_000, 420_000), [1, 4, 3, 1, 1])[0],
            kind="click",
            item_id=item.item_id,
            position=slot,
            **common,
        )


def _taken(random: Random, item_id: str, reference: str, shown_ms: int, user_id: str) -> Iterator[Event]:
    """What becomes of an item that was shown: it is put into the cart, bought, or both, in time or not."""
    kind: Any
    for kind, share, delays_ms in (
        ("add_to_cart", 0.25, (2_000, 50_000, 700_000)),
        ("purchase", 0.25, (9_000, 600_000, 1_000_000)),
    ):
        if random.random() < share:
            yield Event(
                event_id=f"{kind}-{reference}",
                timestamp_ms=shown_ms + random.choice(delays_ms),
                kind=kind,
                user_id=user_id,
                item_id=item_id,
                price=random.choice((None, 12.5)),
            )


def _rubbish(pipeline: Pipeline, random: Random, partition: int, event: Event) -> None:
    records = pipeline.topics.records[CLICKSTREAM, partition]
    key, value = (event.user_id or "").encode(), encode_event(event)
    wrong = random.choice(
        [
            (key, b""),
            (key, b"\xff" * 9),
            (key, value[:-5]),
            (b"somebody", value),
            (key, value.replace(event.kind.encode(), b"stare")),
            (key, b"{" + b" " * 70_000 + b"}"),
        ]
    )
    records.append(MemoryRecord(len(records), LAST_MS, *wrong))
    other = (partition + 1) % len(pipeline.partitions)
    elsewhere = pipeline.topics.records[CLICKSTREAM, other]
    elsewhere.append(MemoryRecord(len(elsewhere), LAST_MS, key, value))
    ahead = msgspec.structs.replace(event, timestamp_ms=event.timestamp_ms + 10**9)
    records.append(MemoryRecord(len(records), event.timestamp_ms, key, encode_event(ahead)))


def published(pipeline: Pipeline) -> dict[Any, list[bytes | None]]:
    """What people and other teams read, in order, by topic, partition and key; dead letters by where they come from."""
    outputs: dict[Any, list[bytes | None]] = defaultdict(list)
    for (topic, partition), records in pipeline.topics.records.items():
        if topic in PUBLISHED:
            for record in records:
                outputs[topic, partition, record.key, record.headers].append(record.value)
    return dict(outputs)


def examples(pipeline: Pipeline) -> dict[tuple[str, int], list[Example]]:
    """Every example by learner and source partition, in order, however they were gathered into records."""
    found: dict[tuple[str, int], list[Example]] = defaultdict(list)
    for value in pipeline.topics.values(EXPERIENCES):
        batch = decode_experiences(value)
        found[batch.learner, batch.partition] += _unpacked(batch)
    return dict(found)


def _unpacked(batch: ExperienceBatch) -> Iterator[Example]:
    size = len(batch.offsets) // 8
    columns = zip(
        np.frombuffer(batch.offsets, np.int64).tolist(),
        np.frombuffer(batch.indices, np.int32).tolist(),
        np.frombuffer(batch.vectors, np.float32).reshape(size, batch.columns),
        np.frombuffer(batch.labels).tolist(),
        np.frombuffer(batch.probabilities).reshape(size, len(batch.members)).tolist(),
        np.frombuffer(batch.weights).tolist(),
        np.frombuffer(batch.timestamps_ms, np.int64).tolist(),
        strict=True,
    )
    for offset, index, vector, label, served, weight, timestamp_ms in columns:
        probabilities = dict(zip(batch.members, served, strict=True))
        yield Example((offset, index), vector.tobytes(), label, probabilities, weight, timestamp_ms)


def relations(pipeline: Pipeline) -> dict[tuple[int, int], list[Relation]]:
    """Every relation by its partition and its source's, in order, however they were gathered into records."""
    found: dict[tuple[int, int], list[Relation]] = defaultdict(list)
    for partition in pipeline.partitions:
        for record in pipeline.topics.records[RELATIONS, partition]:
            batch = decode_relations(record.value or b"")
            found[partition, batch.partition] += batch.relations
    return dict(found)


def user_rows(pipeline: Pipeline) -> dict[tuple[int, bytes], bytes]:
    """Every user's row as it is stored, by partition and key."""
    tables = pipeline.behaviour.table.rows
    return {(n, key): row for n in pipeline.partitions for key, row in tables[n].items() if key != PARTITION_KEY}


def partition_rows(pipeline: Pipeline) -> list[PartitionRow]:
    """Behaviour's own totals; decoded, since totals have no order."""
    return [
        decode_partition_row(pipeline.behaviour.table.rows[number][PARTITION_KEY]) for number in pipeline.partitions
    ]


def learned_rows(pipeline: Pipeline) -> dict[tuple[str, int, bytes], bytes]:
    """Items' and learners' rows as they are stored, but for what counts records: guards, versions, repeats."""
    found: dict[tuple[str, int, bytes], bytes] = {}
    for worker in (pipeline.relations, pipeline.learning):
        fold = worker.engine.fold
        for partition, rows in worker.table.rows.items():
            for key, value in rows.items():
                if key != PARTITION_KEY:
                    row = fold.decode_row(value)
                    row.guard = 0
                    if isinstance(row, LearnerRow):
                        row.version = row.duplicates = 0
                        row.marks = dict(sorted(row.marks.items()))
                    found[fold.source, partition, key] = fold.encode_row(row)
    return found


def differing(rows: Mapping[Any, bytes], expected: Mapping[Any, bytes]) -> list[Any]:
    """Names the rows that are not as expected; a diff of rows would be a page of bytes, and takes pytest minutes."""
    return sorted(key for key in rows.keys() | expected.keys() if rows.get(key) != expected.get(key))


@cache
def shopped() -> Pipeline:
    """A log that holds feedback to the decisions of frozen feeds, which an earlier run has left; folded one by one."""
    open_loop = Pipeline()
    counter = count(1)

    def learn() -> None:
        if not next(counter) % 100:
            open_loop.learn(50)
            open_loop.refresh()

    shop(open_loop, 600, learn, seed=1)
    open_loop.learn(50)
    frozen = Pipeline(feeds=open_loop.feeds)
    shop(frozen, 600, seed=2)
    return frozen


def replay(log: Log | None = None) -> Pipeline:
    """The same log, or another, before anything is folded; the feeds are those of :func:`shopped`."""
    return Pipeline(feeds=shopped().begun_with, log=log or shopped().log)


@cache
def replayed(batch_records: int) -> Pipeline:
    """The same log folded in batches of another size."""
    pipeline = replay()
    pipeline.behave(batch_records)
    pipeline.learn(10 * batch_records)
    return pipeline
