"""Experiment in force on all workers: set and read on its compacted topic."""

from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from streams.admin.topic_reader import partition_reader, read_to_end, require_topics
from streams.contract.connection import client_configuration
from streams.contract.errors import UnreachableBroker
from streams.contract.experiment import RUNNING, Experiment
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIMENTS
from streams.core.experiments.assignment import RunningExperiment

_TIMEOUT_S: Final = 10.0


def set_experiment(settings: Settings, experiment: Experiment) -> None:
    """Publishes an experiment; every worker applies it within seconds.

    Raises:
        UnreachableBroker: No broker took it.
        RefusedStart: The topic is missing.
    """
    producer = Producer({**client_configuration(settings.kafka), "acks": "all"})
    require_topics(producer, settings, EXPERIMENTS)
    failures: list[Any] = []
    producer.produce(
        settings.names.topic(EXPERIMENTS),
        msgspec.json.encode(experiment),
        RUNNING,
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    if producer.flush(_TIMEOUT_S) or failures:
        raise UnreachableBroker(f"{settings.kafka.bootstrap_servers} did not take the experiment: {failures}")


def read_experiment(settings: Settings) -> dict[str, Any]:
    """Reads the experiment that a worker with these settings has in force.

    Returns:
        ``shares``, ``shadows``, and ``refused``: why the latest record was refused, ``None`` if it was not.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: The topic is missing.
    """
    running = RunningExperiment(settings.decisions)
    consumer = partition_reader(settings)
    try:
        require_topics(consumer, settings, EXPERIMENTS)
        for message in read_to_end(consumer, settings.names.topic(EXPERIMENTS), 0):
            running.apply(message.value() or b"")
    finally:
        consumer.close()
    return {**msgspec.to_builtins(running.current), "refused": running.refused}
