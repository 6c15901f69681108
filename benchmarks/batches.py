"""Processor time of a batch of Behaviour by its size, ``a + b n`` for ``n`` records.

The second half of the recorded shop is folded again and again, in batches of one size, by the real commit protocol with
rows in RocksDB and outputs on an embedded broker. Native threads are counted, the broker is another process. Global
tables stay as the first half left them, so that each size makes the same decisions. ``core`` leaves out deliveries and
RocksDB.
"""

import asyncio
import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import process_time_ns
from typing import Any, Final

import msgspec
import rocksdict

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.fold import PARTITION_KEY, SourceRecord
from streams.contract.outputs import Output
from streams.contract.settings import Kafka
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS
from streams.core.behaviour.fold import BehaviourFold
from streams.engine.outputs import Outputs, Partition, ProducerOutputs
from streams.engine.protocol import BatchEngine, Table, commit_batch, open_partition
from streams.engine.runtime_tuning import tune_runtime
from streams.testing import MemoryReader, Pipeline
from streams.testing.worker import MemoryTable
from tests.recording import recorded

SIZES: Final = (1, 16, 250)
RECORDING: Final = Path(__file__).parents[1] / "tests" / "recording" / "shop.msgpack.gz"


class DiskTable:
    """Rows in RocksDB, a database for each partition, as the engine writes them."""

    def __init__(self, directory: Path, rows: Mapping[int, Mapping[bytes, bytes]]) -> None:
        self._databases: dict[int, Any] = {
            number: rocksdict.Rdict(str(directory / str(number)), rocksdict.Options(raw_mode=True)) for number in rows
        }
        for number, known in rows.items():
            self.write(number, known, 0)

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(self._databases[partition].get(list(keys))) if keys else []

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in self._databases[partition].items() if key not in (PARTITION_KEY, b"o"))

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            batch.put(key, value)
        batch.put(b"o", str(changelog_offset).encode())
        self._databases[partition].write(batch)


class MemoryOutputs:
    """Delivery that is done at once."""

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        pass

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        return len(rows)


class Scene:
    """The fold after the first half, and the second half of the clickstream."""

    def __init__(self) -> None:
        entries = recorded.read(RECORDING)
        half = len(entries) // 2
        self.pipeline: Pipeline = recorded.replay(entries[:half])
        worker = self.pipeline.behaviour
        self.fold: BehaviourFold = worker.fold  # type: ignore[assignment]  # of this pipeline it is that one
        self.rows = copy.deepcopy(dict(worker.table.rows))
        begins = {number: len(records) for number, records in self.pipeline.log.items()}
        self._publish(entries[half:])
        self.records = {number: records[begins[number] :] for number, records in self.pipeline.log.items()}
        self.events = sum(map(len, self.records.values()))

    def _publish(self, entries: Sequence[recorded.Entry]) -> None:
        decisions, reader = recorded.Decisions(), MemoryReader(self.pipeline.topics, RECOMMENDATIONS)
        decisions.take(reader.take())
        for entry in entries:
            if entry is None:
                self.pipeline.behaviour.drain()
                decisions.take(reader.take())
            else:
                value = decisions.echo(entry.value)
                self.pipeline.topics.append(Output(CLICKSTREAM, entry.key, value, entry.partition))


async def fold_all(scene: Scene, table: Table, outputs: Outputs, size: int) -> tuple[int, int]:
    """Folds the second half in batches of one size; returns nanoseconds of processor time and the number of batches."""
    limits = scene.pipeline.settings.engine
    engine: BatchEngine[Any, Any] = BatchEngine(scene.fold, table, outputs, limits, lambda: 0)
    batches: list[tuple[Any, Sequence[SourceRecord]]] = []
    for number, records in scene.records.items():
        partition = open_partition(scene.fold, table, limits, number, 1)
        batches += [(partition, records[begin : begin + size]) for begin in range(0, len(records), size)]
    begun_ns = process_time_ns()
    for partition, batch in batches:
        await commit_batch(engine, partition, batch, lambda: None)
    return process_time_ns() - begun_ns, len(batches)


def measure_batches(quick: bool) -> dict[str, Any]:
    """Measures each size in turn; of each the quickest round counts."""
    scene, rounds = Scene(), 3 if quick else 9
    tune_runtime()
    topics = {topic.name: topic.partitions for topic in scene.pipeline.settings.topics}
    cpu: dict[str, dict[int, list[float]]] = {"core": {}, "engine": {}}
    counts: dict[int, float] = {}
    with EmbeddedBroker(topics) as broker:
        settings = scene.pipeline.settings
        kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=broker.bootstrap_servers)
        for _ in range(rounds):
            for size in SIZES:
                for kind, times in cpu.items():
                    spent_ns, batches = _run(scene, kind, kafka, size)
                    times.setdefault(size, []).append(spent_ns / batches / 1000)
                    counts[size] = scene.events / batches
    return {
        "events": scene.events,
        **{
            kind: {
                **{f"batch_{size}_us": round(min(of)) for size, of in times.items()},
                **_fit(counts, {size: min(of) for size, of in times.items()}),
            }
            for kind, times in cpu.items()
        },
    }


def _run(scene: Scene, kind: str, kafka: Kafka, size: int) -> tuple[int, int]:
    if kind == "core":
        table = MemoryTable()
        table.rows.update(copy.deepcopy(scene.rows))
        return asyncio.run(fold_all(scene, table, MemoryOutputs(), size))

    async def run() -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as directory:
            outputs = ProducerOutputs(msgspec.structs.replace(scene.pipeline.settings, kafka=kafka))
            return await fold_all(scene, DiskTable(Path(directory), scene.rows), outputs, size)

    return asyncio.run(run())


def _fit(counts: Mapping[int, float], times: Mapping[int, float]) -> dict[str, float]:
    """Fits ``a + b n`` through the two larger sizes; a batch of one shows what the line leaves out."""
    small, large = counts[SIZES[1]], counts[SIZES[2]]
    b = (times[SIZES[2]] - times[SIZES[1]]) / (large - small)
    return {"a_us": round(times[SIZES[1]] - b * small), "b_us": round(b, 1)}
