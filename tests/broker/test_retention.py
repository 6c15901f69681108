"""Old events on a real broker: retention counts from when a record was written, whatever time its producer gives it."""

from typing import Final

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.contract.settings import Kafka, Settings
from streams.contract.topic_config import RETENTION_MS
from tests.broker.fresh import make_topics_anew
from tests.timeouts import HANG_S, wait_until

pytestmark = pytest.mark.kafka

OLD_MS: Final = 1_511_539_200_000
"""2017-11-24, long before any retention."""
EXPIRING: Final = "stamped-by-its-producer"
"""A topic with the same retention, whose old records the broker deletes at its next check."""


def test_what_is_written_with_an_old_timestamp_is_kept(kafka: str) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    make_topics_anew(kafka, settings.topics)
    places = [TopicPartition(topic.name, 0) for topic in settings.topics if topic.cleanup == "delete"]
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "retention", "log_level": 2})
    producer = Producer({"bootstrap.servers": kafka, "log_level": 2})
    expiring = NewTopic(EXPIRING, 1, 1, config={"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS)})
    client.create_topics([expiring])[EXPIRING].result()

    def write_old(topic: str) -> None:
        producer.produce(topic, b"value", b"key", 0, timestamp=OLD_MS)
        assert producer.flush(HANG_S) == 0

    try:
        for place in places:
            write_old(place.topic)
        # A check goes through all topics. By the third deletion, the one of the second deletion was at every topic.
        for written in (1, 2, 3):
            write_old(EXPIRING)
            wait_until(lambda: consumer.get_watermark_offsets(TopicPartition(EXPIRING, 0), HANG_S)[0] == written)  # noqa: B023
        kept = {place.topic: consumer.get_watermark_offsets(place, HANG_S) for place in places}
        assert kept == {place.topic: (0, 1) for place in places}
        consumer.assign([TopicPartition(place.topic, 0, 0) for place in places])
        kinds = {message.timestamp()[0] for message in consumer.consume(len(places), HANG_S)}
        assert kinds == {TIMESTAMP_LOG_APPEND_TIME}
    finally:
        consumer.close()
        client.delete_topics([EXPIRING])[EXPIRING].result()
