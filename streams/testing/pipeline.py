"""The three folds with their topics and global tables, in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.contract.catalogue import decode_catalogue_record
from streams.contract.events import LATEST_TIMESTAMP_MS, Event, encode_event
from streams.contract.outputs import Output
from streams.contract.records import (
    LoggedDecision,
    Prediction,
    Recommendation,
    decode_item,
    decode_logged_decision,
    decode_parameters,
    decode_prediction,
    decode_recommendation,
)
from streams.contract.settings import Settings
from streams.contract.topics import (
    CATALOGUE,
    CLICKSTREAM,
    DECISIONS,
    EXAMPLES,
    EXPERIMENTS,
    ITEMS,
    MODELS,
    PREDICTIONS,
    RECOMMENDATIONS,
)
from streams.core.behaviour.fold import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.items.fold import ItemsFold
from streams.core.learning import LearningFold
from streams.core.learning.examples import Examples, read_examples
from streams.core.models.scoring import Scorers
from streams.core.policies.reward_models import PolicyModels
from streams.core.retrieval.item_table import ItemTable
from streams.testing.topics import MemoryReader, MemoryRecord, MemoryTopics
from streams.testing.worker import MemoryWorker

_DEFAULTS = Settings()


class GlobalTables(NamedTuple):
    """Values of the topics of global tables, encoded."""

    items: Sequence[bytes] = ()
    models: Sequence[bytes] = ()


class Example(NamedTuple):
    """One example, taken out of its columns.

    Attributes:
        partition: Of the source.
        position: Its source position, ``(offset, index)``: of the event that made it, not of the prediction.
        vector: The features, float32, as bytes, so that examples can be compared.
        probabilities: What was served, by model.
        timestamp_ms: Event time of the prediction or decision.
    """

    partition: int
    position: tuple[int, int]
    vector: bytes
    label: float
    probabilities: dict[str, float]
    weight: float
    timestamp_ms: int


class Outcome(NamedTuple):
    """One served prediction with its final label, taken out of its columns.

    Attributes:
        partition: Of the source.
        position: Source position, ``(offset, index)``: of the event that made the label final.
        served: The probability or amount, a float32.
        timestamp_ms: Event time of the prediction.
        group: Of the user.
        from_prior: Whether there was no model yet.
    """

    partition: int
    position: tuple[int, int]
    served: float
    label: float
    timestamp_ms: int
    group: int
    from_prior: bool


class Pipeline:
    """All that a cluster of workers does, step by step and in memory.

    Publish events, then let the folds work: all of them (:meth:`run`), or one of them (``behaviour``, ``items`` and
    ``learning`` are workers). Global tables change where :meth:`refresh` is called, and nowhere else.

    Args:
        global_tables: What Behaviour knows of items and models from the beginning.
        log: Records that ``clickstream`` holds from the beginning, by partition.
        now_ms: The broker's clock, see :class:`MemoryTopics`.

    Attributes:
        partitions: Those of the clickstream.
        begun_with: The ``global_tables`` given.
    """

    def __init__(
        self,
        settings: Settings = _DEFAULTS,
        global_tables: GlobalTables = GlobalTables(),  # noqa: B008 - immutable
        log: Mapping[int, Sequence[MemoryRecord]] | None = None,
        now_ms: int = LATEST_TIMESTAMP_MS,
    ) -> None:
        self.settings = settings
        self.partitions = range(settings.kafka.partitions)
        self.topics = MemoryTopics({topic.called: topic.partitions for topic in settings.topics}, now_ms)
        for partition, records in (log or {}).items():
            self.topics.records[CLICKSTREAM, partition] = list(records)
        self.item_table = ItemTable(settings)
        self.scorers = Scorers(settings.targets, feature_schema(settings.windows))
        self.policies = PolicyModels(settings.decisions)
        fold = BehaviourFold(settings, self.item_table, self.scorers, self.policies)
        self.experiment = fold.experiment
        self.behaviour = MemoryWorker(fold, self.topics, settings.engine)
        self.items = MemoryWorker(ItemsFold(settings), self.topics, settings.engine)
        self.learning = MemoryWorker(LearningFold(settings), self.topics, settings.engine)
        self._readers = {topic: MemoryReader(self.topics, topic) for topic in (ITEMS, MODELS, EXPERIMENTS)}
        self._listed = MemoryReader(self.topics, CATALOGUE)
        self.begun_with = global_tables
        self._apply(*global_tables)

    @property
    def log(self) -> dict[int, list[MemoryRecord]]:
        """The records of the clickstream, by partition."""
        return {partition: self.topics.records[CLICKSTREAM, partition] for partition in self.partitions}

    @property
    def global_tables(self) -> GlobalTables:
        """All that the folds have published for global tables."""
        return GlobalTables(self.topics.values(ITEMS), self.topics.values(MODELS))

    def publish(self, event: Event, partition: int | None = None) -> int:
        """Appends an event to its user's partition, or to the one given; returns the partition."""
        key = None if event.user_id is None else event.user_id.encode()
        return self.topics.append(Output(CLICKSTREAM, key, encode_event(event), partition))

    def tick(self, at_ms: int) -> None:
        """Publishes that event time has come to ``at_ms``, in all partitions; labels mature by it when it is folded."""
        for partition in self.partitions:
            self.publish(Event(event_id="tick", timestamp_ms=at_ms, kind="tick"), partition)

    def run(self, batch_records: int = 1000) -> None:
        """Folds all there is by all three folds, then brings the global tables up to date."""
        self.behaviour.drain(batch_records)
        self.learn(batch_records)
        self.refresh()

    def learn(self, batch_records: int = 1000) -> None:
        """Folds what Behaviour has sent: item signals and examples."""
        self.items.drain(batch_records)
        self.learning.drain(batch_records)

    def refresh(self) -> None:
        """Hands Behaviour what is new in the global tables of items, models, experiments and the shop's catalogue.

        Raises:
            ValueError: A record there is not one that a worker would take.
        """
        listed = [decode_catalogue_record(record.key, record.value or None) for record in self._listed.take_records()]
        self.item_table.apply_listing(listed)
        items, models, experiments = (reader.take() for reader in self._readers.values())
        self._apply(items, models, experiments)

    def predictions(self) -> list[Prediction]:
        """Decodes what was predicted, partition by partition; so do the next two."""
        return [decode_prediction(value) for value in self.topics.values(PREDICTIONS)]

    def recommendations(self) -> list[Recommendation]:
        return [decode_recommendation(value) for value in self.topics.values(RECOMMENDATIONS)]

    def decisions(self) -> list[LoggedDecision]:
        return [decode_logged_decision(value) for value in self.topics.values(DECISIONS)]

    def examples(self, learner: str) -> list[Example]:
        """Decodes what a learner was sent, one by one, however it was gathered into records."""
        return [example for batch in self.example_batches(learner) for example in _rows(batch)]

    def outcomes(self, learner: str) -> list[Outcome]:
        """Decodes the outcomes of all that a target served, one by one; the examples are a sample of them."""
        return [outcome for batch in self.example_batches(learner) for outcome in _outcomes(batch)]

    def example_batches(self, learner: str) -> list[Examples]:
        """Decodes the records that a learner was sent."""
        records = self.topics.records[EXAMPLES, self.settings.partition_of_learner(learner)]
        return [read_examples(record.value) for record in records if record.key == learner.encode()]

    def _apply(self, items: Iterable[bytes], models: Iterable[bytes], experiments: Iterable[bytes] = ()) -> None:
        self.item_table.apply([decode_item(value) for value in items])
        for parameters in map(decode_parameters, models):
            taker = self.policies if parameters.learner in self.policies.versions else self.scorers
            if not taker.apply(parameters):
                raise ValueError(
                    f"parameters of {parameters.learner}/{parameters.model} do not fit the settings of this pipeline"
                )
        for value in experiments:
            if not self.experiment.apply(value):
                raise ValueError(f"the experiment is refused: {self.experiment.refused}")


def _rows(batch: Examples) -> Iterator[Example]:
    columns = (batch.offsets, batch.indices, batch.labels, batch.probabilities, batch.weights, batch.timestamps_ms)
    for vector, offset, index, label, served, weight, timestamp_ms in zip(
        batch.vectors, *(column.tolist() for column in columns), strict=True
    ):
        probabilities = dict(zip(batch.models, served, strict=True))
        yield Example(batch.partition, (offset, index), vector.tobytes(), label, probabilities, weight, timestamp_ms)


def _outcomes(batch: Examples) -> Iterator[Outcome]:
    for offset, index, *rest in zip(*(column.tolist() for column in batch.outcomes), strict=True):
        yield Outcome(batch.partition, (offset, index), *rest)
