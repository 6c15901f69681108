"""Sets and reads the experiment that all workers have in force, on its compacted topic."""

from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart, UnreachableBroker
from streams.contract.experiment import RUNNING, Experiment
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIMENTS
from streams.core.policies.experiment import RunningExperiment
from streams.ops.clients import QUIET, partition_counts

_TIMEOUT_S: Final = 10.0


def set_experiment(settings: Settings, experiment: Experiment) -> None:
    """Puts an experiment in force on every worker, within a moment.

    Raises:
        UnreachableBroker: No broker took it.
        RefusedStart: The topic is not there.
    """
    producer = Producer({**client_configuration(settings.kafka), **QUIET, "acks": "all"})
    _refuse_missing(producer, settings)
    failures: list[Any] = []
    producer.produce(
        EXPERIMENTS,
        msgspec.json.encode(experiment),
        RUNNING,
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    if producer.flush(_TIMEOUT_S) or failures:
        raise UnreachableBroker(f"{settings.kafka.bootstrap_servers} did not take the experiment: {failures}")


def read_experiment(settings: Settings) -> dict[str, Any]:
    """Reads what a worker with these settings has in force.

    Returns:
        ``shares``, ``shadows``, and ``refused``: why the latest record is not in force, ``None`` where it is.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: The topic is not there.
    """
    running = RunningExperiment(settings.decisions)
    consumer = Consumer({**client_configuration(settings.kafka), **QUIET, "group.id": "headrace-experiment"})
    try:
        _refuse_missing(consumer, settings)
        partition = TopicPartition(EXPERIMENTS, 0, OFFSET_BEGINNING)
        _, end = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S)
        consumer.assign([partition])
        position = 0
        while position < end:
            message = consumer.poll(_TIMEOUT_S)
            if message is None or message.error() is not None:
                raise UnreachableBroker(f"{EXPERIMENTS} cannot be read at {settings.kafka.bootstrap_servers}")
            running.apply(message.value() or b"")
            position = (message.offset() or 0) + 1
    except KafkaException as error:
        raise UnreachableBroker(f"{EXPERIMENTS} cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return {**msgspec.to_builtins(running.current), "refused": running.refused}


def _refuse_missing(client: Any, settings: Settings) -> None:
    servers = settings.kafka.bootstrap_servers
    if EXPERIMENTS not in partition_counts(client, servers):
        raise RefusedStart(f"there is no topic {EXPERIMENTS} at {servers}: run `headrace topics create`")
