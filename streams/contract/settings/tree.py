"""The settings: one frozen tree of sections."""

from typing import Annotated

from msgspec import Meta

from streams.contract.names import Names, names_of
from streams.contract.partitioning import partition_of
from streams.contract.settings.decisions import Decisions, check_decisions
from streams.contract.settings.sections import (
    DEFAULT_WINDOWS,
    Admission,
    Engine,
    Http,
    Items,
    Kafka,
    Log,
    Section,
    Serve,
    Time,
    Window,
    check_kafka,
    check_names,
    check_windows,
)
from streams.contract.settings.targets import DEFAULT_TARGETS, Target, check_targets
from streams.contract.topics import Topic, topics


class Settings(Section, frozen=True):
    """Everything that can be set. Build it with :func:`load_settings`; the defaults run on a laptop."""

    kafka: Kafka = Kafka()
    engine: Engine = Engine()
    time: Time = Time()
    admission: Admission = Admission()
    windows: tuple[Window, ...] = DEFAULT_WINDOWS
    targets: tuple[Target, ...] = DEFAULT_TARGETS
    decisions: Decisions = Decisions()
    items: Items = Items()
    http: Http = Http()
    serve: Serve = Serve()
    log: Log = Log()
    seed: Annotated[int, Meta(ge=0)] = 0
    freeze_global_tables: bool = False

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of all learners."""
        return tuple(target.name for target in self.targets) + self.decisions.learners

    @property
    def names(self) -> Names:
        """Names of topics and consumer groups on the cluster."""
        return names_of(self.engine.app_id, self.kafka.topic_prefix, self.kafka.clickstream)

    @property
    def topics(self) -> list[Topic]:
        """Lists all topics, as these settings make them."""
        listed = topics(self.kafka.partitions, self.kafka.learner_partitions)
        return [topic._replace(name=self.names.topic(topic.called)) for topic in listed]

    def partition_of_learner(self, name: str) -> int:
        """Returns the partition of ``examples`` where a learner learns; others may share it."""
        return partition_of(name.encode(), self.kafka.learner_partitions)


def check_settings(settings: Settings) -> None:
    """Raises a ConfigurationError where values do not fit together."""
    check_decisions(settings.decisions)
    check_targets(settings.targets, settings.decisions.learners)
    check_windows(settings.windows)
    check_kafka(settings.kafka)
    check_names(settings.engine.app_id, settings.topics)
