"""What producers ask of the cluster before they publish."""

import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer

from streams.contract.errors import RefusedStart, UnreachableBroker

_SLICE_S: Final = 2.0


def partition_count(client: Producer | Consumer, topic: str, timeout_s: float) -> int:
    """Asks the cluster how many partitions ``topic`` has, waiting for it to appear.

    Raises:
        UnreachableBroker: No broker answered within ``timeout_s``.
        RefusedStart: It knew no such topic until then.
    """
    deadline_s = time.monotonic() + timeout_s
    problem: UnreachableBroker | RefusedStart
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            # The call waits inside the library, deaf to Ctrl-C, so it waits in slices.
            metadata = client.list_topics(topic, timeout=max(0.01, min(left_s, _SLICE_S)))
        except KafkaException as error:
            problem = UnreachableBroker(f"no broker answered, to be asked for {topic}: {error.args[0].str()}")
        else:
            if metadata.topics[topic].partitions:
                return len(metadata.topics[topic].partitions)
            problem = RefusedStart(f"the broker has no topic {topic}")
        if left_s <= 0:
            raise problem
        time.sleep(min(0.1, max(left_s, 0.0)))
