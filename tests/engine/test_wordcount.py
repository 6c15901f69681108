"""The example of the engine alone works as it says."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from streams.brokers.embedded import EmbeddedBroker
from tests.engine.supervised import ROOT
from tests.timeouts import HANG_S, Deadline

WORDS = b"a rose is a rose is a rose".split()


@pytest.mark.broker
def test_the_example_counts_words(tmp_path: Path) -> None:
    topics = {"words": 4, "word-counts": 4, "word-counts-changelog": 4}
    with EmbeddedBroker(topics) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"})
        for word in WORDS:
            producer.produce("words", word, word)
        assert producer.flush(HANG_S) == 0
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "HEADRACE_ENGINE__DATA_DIR": f'"{tmp_path}"',
            "PYTHONPATH": str(ROOT),
        }
        worker = subprocess.Popen([sys.executable, "examples/wordcount.py"], cwd=ROOT, env=environment)
        reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader", "log_level": 2})
        try:
            reader.assign([TopicPartition("word-counts", number, OFFSET_BEGINNING) for number in range(4)])
            counts: dict[bytes | None, int] = {}
            deadline = Deadline(lambda: counts)
            while counts != Counter(WORDS) and worker.poll() is None:
                deadline.check()
                counts |= {message.key(): int(message.value() or b"") for message in reader.consume(100, 0.1)}
            assert counts == Counter(WORDS)
        finally:
            reader.close()
            worker.kill()
            worker.wait()
