"""Whole workers, all three folds, in a closed loop with shoppers: what the folds make of each other's outputs.

The counting fold has no models and no items. Here both are compared with those of an uninterrupted run over the same
log, to the byte, users' rows with a count by plain Python, and every view with what was recommended for it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.events import MAX_RETRIED_EVENTS, Event, decode_event
from streams.contract.fold import PARTITION_KEY, Fold
from streams.contract.records import (
    MSGPACK,
    Prediction,
    decode_parameters,
    decode_prediction,
    decode_recommendation,
)
from streams.contract.settings import load_settings
from streams.contract.topics import CLICKSTREAM, MODELS, PREDICTIONS, RECOMMENDATIONS
from streams.core.behaviour.recent_ids import ALWAYS_KEPT, hashes_of, id_hash
from streams.core.behaviour.row import UserRow
from streams.core.behaviour.row_view import user_view
from streams.core.items.fold import ItemsFold
from streams.core.learning import LearningFold
from streams.testing import MemoryRecord, MemoryTopics, MemoryWorker
from tests.broker.fresh import make_topics_anew
from tests.chaos.oracle import Verdict, committed_offsets
from tests.system import shoppers
from tests.system.closed_loop import ClosedLoop
from tests.system.cluster import CHANGELOGS, Cluster, Record, Worker
from tests.timeouts import Deadline

POISON_VERSION: Final = 1_000_000_000
EVENTS_A_FAULT: Final = 1000


class ShopScene:
    """Two workers on a broker, a shop that answers, and whoever starts workers again."""

    def __init__(self, it: Cluster, seed: int) -> None:
        self.it = it
        self.shop = ClosedLoop(it)
        self.draw = random.Random(seed)
        self.workers: list[Worker] = []
        self.codes: list[int] = []

    def start(self) -> None:
        """Starts the workers, and lets them learn something first."""
        self.workers = [self.it.start(f"disk-{number}") for number in range(2)]
        self.shop.shop(EVENTS_A_FAULT)
        self.until_recovered()
        self.shop.close()
        self.until_quiet()

    def publish(self, events: int) -> None:
        """Publishes what shoppers do by themselves, and their answers to what they are shown."""
        self.shop.shop(events)
        self.shop.answer()

    def until_recovered(self) -> float:
        """Goes on until each partition has answered a view that came after now; returns how long that took."""
        begun_s = time.monotonic()
        targets = Counter(record.partition for record in self.it.records(CLICKSTREAM))
        answered: Counter[int] = Counter()
        deadline = Deadline(self._said)
        while any(answered[number] <= target for number, target in targets.items()):
            deadline.check()
            self.supervise()
            self.publish(20)
            for record in self.it.fresh(PREDICTIONS):
                answered[record.partition] = max(answered[record.partition], offset_of(decode_prediction(record.value)))
        return time.monotonic() - begun_s

    def until_quiet(self) -> None:
        """Waits until everything is folded by all folds, shown, answered, and folded again."""
        for _ in range(2):
            for source in CHANGELOGS:
                self._until(lambda source=source: self.it.is_folded(source))  # type: ignore[misc] # binds the loop's variable
            self.shop.answer()
        self._until(self._is_committed)

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = Deadline(self._said)
        while not holds():
            deadline.check()
            self.supervise()
            time.sleep(0.05)

    def _is_committed(self) -> bool:
        committed = committed_offsets(self.it.servers, self.it.settings.engine.app_id)
        return all(record.offset < committed[record.partition] for record in self.it.records(CLICKSTREAM))

    def supervise(self) -> None:
        """Starts those workers again that have ended."""
        for place, worker in enumerate(self.workers):
            if worker.code is not None:
                self.codes.append(worker.code)
                self.workers[place] = self.it.start(worker.data_dir.name)

    def _said(self) -> list[str]:
        return [worker.said()[-800:] for worker in self.workers]


@contextmanager
def shop_scene(servers: str, folder: Path, seed: int = 0) -> Iterator[ShopScene]:
    """Makes the topics anew, starts the workers, and leaves nothing running."""
    make_topics_anew(servers, load_settings(environment={}).topics)
    folder.mkdir(parents=True, exist_ok=True)
    it = Cluster(servers, folder, {"HEADRACE_ENGINE__BATCH_RECORDS": "100"})
    try:
        made = ShopScene(it, seed)
        made.start()
        yield made
    finally:
        it.close()


def sigkill(it: ShopScene) -> None:
    """A worker with all three folds is gone, in the middle of what it does."""
    time.sleep(it.draw.uniform(0.0, 1.0))
    it.draw.choice(it.workers).kill()


def poison_snapshot(it: ShopScene) -> None:
    """Somebody writes models that are cut off, unreadable, of other features or no numbers, and a worker is killed.

    The worker that lives, and the one that comes, must go on with what was learned.
    """
    for poison in poisons(it.it.records(MODELS)):
        it.it.produce(poison.value, poison.key, 0, MODELS)
    it.it.flush()
    it.shop.shop(200)
    it.draw.choice(it.workers).kill()


def poisons(models: list[Record]) -> Iterator[Record]:
    """Makes poison of the last good snapshot of every model; its version would be the highest."""
    newest = {record.key: record for record in models if is_good(record.value)}
    for record in newest.values():
        good = decode_parameters(record.value)
        last = msgspec.structs.replace(good, version=POISON_VERSION)
        arrays = unpack_arrays(good.arrays)
        yield record._replace(value=record.value[: len(record.value) // 2])
        yield record._replace(value=b"\xc1 no MessagePack")
        yield record._replace(value=b"")
        yield record._replace(value=MSGPACK.encode(msgspec.structs.replace(last, schema=good.schema ^ 1, arrays={})))
        for wrong in (
            {name: array[:0] for name, array in arrays.items()},
            {name: array * float("nan") for name, array in arrays.items()},
        ):
            yield record._replace(value=MSGPACK.encode(msgspec.structs.replace(last, arrays=pack_arrays(wrong))))


def is_good(value: bytes) -> bool:
    try:
        return decode_parameters(value).version < POISON_VERSION
    except msgspec.DecodeError:
        return False


def judge_shop(scene: ShopScene) -> Verdict:
    """Compares what workers have made with what they should have, all of it as a reader of committed records."""
    it = scene.it
    log = it.records(CLICKSTREAM)
    views = Counter(
        f"{CLICKSTREAM}-{record.partition}-{record.offset}"
        for record in log
        if decode_event(record.value).kind == "view"
    )
    recommended = [decode_recommendation(record.value) for record in it.records(RECOMMENDATIONS)]
    answered = Counter(each.event_ref for each in recommended)
    predictions = [decode_prediction(record.value) for record in it.records(PREDICTIONS)]
    predicted = Counter(each.event_ref for each in predictions)
    used = [each.model_versions for each in recommended] + [each.model_versions for each in predictions]
    poisoned = sum(version >= POISON_VERSION for versions in used for version in versions.values())
    differing = [
        *different(users := user_rows(it), expected_users(it, users)),
        *different(rows(it, "item-signals"), uninterrupted(it, "item-signals", ItemsFold(it.settings))),
        *different(rows(it, "examples"), uninterrupted(it, "examples", LearningFold(it.settings))),
    ]
    committed = committed_offsets(it.servers, it.settings.engine.app_id)
    guards = {number: row.applied_offset for number, row in it.rows_of_partitions(CLICKSTREAM).items()}
    return Verdict(
        lost=len(views - answered),
        duplicated=sum((answered - views).values()) + predicted.total() - len(predicted),
        differing_rows=len(differing) + poisoned,
        misordered=misordered(predictions),
        ahead=sum(guards[each.partition] < each.offset < committed[each.partition] for each in log),
        lag=sum(each.offset >= committed[each.partition] for each in log),
        events=len(log),
    )


def misordered(predictions: Sequence[Prediction]) -> int:
    """Counts those that are of an earlier event than the one before of the same user."""
    last: dict[str, int] = {}
    found = 0
    for each in predictions:
        found += offset_of(each) < last.get(each.user_id, 0)
        last[each.user_id] = offset_of(each)
    return found


def offset_of(prediction: Prediction) -> int:
    return int(prediction.event_ref.removesuffix("-end").rpartition("-")[2])


def different(made: Mapping[Any, Any], expected: Mapping[Any, Any]) -> list[Any]:
    return [key for key in made.keys() | expected.keys() if made.get(key) != expected.get(key)]


def rows(it: Cluster, source: str) -> dict[tuple[int, bytes], bytes]:
    """The rows that a changelog makes."""
    newest = {(each.partition, each.key or b""): each.value for each in it.records(CHANGELOGS[source])}
    return {place: value for place, value in newest.items() if place[1] != PARTITION_KEY}


def user_rows(it: Cluster) -> dict[str, Any]:
    """What is compared of users' rows: the last events, and the sums over the windows."""
    found = {}
    for (_, key), value in rows(it, CLICKSTREAM).items():
        row = msgspec.msgpack.decode(value, type=UserRow)
        found[key.decode()] = hashes_of(row.recent_ids), rounded(user_view(key, value)["windows"])
    return found


