"""Real workers of the counting fold on a real broker, whose offsets have markers of transactions between them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams.contract.fold import PARTITION_KEY, decode_partition_row
from streams.contract.topics import PREDICTIONS, USERS_CHANGELOG, topics
from tests.broker.fresh import make_topics_anew
from tests.engine.counting import Count, CountingFold
from tests.engine.supervised import PARTITIONS, Process, Reader, Shop, Supervisor
from tests.timeouts import Deadline


class Address(NamedTuple):
    """A broker of which nothing is known but where it is."""

    bootstrap_servers: str


class OnKafka(NamedTuple):
    """A shop that publishes to a broker, someone to run workers, and a reader of what they put out."""

    servers: str
    shop: Shop
    supervisor: Supervisor
    reader: Reader

    def run_to_the_end(self, *workers: Process) -> list[Process]:
        """Waits until there is an output for every event."""
        running = list(workers)
        for number, worker in enumerate(running):
            running[number] = self.supervisor.wait_for_outputs(worker, self.reader, self.shop.refs())
        return running

    def lost_outputs(self, worker: Process) -> set[str]:
        """Waits until the group has committed all events, and returns those that have no output then."""
        return self.supervisor.lost_outputs(worker, self.reader, self.shop.refs())

    def wrong(self) -> dict[str, int]:
        """Counts what is not there once: in the committed outputs, and in the rows that the changelog makes."""
        made, expected = committed_rows(self.servers), self.shop.counts()
        found = {
            "repeated": len(repeats(self.servers)),
            "missing": len(self.shop.refs() - self.reader.refs()),
            "too many": len(self.reader.refs() - self.shop.refs()),
            "differing rows": sum(made.get(key) != expected.get(key) for key in made.keys() | expected.keys()),
        }
        return {name: number for name, number in found.items() if number}


@contextmanager
def on_kafka(servers: str, folder: Path, replication: int = 1, **settings: str) -> Iterator[OnKafka]:
    """Makes the topics anew, and leaves no worker behind; an application of another name reads them, too."""
    settings = {"KAFKA__TOPIC_PREFIX": "", **settings}
    make_topics_anew(servers, topics(PARTITIONS, 1), replication)
    address = Address(servers)
    supervisor, reader = Supervisor(address, folder, settings), Reader(address, PREDICTIONS)
    try:
        yield OnKafka(servers, Shop(address, PARTITIONS), supervisor, reader)
    finally:
        supervisor.close()
        reader.close()


def read_whole(
    servers: str, topic: str, partitions: int, isolation: str = "read_committed"
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields partition, key and value of what a topic holds now, each partition in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "whole",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
    unfinished = set(range(partitions))
    deadline = Deadline(lambda: f"{topic} has no end: {unfinished}")
    while unfinished:
        deadline.check()
        for message in consumer.consume(5000, 0.5):
            number, key = message.partition(), message.key()
            assert number is not None
            if error := message.error():
                assert error.code() == KafkaError._PARTITION_EOF, error
                unfinished.discard(number)
            else:
                yield number, key if isinstance(key, bytes) else b"", message.value() or b""
    consumer.close()


def repeats(servers: str) -> dict[str, int]:
    """Counts what a reader of committed records sees more than once."""
    seen = Counter(orjson.loads(value)["event_ref"] for _, _, value in read_whole(servers, PREDICTIONS, PARTITIONS))
    return {ref: times for ref, times in seen.items() if times > 1}


def committed_rows(servers: str) -> dict[bytes, Count]:
    """Makes the rows of the changelog: the last of each key, as compaction would leave it."""
    decode = CountingFold().decode_row
    rows = {key: value for _, key, value in read_whole(servers, USERS_CHANGELOG, PARTITIONS)}
    rows.pop(PARTITION_KEY, None)
    return {key: decode(value) for key, value in rows.items()}


def partition_totals(servers: str) -> list[dict[str, int]]:
    """The totals of each partition's row, as it was committed last."""
    newest = {
        number: value for number, key, value in read_whole(servers, USERS_CHANGELOG, PARTITIONS) if key == PARTITION_KEY
    }
    return [decode_partition_row(value).counts for _, value in sorted(newest.items())]
