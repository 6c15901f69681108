"""Resolves hanging transactions (KIP-664): completed by the coordinator, but their marker never reached a partition.

A transaction is committed once its coordinator has logged the commit. Then the coordinator writes a marker to each
partition, and readers of committed records wait for it. Kafka skips the marker of a partition that has no leader at
that time, and still reports the transaction as complete (KAFKA-20734). This happens when a cluster's only broker is
killed after a commit was logged, and started again. The next owner of the transactional id is told of nothing pending.
Its recovery would stop before that batch, the batch would be folded again, and the next marker would make both visible.

So the new owner asks how the last transaction ended, opens the id, and asks in which partitions it is still open. An
empty transaction of the same id, ended the same way, writes the missing markers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    TransactionalIdAuthorizationFailed,
    for_code,
)

from streams.contract.errors import UndeliveredOutput
from streams.contract.settings import Kafka
from streams.engine.connection import aiokafka_credentials
from streams.engine.incidents import TRANSACTION_HUNG, report
from streams.engine.requests import DescribeProducers, DescribeTransactions

_RETRY_S: Final = 0.1
_COMMITTED: Final = ("PrepareCommit", "CompleteCommit")
_UNKNOWN_ID: Final = 105
_SKIPPED_ERRORS: Final = (3, 29)
"""Unknown topic or partition; not authorised to read the topic."""

AnswerT = TypeVar("AnswerT")


class TransactionEnding(NamedTuple):
    """End of the last transaction of an id, as its coordinator reports it.

    Attributes:
        state: Kafka's name of the state; see KIP-664.
    """

    producer_id: int
    epoch: int
    state: str

    def is_commit(self, epoch_there: int) -> bool:
        """Returns whether the transaction with records of this epoch was committed.

        Opening an id increments its epoch; aborting a transaction that was left open increments it once more.
        """
        return self.state in _COMMITTED or (self.state == "Empty" and self.epoch == epoch_there + 1)


class HangingTransaction(NamedTuple):
    """A completed transaction, and the partitions without its marker."""

    transactional_id: str
    is_commit: bool
    partitions: Sequence[TopicPartition]


class HangingTransactions:
    """Finds and completes hanging transactions.

    Args:
        topics: Topics that the transactions may have written to.
        timeout_s: For each answer; a broker may be starting.

    Raises (all methods):
        UndeliveredOutput: No answer came in time.
    """

    def __init__(self, kafka: Kafka, topics: Iterable[str], timeout_s: float) -> None:
        self._connection = {
            "bootstrap_servers": [server.strip() for server in kafka.bootstrap_servers.split(",")],
            **aiokafka_credentials(kafka),
        }
        self._topics = list(topics)
        self._timeout_s = timeout_s
        self._client: Any = AIOKafkaClient(**self._connection)

    async def __aenter__(self) -> "HangingTransactions":
        await self._retried(self._client.bootstrap)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def endings(self, transactional_ids: Sequence[str]) -> dict[str, TransactionEnding]:
        """Returns the end of each id's last transaction if it had one; empty on brokers without KIP-664."""
        with suppress(IncompatibleBrokerVersion):
            found = await asyncio.gather(*(self._retried(partial(self._ending, name)) for name in transactional_ids))
            return {name: ending for name, ending in zip(transactional_ids, found, strict=True) if ending is not None}
        return {}

    async def find(self, endings: Mapping[str, TransactionEnding]) -> list[HangingTransaction]:
        """Returns the transactions that are still open in a partition; no producer may be using these ids."""
        if not endings:
            return []
        open_in = await self._retried(self._open_transactions)
        found = []
        for name, ending in endings.items():
            epochs = open_in.get(ending.producer_id, {})
            # All belong to one transaction: the next one cannot begin before the previous one has ended.
            if epochs:
                found.append(HangingTransaction(name, ending.is_commit(max(epochs.values())), sorted(epochs)))
        return found

    async def complete(self, hanging: HangingTransaction, transaction_timeout_s: float) -> None:
        """Writes the missing markers. A producer that has the id open is fenced."""
        report(
            TRANSACTION_HUNG,
            transactional_id=hanging.transactional_id,
            ended="committed" if hanging.is_commit else "aborted",
            partitions=",".join(f"{topic}-{number}" for topic, number in hanging.partitions),
        )
        producer = AIOKafkaProducer(
            **self._connection,
            transactional_id=hanging.transactional_id,
            transaction_timeout_ms=int(transaction_timeout_s * 1000),
        )
        await self._retried(producer.start)
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.begin_transaction()
                for partition in hanging.partitions:
                    producer._txn_manager.maybe_add_partition_to_txn(partition)
                await (producer.commit_transaction() if hanging.is_commit else producer.abort_transaction())
        except (KafkaError, TimeoutError) as error:
            raise UndeliveredOutput(
                f"the hanging transaction of {hanging.transactional_id} could not be completed: {error!r}"
            ) from error
        finally:
            await producer.stop()

    async def _ending(self, transactional_id: str) -> TransactionEnding | None:
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        answer = await self._client.send(node, DescribeTransactions([transactional_id]))
        [(code, _, state, _, _, producer_id, epoch, *_)] = answer.transactions
        if code == _UNKNOWN_ID:
            return None
        _raise_for(code)
        return TransactionEnding(producer_id, epoch, state)

    async def _open_transactions(self) -> dict[int, dict[TopicPartition, int]]:
        """Returns, by producer id, the partitions in which it has an open transaction, each with its epoch."""
        by_leader: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        # All topics are listed, because asking for one by name may create it.
        cluster = await self._client.fetch_all_metadata()
        for topic in self._topics:
            for number in cluster.partitions_for_topic(topic) or ():
                by_leader[cluster.leader_for_partition(TopicPartition(topic, number))][topic].append(number)
        if by_leader.keys() & {None, -1}:
            raise KafkaError("a partition has no leader")
        answers = await asyncio.gather(
            *(self._client.send(leader, DescribeProducers(list(there.items()))) for leader, there in by_leader.items())
        )
        found: dict[int, dict[TopicPartition, int]] = defaultdict(dict)
        for topic, partitions, _ in (each for answer in answers for each in answer.topics):
            for number, code, _, producers, _ in partitions:
                if code in _SKIPPED_ERRORS:
                    continue
                _raise_for(code)
                for producer_id, epoch, _, _, _, begins, _ in producers:
                    if begins >= 0:
                        found[producer_id][TopicPartition(topic, number)] = epoch
        return found

    async def _retried(self, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """Retries until a broker answers that is responsible."""
        deadline = monotonic() + self._timeout_s
        while True:
            try:
                return await ask()
            except (IncompatibleBrokerVersion, TransactionalIdAuthorizationFailed):
                raise
            except KafkaError as error:
                if monotonic() > deadline:
                    raise UndeliveredOutput(f"no broker answered about ended transactions: {error!r}") from error
            await asyncio.sleep(_RETRY_S)


def _raise_for(code: int) -> None:
    if code:
        raise for_code(code)
