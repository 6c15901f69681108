"""The log of a shop that answers, with what is late, double and wrong, and what the folds make of it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import msgspec

from streams.contract.events import Event, encode_event
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import ItemSignal, decode_item_signals, decode_recommendation
from streams.contract.settings import Decisions, Kafka, Settings, Target, Time, Window
from streams.contract.topics import (
    CLICKSTREAM,
    DEAD_LETTERS,
    DECISIONS,
    ITEM_SIGNALS,
    PREDICTIONS,
    RECOMMENDATIONS,
)
from streams.core.learning.row import LearnerRow
from streams.testing import Example, MemoryRecord, MemoryWorker, Outcome, Pipeline

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
SETTINGS = Settings(
    kafka=Kafka(partitions=2),
    time=Time(allowed_lateness_s=240.0, confirming_users=1),
    windows=(Window(name="5m", pane_s=60, panes=5), Window(name="1h", pane_s=300, panes=12)),
    targets=(
        Target(
            name="purchase",
            label="purchase",
            horizon_s=1200,
            sampling_rate=0.7,
            prior=0.05,
            models=("linear", "additive", "perceptron", "blend"),
        ),
        Target(name="cart", label="add_to_cart", horizon_s=300, sampling_rate=0.7, prior=0.1, labels="correct"),
        Target(name="click", label="click", horizon_s=240, sampling_rate=0.7, prior=0.1),
        Target(name="churn", rule="churn", horizon_s=7200, sampling_rate=0.9, prior=0.3),
        Target(name="next_category", rule="next_category", horizon_s=600, sampling_rate=0.7, prior=0.3),
        Target(name="rating", rule="rating", horizon_s=3600, sampling_rate=0.7, prior=0.6),
        Target(name="spend", rule="spend", horizon_s=1200, sampling_rate=0.7, prior=4.0, models=("hurdle",)),
    ),
    decisions=Decisions(q_epsilon=0.7),
)
PUBLISHED = (PREDICTIONS, RECOMMENDATIONS, DECISIONS, DEAD_LETTERS)
Log = dict[int, list[MemoryRecord]]


def fold_one_by_one(pipeline: Pipeline, partition: int) -> None:
    """Folds what is new in one partition of the clickstream, event by event."""
    while pipeline.behaviour.step(partition, 1):
        pass


def shop(
    pipeline: Pipeline,
    n_events: int,
    after_event: Callable[[], None] = lambda: None,
    seed: int = 1,
    fold: Callable[[Pipeline, int], None] = fold_one_by_one,
) -> None:
    """Lets shoppers look around and answer what they are shown; some of what they do is late, double or wrong.

    Shoppers come in waves with an hour between, so that one event may make a lot fall due.

    Args:
        fold: Called with a partition after each of its events.
    """
    random, asking = Random(seed), Random(seed)
    answers: list[tuple[int, int, Event]] = []
    now_ms = START_MS
    for number in range(n_events):
        now_ms += random.choice((1, 2_000, 9_000, 40_000)) if number % 150 else 60 * MINUTE_MS
        while answers and answers[0][0] <= now_ms:
            fold(pipeline, pipeline.publish(heappop(answers)[2]))
        event = _organic(random, number, now_ms)
        partition = pipeline.publish(event)
        fold(pipeline, partition)
        recommended = pipeline.topics.records[RECOMMENDATIONS, partition]
        if event.kind == "view" and recommended:
            for answer in _answers(random, recommended[-1].value or b"", now_ms):
                heappush(answers, (answer.timestamp_ms, len(answers) + 1000 * number, answer))
        if number % 6 == 0:
            partition = pipeline.publish(_request(asking, number, now_ms))
            fold(pipeline, partition)
            slate = pipeline.topics.records[RECOMMENDATIONS, partition][-1:]
            for answer in _answers(asking, slate[0].value or b"", now_ms) if slate else ():
                heappush(answers, (answer.timestamp_ms, len(answers) + 1000 * number, answer))
        if number % 11 == 0:
            fold(pipeline, pipeline.publish(event))
        if number % 29 == 0:
            _rubbish(pipeline, number // 29, event)
        after_event()
    pipeline.tick(now_ms + 90 * MINUTE_MS)
    pipeline.tick(now_ms + 24 * 60 * MINUTE_MS)
    pipeline.behaviour.drain(1)


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


def _request(random: Random, number: int, now_ms: int) -> Event:
    """A request for a slate, in time or late: of what retrieval finds, of a few items, of many, of unknown ones."""
    n_candidates = random.choice((0, 1, 8, 20, 21, 100))
    return Event(
        event_id=f"d{number}",
        timestamp_ms=now_ms - random.choice((0, 0, 0, 2 * 3600 * 1000)),
        kind="decide",
        user_id=f"user-{min(int(random.expovariate(0.15)), 23)}",
        candidates=tuple(f"item-{item}" for item in random.sample(range(150), n_candidates)) or None,
        n=random.choice((None, 1, 20)),
        surface=random.choice((None, "home")),
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


def _rubbish(pipeline: Pipeline, number: int, event: Event) -> None:
    topics = pipeline.topics
    key, value = (event.user_id or "").encode(), encode_event(event)
    partition = partition_of(key, len(pipeline.partitions))
    every = [
        (key, b""),
        (key, b"\xff" * 9),
        (key, value[:-5]),
        (b"somebody", value),
        (key, value.replace(event.kind.encode(), b"stare")),
        (key, b"{" + b" " * 70_000 + b"}"),
        (key, value[:-1] + b',"candidates":["a","a"]}'),
    ]
    wrong = every[number % len(every)]
    topics.append(Output(CLICKSTREAM, *wrong, partition))
    topics.append(Output(CLICKSTREAM, key, value, (partition + 1) % len(pipeline.partitions)))
    ahead = msgspec.structs.replace(event, timestamp_ms=event.timestamp_ms + 10**9)
    topics.append(Output(CLICKSTREAM, key, encode_event(ahead), partition), event.timestamp_ms)


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
    for learner in pipeline.settings.learners:
        for example in pipeline.examples(learner):
            found[learner, example.partition].append(example)
    return dict(found)


def outcomes(pipeline: Pipeline) -> dict[tuple[str, int], list[Outcome]]:
    """The outcome of every served prediction, in the same way."""
    found: dict[tuple[str, int], list[Outcome]] = defaultdict(list)
    for target in pipeline.settings.targets:
        for outcome in pipeline.outcomes(target.name):
            found[target.name, outcome.partition].append(outcome)
    return dict(found)


def signals(pipeline: Pipeline) -> dict[tuple[int, int], list[ItemSignal]]:
    """Every signal by its partition and its source's, in order, however they were gathered into records."""
    found: dict[tuple[int, int], list[ItemSignal]] = defaultdict(list)
    for partition in pipeline.partitions:
        for record in pipeline.topics.records[ITEM_SIGNALS, partition]:
            batch = decode_item_signals(record.value or b"")
            found[partition, batch.partition] += batch.signals
    return dict(found)