def expected_users(it: Cluster, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows should be; how many of the last ids a row keeps depends on their age."""

    def last_ids(user: str, events: Sequence[Event]) -> list[bytes]:
        n_found = len(found[user][0]) if user in found else 0
        n_kept = min(max(n_found, min(len(events), ALWAYS_KEPT)), MAX_RETRIED_EVENTS)
        return [id_hash(event.event_id) for event in events[-n_kept:]]

    by_user = shoppers.by_user(decode_event(record.value) for record in it.records(CLICKSTREAM))
    return {
        user: (
            last_ids(user, events),
            rounded(shoppers.windows(events, it.settings)),
        )
        for user, events in by_user.items()
    }


def rounded(windows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Sums are taken in another order."""
    return {name: {each: round(value, 6) for each, value in sums.items()} for name, sums in windows.items()}


def uninterrupted(it: Cluster, source: str, fold: Fold[Any, Any, Any]) -> dict[tuple[int, bytes], bytes]:
    """The rows that a worker makes of the same log, in memory, where nothing happens to it."""
    topics = MemoryTopics({topic.name: topic.partitions for topic in it.settings.topics})
    for record in it.records(source):
        topics.records[source, record.partition].append(MemoryRecord(record.offset, 0, record.key, record.value))
    worker = MemoryWorker(fold, topics, it.settings.engine)
    worker.drain(100)
    return worker.rows()


OF_WHOLE_WORKERS: Final[dict[str, Callable[[ShopScene], None]]] = {
    "SIGKILL, whole worker": sigkill,
    "poison snapshot": poison_snapshot,
}
