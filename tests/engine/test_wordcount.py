"""The example of the engine alone works as it says."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from streams.ops.broker import EmbeddedBroker
from tests.engine.running import DEADLINE_S, ROOT

WORDS = b"a rose is a rose is a rose".split()


@pytest.mark.slow
def test_the_example_counts_words(tmp_path: Path) -> None:
    topics = {"words": 4, "word-counts": 4, "word-counts-changelog": 4}
    with EmbeddedBroker(topics) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"})
        for word in WORDS:
            producer.produce("words", word, word)
        assert producer.flush(DEADLINE_S) == 0
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
            deadline_s = time.monotonic() + DEADLINE_S
            while counts != Counter(WORDS) and time.monotonic() < deadline_s and worker.poll() is None:
                counts |= {message.key(): int(message.value() or b"") for message in reader.consume(100, 0.1)}
            assert counts == Counter(WORDS)
        finally:
            reader.close()
            worker.kill()
            worker.wait()
