"""A broker and workers in memory, as the simulation sees them: where it publishes, and what it waits for."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from producers.publisher import OnDelivered
from producers.simulator.recommendation_reader import Claims
from streams.contract.events import Event
from streams.testing import MemoryRecord, Pipeline


class MemoryLoop(Claims, ABC):
    """Publishes into the topics of a pipeline, and has it fold whenever no shopper can go on without a decision."""

    failed = 0

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.partitions = len(pipeline.partitions)
        self._delivered: list[tuple[OnDelivered, int, int]] = []

    @abstractmethod
    def fold(self) -> None:
        """Folds what was published, and offers what was decided."""

    def published(self, partition: int, record: MemoryRecord) -> None:
        """Is told of each record that was published."""

    def publish(self, event: Event, on_delivered: OnDelivered | None = None, *, partition: int | None = None) -> None:
        number = self.pipeline.publish(event, partition)
        record = self.pipeline.log[number][-1]
        self.published(number, record)
        if on_delivered is not None:
            self._delivered.append((on_delivered, number, record.offset))

    def poll(self, timeout_s: float) -> None:
        delivered, self._delivered = self._delivered, []
        for on_delivered, partition, offset in delivered:
            on_delivered(partition, offset)

    def wait_for_room(self, should_stop: Callable[[], bool] | None = None) -> bool:
        return True

    def flush(self, timeout_s: float) -> int:
        self.poll(0)
        return 0

    def wait(self, timeout_s: float) -> None:
        self.poll(0)
        self.fold()
