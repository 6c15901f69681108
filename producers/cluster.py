"""Number of partitions of a topic, read from the cluster before publishing."""

import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer

from streams.contract.errors import RefusedStart, UnreachableBroker

_SLICE_S: Final = 2.0


def partition_count(client: Producer | Consumer, topic: str, timeout_s: float) -> int:
    """Returns the number of partitions of ``topic``; waits up to ``timeout_s`` for it to appear.

    Raises:
        UnreachableBroker: No broker answered in time.
        RefusedStart: The topic did not appear in time.
    """
    deadline_s = time.monotonic() + timeout_s
    problem: UnreachableBroker | RefusedStart
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            # The call blocks in C, where Ctrl-C has no effect, so it is made in slices.
            metadata = client.list_topics(topic, timeout=max(0.01, min(left_s, _SLICE_S)))
        except KafkaException as error:
            problem = UnreachableBroker(f"no broker answered a request about {topic}: {error.args[0].str()}")
        else:
            if metadata.topics[topic].partitions:
                return len(metadata.topics[topic].partitions)
            problem = RefusedStart(f"the broker has no topic {topic}: run `headrace topics create`")
        if left_s <= 0:
            raise problem
        time.sleep(min(0.1, max(left_s, 0.0)))