def learned_rows(pipeline: Pipeline) -> dict[tuple[str, int, bytes], bytes]:
    """Items' and learners' rows as they are stored, but for what counts records: applied offsets, versions, repeats."""
    workers: list[MemoryWorker[Any, Any]] = [pipeline.items, pipeline.learning]
    found: dict[tuple[str, int, bytes], bytes] = {}
    for worker in workers:
        fold = worker.fold
        for (partition, key), value in worker.rows().items():
            row = fold.decode_row(value)
            row.applied_offset = 0
            if isinstance(row, LearnerRow):
                row.version = row.duplicates = 0
                row.applied_positions.last = dict(sorted(row.applied_positions.last.items()))
            found[fold.source, partition, key] = fold.encode_row(row)
    return found


def differing(rows: Mapping[Any, bytes], expected: Mapping[Any, bytes]) -> list[Any]:
    """Names the rows that are not as expected; a diff of rows would be a page of bytes, and takes pytest minutes."""
    return sorted(key for key in rows.keys() | expected.keys() if rows.get(key) != expected.get(key))


@cache
def shopped() -> Pipeline:
    """A log with feedback to decisions made with frozen global tables of an earlier run, folded one by one."""
    open_loop = Pipeline(SETTINGS)
    counter = count(1)

    def learn() -> None:
        if not next(counter) % 100:
            open_loop.learn(50)
            open_loop.refresh()

    shop(open_loop, 600, learn, seed=1)
    open_loop.learn(50)
    frozen = Pipeline(SETTINGS, global_tables=open_loop.global_tables)
    shop(frozen, 600, seed=2)
    return frozen


def replay(log: Log | None = None) -> Pipeline:
    """The same log, or another, before anything is folded; the global tables are those of :func:`shopped`."""
    return Pipeline(SETTINGS, shopped().begun_with, log or shopped().log)


@cache
def replayed(batch_records: int) -> Pipeline:
    """The same log folded in batches of another size."""
    pipeline = replay()
    pipeline.behaviour.drain(batch_records)
    pipeline.learn(10 * batch_records)
    return pipeline
