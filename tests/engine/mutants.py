"""Wrong versions of the engine: each takes away one of the mechanisms that tests must be able to miss."""

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from confluent_kafka import Producer

from streams.contract.fold import PartitionRow
from streams.core.items.fold import ItemsFold
from streams.core.learning.examples import Examples
from streams.engine import protocol, transport, worker
from streams.engine.outputs import ProducerOutputs
from streams.engine.protocol import crash_point
from streams.engine.tables import BatchStore
from streams.engine.transactions import TransactionalOutputs
from tests.engine.counting import CountingFold, State


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Runs what is inside with mechanisms taken away, their names joined by ``+``; an empty name takes none."""
    with ExitStack() as stack:
        for each in filter(None, name.split("+")):
            for owner, attribute, wrong in {**MUTANTS, **TRANSACTIONAL, **OF_FOLDS, **MISHAPS}[each]():
                stack.enter_context(replaced(owner, attribute, wrong))
        yield


@contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Puts another value in the place of an attribute, for a while."""
    original = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, original)


Replacements = list[tuple[Any, str, Any]]


def without_row_guards() -> Replacements:
    return [(CountingFold, "skips", lambda self, offset, row: False)]


def without_partition_rows() -> Replacements:
    return [
        (
            CountingFold,
            "open",
            lambda self, row, partition, rows: State(PartitionRow(rows_schema=1), partition),
        )
    ]


def log_before_emit() -> Replacements:
    fold, emit, log = protocol.fold, protocol.emit, protocol.log
    folded: list[Any] = []
    held: list[Any] = []

    def fold_and_keep(engine: Any, partition: Any, *arguments: Any, **options: Any) -> Any:
        result = fold(engine, partition, *arguments, **options)
        folded[:] = [partition, result.encoded]
        return result

    async def log_first(engine: Any, partition: Any, outputs: Any) -> None:
        held[:] = outputs
        await log(engine, *folded)

    async def emit_second(engine: Any, partition: Any, encoded: Any) -> None:
        await emit(engine, partition, held)

    return [(protocol, "fold", fold_and_keep), (protocol, "emit", log_first), (protocol, "log", emit_second)]


def stuck() -> Replacements:
    return [(CountingFold, "fold", lambda self, state, events, rows: time.sleep(3600))]


def without_fencing() -> Replacements:
    """Every worker writes under an id of its own, so that the broker takes them all."""

    def producer(self: TransactionalOutputs, source: tuple[str, int]) -> Producer:
        return Producer({**self._configuration, "transactional.id": f"{os.getpid()}-{source}"})

    return [(TransactionalOutputs, "_producer", producer)]


def without_read_committed() -> Replacements:
    create = transport.BatchConsumerThread._create_worker_consumer

    def uncommitted(self: Any, given: Any) -> Any:
        consumer = create(self, given)
        consumer._isolation_level = "read_uncommitted"
        return consumer

    return [(transport.BatchConsumerThread, "_create_worker_consumer", uncommitted)]


def store_before_commit() -> Replacements:
    """The disk gets the rows before the broker has them."""
    log, store = protocol.log, protocol.store
    held: list[Any] = []

    async def store_first(engine: Any, partition: Any, encoded: Any) -> None:
        held[:] = [encoded]
        store(engine, partition, {}, encoded)
        crash_point(engine.fold.source, "stored-first")
        await log(engine, partition, encoded)

    return [(protocol, "log", store_first), (protocol, "store", lambda *_: None)]


def without_marks() -> Replacements:
    """Learning and Relations take every source position as often as it comes."""
    return [
        (Examples, "after", lambda self, applied: self),
        (ItemsFold, "_not_applied", lambda self, row, batch: list(batch.signals)),
    ]


def killed_among_rows() -> Replacements:
    """SIGKILL when half of the second batch's rows are in the changelog, and the partition's is not."""
    log = ProducerOutputs.log
    calls: list[int] = []

    async def interrupted(self: ProducerOutputs, source: tuple[str, int], rows: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            await log(self, source, rows[: len(rows) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return await log(self, source, rows)

    return [(ProducerOutputs, "log", interrupted)]


def in_second_commit(number: int) -> Replacements:
    """A signal to this process between the records of its second transaction and their commit."""
    log = TransactionalOutputs.log
    calls: list[int] = []

    async def interrupted(self: TransactionalOutputs, source: tuple[str, int], rows: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            self._produce(source, rows)
            self._producers[source].flush(30.0)
            os.kill(os.getpid(), number)
            rows = ()
        return await log(self, source, rows)

    return [(TransactionalOutputs, "log", interrupted)]


def slow_recovery() -> Replacements:
    """A fifth of a second for each batch of a changelog, so that something can happen meanwhile."""
    recover = BatchStore._recover

    def slowly(self: BatchStore, *arguments: Any) -> None:
        sys.stderr.write("a batch of a changelog\n")
        time.sleep(0.2)
        recover(self, *arguments)

    return [(BatchStore, "_recover", slowly)]


def standby_loses_a_batch() -> Replacements:
    """The second batch that a standby gets is dropped, as one that waits in Faust's queue when the flow is resumed."""
    apply = BatchStore.apply_changelog_batch
    number = itertools.count()

    def losing(self: Any, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        followed = self.app.tables.recovery.standby_tps
        apply(self, [each for each in batch if each.message.tp not in followed or next(number) != 1], to_key, to_value)

    return [(BatchStore, "apply_changelog_batch", losing)]


def jumping_clock() -> Replacements:
    """The wall clock jumps by a day, forth and back, at every look."""
    jumps = itertools.cycle((86_400.0, -86_400.0, 0.0))
    return [(worker, "time", lambda: time.time() + next(jumps))]


MUTANTS: Final[dict[str, Callable[[], Replacements]]] = {
    "applied_offset": without_row_guards,
    "partition-row": without_partition_rows,
    "order": log_before_emit,
}
TRANSACTIONAL: Final[dict[str, Callable[[], Replacements]]] = {
    "fencing": without_fencing,
    "read-committed": without_read_committed,
    "store-first": store_before_commit,
}
"""Of transactions on a real broker."""

OF_FOLDS: Final[dict[str, Callable[[], Replacements]]] = {"applied_positions": without_marks}
"""Of the folds that read what Behaviour writes."""

MISHAPS: Final[dict[str, Callable[[], Replacements]]] = {
    "stuck": stuck,
    "killed-in-commit": lambda: in_second_commit(signal.SIGKILL),
    "paused-in-commit": lambda: in_second_commit(signal.SIGSTOP),
    "killed-among-rows": killed_among_rows,
    "clock": jumping_clock,
    "slow-recovery": slow_recovery,
    "standby-loses-a-batch": standby_loses_a_batch,
}
"""Nothing wrong with the worker; something happens to it."""
