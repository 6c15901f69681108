"""Which promise outputs are delivered by: decided at the start, when the broker can be asked what it is."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import Producer
from faust.types import TP

from streams.contract.connection import client_configuration
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.engine.outputs import Outputs, Partition, ProducerOutputs
from streams.engine.transactions import TransactionalOutputs

EMBEDDED_CLUSTER: Final = "mockCluster"
"""How the id begins that the broker inside librdkafka gives itself. It takes transactions and does not abort them."""

_ANSWER_TIMEOUT_S: Final = 10.0


class Delivery:
    """The outputs of a worker: transactions, or a plain producer, as ``engine.delivery`` and the broker have it."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._engine = settings.engine
        self._topics = [topic.name for topic in settings.topics]
        self._transactions: TransactionalOutputs | None = None
        self._outputs: Outputs

    @property
    def is_transactional(self) -> bool:
        """Whether outputs are exactly once for who reads committed records."""
        return self._transactions is not None

    def start(self) -> None:
        """Decides.

        Raises:
            KafkaException: The broker did not say what it is.
        """
        wanted = self._engine.delivery
        if wanted == "transactions" or (wanted == "auto" and not self._is_embedded()):
            self._outputs = self._transactions = TransactionalOutputs(self._kafka, self._engine, self._topics)
        else:
            self._outputs = ProducerOutputs(self._kafka, self._engine)

    async def take_over(self, sources: set[TP]) -> None:
        """Makes this worker the only one that can write for these partitions, as far as its promise goes."""
        if self._transactions is not None:
            await self._transactions.take_over((source.topic, source.partition) for source in sources)

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self._outputs.emit(source, outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        return await self._outputs.log(source, rows)

    def _is_embedded(self) -> bool:
        client = Producer({**client_configuration(self._kafka), "log_level": 2})
        cluster = client.list_topics(timeout=_ANSWER_TIMEOUT_S).cluster_id
        return cluster is not None and cluster.startswith(EMBEDDED_CLUSTER)
