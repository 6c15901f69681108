"""What an event costs as the shop grows: more users who have been here, more items on offer, more partitions.

All folds run in memory but for the users' rows, which are on disk, each as its user left it. Every size has a shop of
its own; they take turns, so that what else the machine does slows all of them.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.pipeline import Core
from benchmarks.shop import START_MS, Shop
from benchmarks.users import DiskTable
from streams.contract.events import Event
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import ItemSummary, decode_recommendation
from streams.contract.settings import Engine, Kafka, Settings
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS
from streams.core.relations import ItemRow
from streams.engine.databases import Databases
from streams.engine.garbage import collect_seldom

SIZES: Final[dict[str, tuple[int, ...]]] = {
    "users": (1_000, 10_000, 100_000, 1_000_000),
    "items": (1_000, 10_000, 50_000, 200_000),
    "partitions": (4, 16, 64),
    "partitions, one backlog": (4, 16, 64),
}
USERS: Final = 20_000
ITEMS: Final = 5_000
PARTITIONS: Final = 4
RECORDS: Final = 250
"""Of each partition in a round. With one backlog for any number of partitions it gets smaller as they are more."""
FORMER_USERS: Final = 200
FORMER_EVENTS: Final = 4_000
AGO_MS: Final = 20 * 86_400_000


class DiskTables:
    """Rows of all partitions, opened as the engine opens them."""

    def __init__(self, folder: Path, partitions: int, limits: Engine) -> None:
        databases = Databases(limits)
        self.tables = [DiskTable(folder / str(number), databases) for number in range(partitions)]

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.tables[partition].read(partition, keys)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return self.tables[partition].scan(partition)

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        self.tables[partition].write(partition, rows, changelog_offset)

    def close(self) -> None:
        for table in self.tables:
            table.close()


class Spent(NamedTuple):
    cpu_ns: int
    events: int


class GrownShop:
    """A shop of some size with the folds that serve it."""

    def __init__(
        self,
        folder: Path,
        users: int = USERS,
        items: int = ITEMS,
        partitions: int = PARTITIONS,
        records: int = RECORDS,
    ) -> None:
        settings = Settings(kafka=Kafka(partitions=partitions))
        self.core = Core(settings)
        self._shop = Shop(users, items)
        self._partitions = partitions
        self._events = records * partitions
        self._users = DiskTables(folder, partitions, settings.engine)
        self.core.behaviour.engine.table = self._users
        self._fill_users(users, left_rows())
        self._fill_items(items, settings)

    def round(self) -> Spent:
        """Lets shoppers act and answer, and folds all of it; only the folds' processor time counts."""
        core, shop = self.core, self._shop
        for event in shop.events(self._events):
            core.publish(event)
        for value in core.unread(RECOMMENDATIONS):
            for event in shop.answers(decode_recommendation(value)):
                core.publish(event)
        begun_ns = process_time_ns()
        core.refresh()
        events = core.behaviour.drain(Settings().engine.batch_records)
        core.relations.drain(Settings().engine.batch_records)
        core.learning.drain(Settings().engine.batch_records)
        return Spent(process_time_ns() - begun_ns, events)

    def close(self) -> None:
        self._users.close()

    def _fill_users(self, users: int, rows: Sequence[bytes]) -> None:
        parts: list[dict[bytes, bytes]] = [{} for _ in range(self._partitions)]
        for number in range(users):
            key = b"user-%d" % number
            parts[partition_of(key, self._partitions)][key] = rows[number % len(rows)]
        for number, part in enumerate(parts):
            self._users.write(number, part, 0)

    def _fill_items(self, items: int, settings: Settings) -> None:
        summaries = []
        encode_row = self.core.relations.engine.fold.encode_row
        for item in offered(items, settings):
            key = item.summary.item_id.encode()
            self.core.relations.table.rows[partition_of(key, self._partitions)][key] = encode_row(item.row)
            summaries.append(item.summary)
        self.core.catalogue.apply(summaries)


class Offered(NamedTuple):
    """An item as relations keep it, and as feeds tell of it."""

    row: ItemRow
    summary: ItemSummary


def offered(items: int, settings: Settings) -> Iterator[Offered]:
    """Makes items with all the neighbours that they may have."""
    width = settings.items.neighbours
    strengths = [float(width - rank) for rank in range(width)]
    for number in range(items):
        others = [f"item-{(number + 40 * rank) % items}" for rank in range(1, width + 1)]
        item_id, category, price = f"item-{number}", f"category-{number % 40}", 5.0 + number % 97
        row = ItemRow(
            half_life_ms=settings.items.half_life_s * 1000,
            landmark_ms=START_MS,
            first_seen_ms=START_MS,
            updated_ms=START_MS,
            published_ms=START_MS,
            category=category,
            price=price,
            popularity=1.0,
            neighbours=dict(zip(others, strengths, strict=True)),
        )
        yield Offered(row, ItemSummary(item_id, category, price, START_MS, START_MS, 1.0, 0.0, 0.0, others, strengths))


def left_rows() -> list[bytes]:
    """Makes rows of users who went weeks ago; all that was open has matured."""
    core, shop = Core(Settings(kafka=Kafka(partitions=1))), Shop(FORMER_USERS)
    shop.now_ms -= AGO_MS
    for event in shop.events(FORMER_EVENTS):
        core.publish(event)
    tick = Event(event_id="tick", timestamp_ms=shop.now_ms + 86_400_000, kind="tick")
    core.topics.append(Output(CLICKSTREAM, None, msgspec.json.encode(tick), 0))
    core.behaviour.drain(RECORDS)
    fold = core.behaviour.engine.fold
    rows = []
    for key, value in core.behaviour.table.scan(0):
        row = fold.decode_row(value)
        if row.deadline_ms:
            raise RuntimeError(f"{key!r} still waits for something")
        row.guard = -1
        row.event_ids = []
        rows.append(fold.encode_row(row))
    return rows


MAKERS: Final[dict[str, Callable[[Path, int], GrownShop]]] = {
    "users": lambda folder, size: GrownShop(folder, users=size),
    "items": lambda folder, size: GrownShop(folder, items=size),
    "partitions": lambda folder, size: GrownShop(folder, partitions=size),
    "partitions, one backlog": lambda folder, size: GrownShop(
        folder, partitions=size, records=RECORDS * PARTITIONS // size
    ),
}


def measure_growth(quick: bool) -> dict[str, Any]:
    """Measures each size of each kind; with ``quick`` the largest sizes are left out."""
    collect_seldom()  # as a worker does
    rounds = dict.fromkeys(SIZES, 4 if quick else 8) | {"partitions": 3}
    return {what: _measure(MAKERS[what], sizes[:2] if quick else sizes, rounds[what]) for what, sizes in SIZES.items()}


def _measure(make: Callable[[Path, int], GrownShop], sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    spent: dict[int, list[Spent]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        shops = {}
        for size in sizes:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-growth-")))
            shops[size] = make(folder, size)
            stack.callback(shops[size].close)
        for _ in range(2 * rounds):
            for size, shop in shops.items():
                spent[size].append(shop.round())
    us = {size: median(one.cpu_ns / one.events / 1000 for one in each[rounds:]) for size, each in spent.items()}
    return {
        "cpu_us_per_event": {f"{size:,}": round(one, 1) for size, one in us.items()},
        "largest_to_smallest": round(us[sizes[-1]] / us[sizes[0]], 2),
    }
