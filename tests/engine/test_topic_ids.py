"""Ids of topics: a broker that does not answer is no topic without an id."""

import pytest
from confluent_kafka import KafkaException

from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM
from streams.engine import topic_ids
from streams.engine.topic_ids import TopicIds


def test_a_broker_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_ids, "_ANSWER_S", 0.5)
    monkeypatch.setattr(topic_ids, "is_embedded", lambda client: False)
    with pytest.raises(KafkaException):
        TopicIds(Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1"))).read([CLICKSTREAM])
