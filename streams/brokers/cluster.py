"""Topics and partition counts of a cluster, for the command line."""

from time import monotonic
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streams.contract.errors import UnreachableBroker

ANSWER_TIMEOUT_S: Final = 5.0

_SLICE_S: Final = 2.0


def partition_counts(
    client: AdminClient | Consumer | Producer, servers: str, timeout_s: float = ANSWER_TIMEOUT_S
) -> dict[str, int]:
    """Returns the partition count of each topic.

    Raises:
        UnreachableBroker: No broker answered at ``servers`` within ``timeout_s``.
    """
    deadline_s = monotonic() + timeout_s
    while True:
        # The call blocks in C, where Ctrl-C has no effect, so it is made in slices.
        left_s = deadline_s - monotonic()
        try:
            metadata = client.list_topics(timeout=max(0.001, min(left_s, _SLICE_S)))
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if left_s <= _SLICE_S or cause.code() not in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
                raise UnreachableBroker(f"no broker answers at {servers}: {cause.str()}") from error
        else:
            return {name: len(topic.partitions) for name, topic in metadata.topics.items()}
