"""Memory against the number of users: Behaviour on RocksDB, every user new and seen once, one in ten with a view.

The fold, the protocol and the table's options are the real ones; outputs are thrown away, and there is no broker.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import rocksdict

from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, PartitionRow, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.records import ItemSummary
from streams.contract.settings import Kafka, Settings
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.allocator import keep_freed_memory
from streams.engine.databases import Databases
from streams.engine.garbage import collect_seldom
from streams.engine.hot_rows import HotRows
from streams.engine.memory import MemoryRecord
from streams.engine.protocol import BatchEngine, OpenPartition, commit_batch

USERS: Final = 2_000_000
ITEMS: Final = 500
BATCH_RECORDS: Final = 2000
BEGIN_MS: Final = 1_735_700_000_000
GAP_MS: Final = 20
"""Fifty new users a second, so thousands of views have their predictions, decisions and sessions open at any time."""

VIEWS_EVERY: Final = 10
"""Predictions and decisions are what takes time; what is measured here is memory, and every user gets a row."""

REPORTS: Final = 8


class DiskTable:
    """One partition's table, opened as the engine opens it."""

    def __init__(self, path: Path, databases: Databases) -> None:
        self._path = str(path)
        self.database: Any = rocksdict.Rdict(self._path, options=databases.as_options())

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(self.database.get(list(keys))) if keys else []

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in self.database.items() if key != PARTITION_KEY)

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            batch.put(key, value)
        self.database.write(batch)

    def close(self) -> None:
        self.database.close()

    def disk_mib(self) -> int:
        return round(sum(file.stat().st_size for file in Path(self._path).rglob("*")) / 2**20)


class Nowhere:
    """Outputs that are counted and thrown away."""

    def __init__(self) -> None:
        self.records = 0

    async def emit(self, source: tuple[str, int], outputs: Sequence[Output]) -> None:
        self.records += len(outputs)

    async def log(self, source: tuple[str, int], rows: Sequence[Output]) -> int:
        return len(rows)


def rss_mib() -> int:
    """Resident memory now; on systems without /proc the peak so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return round(int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure_users(quick: bool) -> dict[str, Any]:
    """Folds one event of each user, then opens the table again as a worker does that starts."""
    users = USERS // 10 if quick else USERS
    settings = Settings(kafka=Kafka(partitions=1))
    collect_seldom()  # as a worker does, and what follows
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="headrace-users-") as folder:
        table = DiskTable(Path(folder) / "table", Databases(settings.engine))
        before_mib = rss_mib()
        begun_ns = time.process_time_ns()
        rss = asyncio.run(_fold(settings, table, users))
        folded_ns = time.process_time_ns() - begun_ns
        written_mib = table.disk_mib()
        table.close()
        table = DiskTable(Path(folder) / "table", Databases(settings.engine))
        begun_ns = time.process_time_ns()
        opened = _open(_fold_of(settings), table)
        reopened_ns = time.process_time_ns() - begun_ns
        scheduled = len(opened.state.deadlines)
        table.close()
    return {
        "users": users,
        "rss_before_mib": before_mib,
        "rss_mib_by_users": rss,
        "disk_mib": written_mib,
        "cpu_us_per_user": round(folded_ns / users / 1000, 1),
        "scheduled_rows_after_reopening": scheduled,
        "reopening_cpu_s": round(reopened_ns / 1e9, 1),
    }


async def _fold(settings: Settings, table: DiskTable, users: int) -> dict[str, int]:
    fold = _fold_of(settings)
    engine: BatchEngine[Any, Any] = BatchEngine(fold, table, Nowhere(), settings.engine, lambda: 0)
    opened = _open(fold, table)
    rss: dict[str, int] = {}
    for begin in range(0, users, BATCH_RECORDS):
        await commit_batch(engine, opened, _records(begin, min(begin + BATCH_RECORDS, users)), lambda: None)
        engine.progress.latencies_ms.clear()  # as the reporter does
        done = begin + BATCH_RECORDS
        if done * REPORTS // users > begin * REPORTS // users:
            rss[f"{done:,}"] = rss_mib()
            print(f"  {done:,} users, {rss[f'{done:,}']} MiB", flush=True)
    return rss


def _records(begin: int, end: int) -> list[MemoryRecord]:
    return [
        MemoryRecord(number, event.timestamp_ms, (event.user_id or "").encode(), encode_event(event))
        for number in range(begin, end)
        for event in (
            Event(
                event_id=f"e{number}",
                timestamp_ms=BEGIN_MS + GAP_MS * number,
                kind="view" if number % VIEWS_EVERY == 0 else "rating",
                rating=4.0,
                user_id=f"user-{number}",
                item_id=f"item-{number % ITEMS}",
                category=f"category-{number % 20}",
                price=9.5,
            ),
        )
    ]


def _fold_of(settings: Settings) -> BehaviourFold:
    catalogue = Catalogue(settings)
    catalogue.apply(
        [
            ItemSummary(f"item-{n}", f"category-{n % 20}", 9.5, BEGIN_MS, BEGIN_MS, float(ITEMS - n), 0.0, 0.0, [], [])
            for n in range(ITEMS)
        ]
    )
    scorers = Scorers(settings.targets, feature_schema(settings.windows))
    return BehaviourFold(settings, catalogue, scorers, PolicyModels(settings.decisions))


def _open(fold: BehaviourFold, table: DiskTable) -> OpenPartition[Any, Any]:
    stored = table.read(0, [PARTITION_KEY])[0]
    row = PartitionRow(schema=fold.schema) if stored is None else decode_partition_row(stored)
    hot: HotRows[Any] = HotRows(fold.settings.engine.hot_bytes)
    return OpenPartition(0, fold.open(row, 0, table.scan(0)), 0, stored or msgspec.msgpack.encode(row), hot)
