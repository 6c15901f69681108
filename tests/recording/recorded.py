"""A recorded clickstream of synthetic shoppers, and fingerprints of the rows and outputs that the folds make of it.

A recording is the clickstream of a closed loop in the order of arrival, with a mark wherever all three folds took what
there was. Folding it again gives the same rows and outputs, so two versions of the code can be compared.

There are two fingerprints. ``exact`` hashes bytes: it holds on one machine. ``portable`` hashes all but floating-point
numbers and sums those with weights, since a matrix product differs in its last bit between processors; feedback then
echoes the decision that was made here at the recorded event.
"""

import gzip
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.memory_loop import MemoryLoop
from producers.simulator.parameters import SimulationParameters
from producers.simulator.simulation import Simulation
from streams.contract.fold import PARTITION_KEY
from streams.contract.outputs import Output
from streams.contract.records import ExampleBatch, LoggedDecision, decode_recommendation
from streams.contract.topics import CLICKSTREAM, DECISIONS, EXAMPLES, RECOMMENDATIONS, USERS_CHANGELOG
from streams.core.behaviour.row import UserRow
from streams.core.policies.slate_features import PACKING
from streams.testing import MemoryReader, MemoryRecord, MemoryWorker, Pipeline

BATCH_RECORDS: Final = 1000
_JSON_TOPICS: Final = frozenset({"predictions", "recommendations", "experiments", "metrics"})


class Published(NamedTuple):
    """One record of the clickstream."""

    partition: int
    key: bytes | None
    value: bytes


Entry = Published | None
"""A record, or ``None`` where the folds took all there was."""


class _ClosedLoop(MemoryLoop):
    """Keeps what is published, with a mark wherever everything was folded."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline)
        self.entries: list[Entry] = []
        self._recommendations = MemoryReader(pipeline.topics, RECOMMENDATIONS)

    def published(self, partition: int, record: MemoryRecord) -> None:
        self.entries.append(Published(partition, record.key, record.value or b""))

    def fold(self) -> None:
        self.pipeline.run(BATCH_RECORDS)
        self.entries.append(None)
        self.offer(map(decode_recommendation, self._recommendations.take()))


def record(events: int, seed: int) -> tuple[list[Entry], Pipeline]:
    """Runs the simulator against the folds in memory; returns the recording and the pipeline after it."""
    pipeline = Pipeline()
    loop = _ClosedLoop(pipeline)
    users = max(50, events // 20)
    parameters = SimulationParameters(seed=seed, events=events, n_users=users, n_items=max(160, users // 2))
    Simulation(parameters, loop, loop).run()
    loop.fold()
    return loop.entries, pipeline


def replay(entries: Iterable[Entry]) -> Pipeline:
    """Folds a recording anew; feedback echoes what was decided here at the event that it was recorded for."""
    pipeline, decisions = Pipeline(), Decisions()
    recommendations = MemoryReader(pipeline.topics, RECOMMENDATIONS)
    for entry in entries:
        if entry is None:
            pipeline.run(BATCH_RECORDS)
            decisions.take(recommendations.take())
        else:
            value = decisions.echo(entry.value)
            pipeline.topics.append(Output(CLICKSTREAM, entry.key, value, entry.partition))
    return pipeline


class Decisions:
    """Decisions by the event they were made at."""

    def __init__(self) -> None:
        self._ids: dict[bytes, bytes] = {}

    def take(self, values: Iterable[bytes]) -> None:
        for recommendation in map(decode_recommendation, values):
            self._ids[recommendation.event_ref.encode()] = recommendation.decision_id.encode()

    def echo(self, value: bytes) -> bytes:
        before, mark, echoed = value.partition(b'"decision_id":"')
        if not mark:
            return value
        decision_id, quote, after = echoed.partition(b'"')
        made = self._ids.get(decision_id.rpartition(b".")[0], decision_id)
        return before + mark + made + quote + after


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Writes a recording; the same one gives the same bytes."""
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(list(entries)), mtime=0))


def read(path: Path) -> list[Entry]:
    """Reads a recording."""
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=list[Published | None])


