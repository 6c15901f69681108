"""Transactions that have ended and hang in a partition, which was not told, and how their id's next owner ends them.

A transaction is committed once its coordinator has noted it. Only then does it write a marker to each partition, and a
reader of committed records waits for that. Kafka leaves out, for good, the marker of a partition that just then has no
leader, and calls the transaction complete (KAFKA-20734): so it does where a cluster's only broker is killed after a
commit was noted, and started again. Whoever opens the id next hears of nothing pending. Its recovery would end before
that batch, which would be folded again, and the next marker would make both visible.

So the new owner asks how the last transaction ended, opens the id, and asks in which partitions it is still open.
An empty transaction of the same id, ended the same way, puts the markers there.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, for_code

from streams.contract.errors import UndeliveredOutput
from streams.contract.settings import Kafka
from streams.engine.connection import aiokafka_credentials
from streams.engine.incidents import TRANSACTION_HUNG, report
from streams.engine.requests import DescribeProducers, DescribeTransactions

_AGAIN_S: Final = 0.1
_COMMITTED: Final = ("PrepareCommit", "CompleteCommit")
_NO_SUCH_ID: Final = 105
_NOT_SHOWN: Final = (3, 29)
"""No such topic, and a topic that this worker may not read."""

AnswerT = TypeVar("AnswerT")


class Ending(NamedTuple):
    """How the last transaction of an id ended, as its coordinator has it.

    Attributes:
        state: In Kafka's words; see KIP-664.
    """

    producer_id: int
    epoch: int
    state: str

    def is_commit(self, epoch_there: int) -> bool:
        """Says whether a transaction was committed whose records are of this epoch.

        To open an id adds one to its epoch, to abort what another has left open adds one more.
        """
        return self.state in _COMMITTED or (self.state == "Empty" and self.epoch == epoch_there + 1)


class Hanging(NamedTuple):
    """A transaction that has ended, and the partitions that do not know it."""

    transactional_id: str
    is_commit: bool
    partitions: Sequence[TopicPartition]


class Endings:
    """Asks coordinators and leaders about transactions, and ends those that hang.

    Args:
        topics: Where the transactions may have written.
        timeout_s: How long a question may go without an answer, as while a broker starts.

    Raises (all methods):
        UndeliveredOutput: There was none.
    """

    def __init__(self, kafka: Kafka, topics: Iterable[str], timeout_s: float) -> None:
        self._connection = {
            "bootstrap_servers": [server.strip() for server in kafka.bootstrap_servers.split(",")],
            **aiokafka_credentials(kafka),
        }
        self._topics = list(topics)
        self._timeout_s = timeout_s
        self._client: Any = AIOKafkaClient(**self._connection)

    async def __aenter__(self) -> "Endings":
        await self._answered(self._client.bootstrap)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def of(self, transactional_ids: Sequence[str]) -> dict[str, Ending]:
        """Returns how each one's last transaction ended; nothing of those that had none, or if brokers cannot tell."""
        with suppress(IncompatibleBrokerVersion):
            found = await asyncio.gather(*(self._answered(partial(self._ending, name)) for name in transactional_ids))
            return {name: ending for name, ending in zip(transactional_ids, found, strict=True) if ending is not None}
        return {}

    async def hanging(self, endings: Mapping[str, Ending]) -> list[Hanging]:
        """Finds those that are open in a partition; nobody may be using these ids."""
        if not endings:
            return []
        open_in = await self._answered(self._open_transactions)
        found = []
        for name, ending in endings.items():
            epochs = open_in.get(ending.producer_id, {})
            # All are of one transaction: none could begin before the one before had ended.
            if epochs:
                found.append(Hanging(name, ending.is_commit(max(epochs.values())), sorted(epochs)))
        return found

    async def end(self, hanging: Hanging, transaction_timeout_s: float) -> None:
        """Ends a transaction in the partitions in which it hangs. Whoever has the id open is fenced."""
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
        await self._answered(producer.start)
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.begin_transaction()
                for partition in hanging.partitions:
                    producer._txn_manager.maybe_add_partition_to_txn(partition)
                await (producer.commit_transaction() if hanging.is_commit else producer.abort_transaction())
        except (KafkaError, TimeoutError) as error:
            raise UndeliveredOutput(f"a transaction of {hanging.transactional_id} hangs: {error!r}") from error
        finally:
            await producer.stop()

    async def _ending(self, transactional_id: str) -> Ending | None:
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        answer = await self._client.send(node, DescribeTransactions([transactional_id]))
        [(code, _, state, _, _, producer_id, epoch, *_)] = answer.transactions
        if code == _NO_SUCH_ID:
            return None
        _raise_for(code)
        return Ending(producer_id, epoch, state)

    async def _open_transactions(self) -> dict[int, dict[TopicPartition, int]]:
        """Returns by producer id the partitions in which a transaction of it is open, and of which epoch it is."""
        by_leader: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        # All topics are listed, since to ask for one by name may create it.
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
                if code in _NOT_SHOWN:
                    continue
                _raise_for(code)
                for producer_id, epoch, _, _, _, begins, _ in producers:
                    if begins >= 0:
                        found[producer_id][TopicPartition(topic, number)] = epoch
        return found

    async def _answered(self, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """Asks again while brokers do not answer, or say that somebody else knows."""
        deadline = monotonic() + self._timeout_s
        while True:
            try:
                return await ask()
            except IncompatibleBrokerVersion:
                raise
            except KafkaError as error:
                if monotonic() > deadline:
                    raise UndeliveredOutput(f"no broker tells how transactions ended: {error!r}") from error
            await asyncio.sleep(_AGAIN_S)


def _raise_for(code: int) -> None:
    if code:
        raise for_code(code)
