"""Choice of the delivery guarantee, made at the start, when the kind of the broker can be read."""

from collections.abc import Sequence

from confluent_kafka import Producer
from faust.types import TP

from streams.contract.connection import client_configuration
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.contract.topic_config import PUBLIC_COMPRESSION
from streams.engine.outputs import Outputs, Partition, ProducerOutputs
from streams.engine.topic_ids import is_embedded
from streams.engine.transactions import TransactionalOutputs


class Delivery:
    """A worker's outputs: transactional or by a plain producer, depending on ``engine.delivery`` and the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transactions: TransactionalOutputs | None = None
        self._outputs: Outputs

    def start(self) -> None:
        """Chooses the guarantee.

        Raises:
            KafkaException: The broker did not answer.
        """
        wanted = self._settings.engine.delivery
        embedded = is_embedded(Producer(client_configuration(self._settings.kafka)))
        # The embedded broker accepts transactions but does not abort them.
        if wanted == "transactions" or (wanted == "auto" and not embedded):
            self._outputs = self._transactions = TransactionalOutputs(self._settings)
        else:
            # Nor does it compress topics anew, as a broker does with those that are public.
            self._outputs = ProducerOutputs(self._settings, PUBLIC_COMPRESSION if embedded else None)

    async def take_over(self, sources: set[TP]) -> None:
        """Fences other writers of these partitions, if outputs are transactional."""
        if self._transactions is not None:
            await self._transactions.take_over((source.topic, source.partition) for source in sources)

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self._outputs.emit(source, outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        return await self._outputs.log(source, rows)