def contents(pipeline: Pipeline) -> Iterator[tuple[str, bytes, bytes]]:
    """Yields ``(place, key, value)`` of every output and every row, in order, places being topics and changelogs."""
    for (topic, partition), records in sorted(pipeline.topics.records.items()):
        if not topic.endswith("-changelog") and topic != CLICKSTREAM:
            for each in records:
                yield topic, b"%d" % partition + (each.key or b""), each.value or b""
    worker: MemoryWorker[Any, Any]
    for worker in (pipeline.behaviour, pipeline.items, pipeline.learning):
        for partition, rows in sorted(worker.table.rows.items()):
            for key, value in sorted(rows.items()):
                place = "partition rows" if key == PARTITION_KEY else worker.fold.changelog
                yield place, b"%d" % partition + key, value


def exact(pipeline: Pipeline) -> dict[str, str]:
    """Hashes the bytes of every topic and table."""
    hashes: dict[str, Any] = {}
    for place, key, value in contents(pipeline):
        digest = hashes.setdefault(place, blake2b(digest_size=12))
        digest.update(b"%d %d " % (len(key), len(value)) + key + value)
    return {place: digest.hexdigest() for place, digest in hashes.items()}


def portable(pipeline: Pipeline) -> dict[str, tuple[str, float]]:
    """Hashes every topic and table but for floating-point numbers, whose weighted sum is given beside the hash."""
    found: dict[str, _Fingerprint] = {}
    for place, key, value in contents(pipeline):
        fingerprint = found.setdefault(place, _Fingerprint())
        fingerprint.add(key.hex())
        fingerprint.add(_decoded(place, value))
    return {place: (each.digest.hexdigest(), each.total) for place, each in found.items()}


def _decoded(place: str, value: bytes) -> Any:
    """Decodes a value; bytes that are numbers become arrays, of float32 where nothing else is known of them."""
    if place in _JSON_TOPICS:
        return msgspec.json.decode(value)
    plain = msgspec.msgpack.decode(value)
    if place == USERS_CHANGELOG:
        ids = UserRow.__struct_fields__.index("recent_ids")
        plain[ids] = plain[ids].hex()
        return plain
    if place == DECISIONS:
        names = LoggedDecision.__struct_fields__
        return [
            (PACKING.unpack(each).ravel() if name == "features" else np.frombuffer(each, "<f8"))
            if isinstance(each, bytes)
            else each
            for name, each in zip(names, plain, strict=True)
        ]
    if place == EXAMPLES:
        dtypes = {"offsets": "<i8", "indices": "<i4", "timestamps_ms": "<i8", "uses": "<i1", "vectors": "<f4"}
        names = ExampleBatch.__struct_fields__
        return [
            np.frombuffer(each, dtypes.get(name, "<f8")) if isinstance(each, bytes) else each
            for name, each in zip(names, plain, strict=True)
        ]
    return plain


class _Fingerprint:
    def __init__(self) -> None:
        self.digest = blake2b(digest_size=12)
        self.total = 0.0
        self._floats = 0

    def add(self, value: Any) -> None:
        match value:
            case dict():
                self.digest.update(b"{%d" % len(value))
                for name, inner in value.items():
                    self.add(name)
                    # A decision's name ends in a digest of its floating-point numbers.
                    self.add(inner.rpartition(".")[0] if name == "decision_id" else inner)
            case [str(dtype), [*shape], bytes(data)] if dtype[:1] in "<|":
                # An exported array, see streams.contract.arrays.
                self.digest.update(repr((dtype, shape)).encode())
                self.add(np.frombuffer(data, dtype))
            case list():
                self.digest.update(b"[%d" % len(value))
                for inner in value:
                    self.add(inner)
            case float():
                self.digest.update(b"f")
                self._sum(np.array([value]))
            case np.ndarray() if value.dtype.kind == "f":
                self.digest.update(b"a%d" % len(value))
                self._sum(value.astype(np.float64))
            case np.ndarray():
                self.digest.update(repr(value.tolist()).encode())
            case bytes():
                self.add(np.frombuffer(value, np.float32) if len(value) % 4 == 0 else value.hex())
            case str() if value.startswith(f"{CLICKSTREAM}-"):
                self.digest.update(value.partition(".")[0].encode())
            case _:
                self.digest.update(repr(value).encode())

    def _sum(self, values: NDArray[np.float64]) -> None:
        weights = 1.0 + (self._floats + np.arange(len(values))) % 97 / 97
        self._floats += len(values)
        usual = np.abs(values) < 1e30
        self.total += float(np.where(usual & np.isfinite(values), values, 0.0) @ weights)
        assert isfinite(self.total)
