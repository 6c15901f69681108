"""Quix Streams: a tumbling window of a day by user, in its RocksDB state with a changelog, one result for each event.

It runs in a virtual environment of its own, see :mod:`benchmarks.table`, and imports nothing of Headrace.
"""

import logging
import os
from collections.abc import Callable

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Sum
from quixstreams.models.topics import TopicAdmin, TopicConfig


def new_application(partitions: Callable[[str], int] = lambda _: 4) -> Application:
    """Makes the application.

    Args:
        partitions: Of a topic. It stands in for DescribeConfigs, which the embedded broker lacks; there topics are as
            they were made when it started.
    """
    settings = {"cleanup.policy": "compact", "retention.ms": "604800000", "retention.bytes": "-1"}

    def inspect_topics(_: TopicAdmin, names: list[str], timeout: float | None = None) -> dict[str, TopicConfig]:
        return {name: TopicConfig(partitions(name), replication_factor=1, extra_config=settings) for name in names}

    TopicAdmin.inspect_topics = inspect_topics
    return Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group="headrace",
        auto_offset_reset="earliest",
        state_dir=os.environ["HEADRACE_ENGINE__DATA_DIR"].strip('"'),
        loglevel=logging.ERROR,
        commit_interval=0.5,
    )


def main() -> None:
    app = new_application()
    source = app.topic("clickstream", value_deserializer="json", key_deserializer="str")
    predictions = app.topic("predictions", value_serializer="json", key_serializer="str")
    frame = app.dataframe(source)
    frame = frame.tumbling_window(duration_ms=86_400_000).agg(events=Count(), sum=Sum("price")).current()
    frame.to_topic(predictions)
    app.run()


if __name__ == "__main__":
    main()
