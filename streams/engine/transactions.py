"""Exactly-once outputs: the outputs of a batch, its rows and its partition's row in one Kafka transaction.

*emit* begins the transaction, *log* commits it. Each source partition has a producer of its own. Its transactional id
is the same for every owner of the partition, so that opening the id fences the previous owner: its open transaction is
aborted, and it can commit nothing more, even if it was only paused and acts as the owner.
The new owner also completes hanging transactions of the id: see ``hanging_transactions.py``.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Final

from aiokafka.errors import TransactionalIdAuthorizationFailed
from confluent_kafka import KafkaError, KafkaException, Producer

from streams.contract.errors import BrokenInvariant, FencedWorker, RefusedStart, UndeliveredOutput
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.engine.access import Missing, no_access
from streams.engine.hanging_transactions import HangingTransactions
from streams.engine.outputs import Partition, output_configuration, produce

_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)
_THREADS: Final = ThreadPoolExecutor(32, "transactions")
"""Threads that wait for commits; the event loop's default pool has six on two cores."""


class TransactionalOutputs:
    """Transactional producers, one for each source partition that this worker owns."""

    def __init__(self, settings: Settings) -> None:
        engine = settings.engine
        timeout_ms = int(engine.transaction_timeout_s * 1000)
        configuration = output_configuration(settings)
        self._configuration = {
            **configuration,
            "transaction.timeout.ms": timeout_ms,
            "delivery.timeout.ms": min(timeout_ms, configuration["delivery.timeout.ms"]),
        }
        self._settings = settings
        self._topics = [topic.name for topic in settings.topics]
        self._names = settings.names
        self._transaction_timeout_s = engine.transaction_timeout_s
        self._timeout_s = engine.delivery_timeout_s
        self._producers: dict[Partition, Producer] = {}
        self._open: set[Partition] = set()

    async def take_over(self, sources: Iterable[Partition]) -> None:
        """Opens producers for the assigned partitions, which fences the previous owners.

        Raises:
            RefusedStart: The user may not write with these transactional ids.
            UndeliveredOutput: The broker did not open one in time.
            BrokenInvariant: A batch is unfinished; its outputs and its rows would be in two transactions.
        """
        if self._open:
            raise BrokenInvariant(f"partitions were reassigned while batches of {sorted(self._open)} were unfinished")
        ids = {self._id(source): source for source in sources}
        self._producers = {}
        async with HangingTransactions(self._settings.kafka, self._topics, self._timeout_s) as transactions:
            try:
                endings = await transactions.endings(list(ids))
            except TransactionalIdAuthorizationFailed as error:
                missing = [Missing("transactional-id", name, ("WRITE",)) for name in ids]
                raise RefusedStart(no_access(self._settings, missing)) from error
            await self._open_producers(ids.values())
            while hanging := await transactions.find(endings):
                for each in hanging:
                    await transactions.complete(each, self._transaction_timeout_s)
                await self._open_producers(ids[each.transactional_id] for each in hanging)

    async def _open_producers(self, sources: Iterable[Partition]) -> None:
        opened = {source: self._producer(source) for source in sources}
        self._producers |= opened
        await asyncio.gather(
            *(
                _in_thread(partial(_retried, partial(producer.init_transactions, self._timeout_s), self._timeout_s))
                for producer in opened.values()
            )
        )

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        if outputs:
            self._produce(source, outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        self._produce(source, rows)
        commit = partial(self._producers[source].commit_transaction, self._timeout_s)
        await _in_thread(partial(_retried, commit, self._timeout_s))
        self._open.discard(source)
        return len(rows) + 1  # The commit's marker has an offset of its own.

    def _produce(self, source: Partition, outputs: Sequence[Output]) -> None:
        producer = self._producers[source]
        try:
            if source not in self._open:
                producer.begin_transaction()
                self._open.add(source)
            produce(producer, outputs, self._names)
        except KafkaException as error:
            raise _explained(error) from error

    def _producer(self, source: Partition) -> Producer:
        return Producer({**self._configuration, "transactional.id": self._id(source)})

    def _id(self, source: Partition) -> str:
        return self._names.transactional_id(*source)


def _retried(step: partial[None], timeout_s: float) -> None:
    """Runs a blocking step, and retries it while the broker's error is retriable."""
    deadline = monotonic() + timeout_s
    while True:
        try:
            return step()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if not cause.retriable() or monotonic() > deadline:
                raise _explained(error) from error


def _explained(error: KafkaException) -> UndeliveredOutput:
    cause: KafkaError = error.args[0]
    if cause.code() in _FENCED:
        return FencedWorker(f"another worker has taken over, or the transaction exceeded its timeout: {cause.str()}")
    return UndeliveredOutput(f"the transaction was not committed: {cause.str()}")


async def _in_thread(step: partial[None]) -> None:
    await asyncio.get_running_loop().run_in_executor(_THREADS, step)
