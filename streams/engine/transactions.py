"""Exactly once: the outputs of a batch, its rows and its partition's row in one Kafka transaction.

*emit* opens it, *log* commits it. A source partition has a producer of its own with a transactional id that its owners
share, so the broker knows the last one: whoever opens it anew fences the one before, whose transaction is aborted if it
was open, and who can commit nothing more, even if it was only paused and believes that it still owns the partition.
Whoever opens it sees to it, too, that the transaction before has ended in all its partitions: see ``hanging.py``.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.contract.errors import BrokenInvariant, FencedWorker, UndeliveredOutput
from streams.contract.outputs import Output
from streams.contract.settings import Engine, Kafka
from streams.engine.hanging import Endings
from streams.engine.outputs import Partition, produce, producer_configuration

_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)
_THREADS: Final = ThreadPoolExecutor(32, "transactions")
"""Where commits are waited for; the event loop's own threads would be six on two cores."""


class TransactionalOutputs:
    """A transactional producer for each source partition that this worker owns.

    Args:
        topics: Where batches may write to.
    """

    def __init__(self, kafka: Kafka, engine: Engine, topics: Iterable[str]) -> None:
        timeout_ms = int(engine.transaction_timeout_s * 1000)
        configuration = producer_configuration(kafka, engine)
        self._configuration = {
            **configuration,
            "transaction.timeout.ms": timeout_ms,
            "delivery.timeout.ms": min(timeout_ms, configuration["delivery.timeout.ms"]),
        }
        self._kafka = kafka
        self._topics = list(topics)
        self._app_id = engine.app_id
        self._transaction_timeout_s = engine.transaction_timeout_s
        self._timeout_s = engine.delivery_timeout_s
        self._producers: dict[Partition, Producer] = {}
        self._open: set[Partition] = set()

    async def take_over(self, sources: Iterable[Partition]) -> None:
        """Closes what was owned, and opens what is owned now; when it returns, the last owners can write no more.

        Raises:
            UndeliveredOutput: The broker did not let one be opened in time.
            BrokenInvariant: A batch is under way; its outputs and its rows would be in two transactions.
        """
        if self._open:
            raise BrokenInvariant(f"partitions were assigned anew in the middle of a batch of {sorted(self._open)}")
        ids = {self._id(source): source for source in sources}
        self._producers = {}
        async with Endings(self._kafka, self._topics, self._timeout_s) as endings:
            ended = await endings.of(list(ids))
            await self._open_producers(ids.values())
            while hanging := await endings.hanging(ended):
                for each in hanging:
                    await endings.end(each, self._transaction_timeout_s)
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
            produce(producer, outputs)
        except KafkaException as error:
            raise _explained(error) from error

    def _producer(self, source: Partition) -> Producer:
        return Producer({**self._configuration, "transactional.id": self._id(source)})

    def _id(self, source: Partition) -> str:
        topic, number = source
        return f"{self._app_id}-{topic}-{number}"


def _retried(step: partial[None], timeout_s: float) -> None:
    """Takes a step that blocks, and again while the broker says that it may yet succeed."""
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
        return FencedWorker(f"another worker has taken over, or the transaction took too long: {cause.str()}")
    return UndeliveredOutput(f"the transaction was not committed: {cause.str()}")


async def _in_thread(step: partial[None]) -> None:
    await asyncio.get_running_loop().run_in_executor(_THREADS, step)
