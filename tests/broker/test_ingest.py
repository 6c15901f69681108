"""A topic of the shop's own shape, on a real broker: each record is mapped once and in its order, whoever dies."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from producers.formats.format import Format
from producers.formats.mapping import NamedMapping, parse_mapping
from producers.ingest import Ingestion
from streams.contract.events import Event, decode_event
from streams.contract.settings import load_settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from tests.broker.fresh import delete_topics, make_topics_anew
from tests.system.cluster import QUICK, ROOT, Reader, Record
from tests.timeouts import HANG_S, Deadline, scaled, wait_until

pytestmark = pytest.mark.kafka

SOURCE: Final = "shop-actions"
PARTITIONS: Final = 3
USERS: Final = 20
MAPPING: Final = """
title = "Actions"
layout = "json"
event_name = "what"
time = { column = "at", unit = "s" }
fields = { user_id = "who", item_id = "sku" }
[events]
look = "view"
"""


class Shop:
    """A shop that writes numbered actions, and the processes that map them."""

    def __init__(self, servers: str, folder: Path) -> None:
        # Readers of what is committed wait for the transaction of a process that was killed.
        timeout = {"HEADRACE_ENGINE__TRANSACTION_TIMEOUT_S": str(scaled(5.0))}
        self.n_published = 0
        self._folder = folder
        self._environment = {**os.environ, **QUICK, **timeout, "KAFKA_BOOTSTRAP_SERVERS": servers}
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 2})
        self.settings = settings = load_settings(environment=self._environment)
        partitions = {topic.name: topic.partitions for topic in settings.topics}
        self._clickstream = Reader(servers, CLICKSTREAM, partitions[CLICKSTREAM])
        self._dead_letters = Reader(servers, DEAD_LETTERS, partitions[DEAD_LETTERS])
        self._mapping = folder / "actions.toml"
        self._mapping.write_text(MAPPING)
        self.processes: list[subprocess.Popen[bytes]] = []

    def publish(self, count: int) -> None:
        for number in range(self.n_published, self.n_published + count):
            record = {"what": "look", "at": 1_570_000_000 + number, "who": f"u{number % USERS}", "sku": number}
            self._producer.produce(SOURCE, json.dumps(record), f"u{number % USERS}")
        self.n_published += count
        assert self._producer.flush(HANG_S) == 0

    def publish_raw(self, value: bytes) -> None:
        self._producer.produce(SOURCE, value)
        assert self._producer.flush(HANG_S) == 0

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "streams.cli.main", "ingest", "--from", SOURCE, "--mapping"]
        log = (self._folder / f"{len(self.processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [*command, str(self._mapping), "--report", str(self._folder / f"{len(self.processes)}.json")],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def said(self) -> list[str]:
        return [path.read_text() for path in sorted(self._folder.glob("*.log"))]

    def events(self) -> list[Event]:
        self._clickstream.read()
        return [decode_event(record.value) for record in self._clickstream.records]

    def dead_letters(self) -> list[Record]:
        self._dead_letters.read()
        return self._dead_letters.records

    def wait_for(self, n_events: int) -> None:
        wait_until(lambda: len(self.events()) >= n_events, self.said)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._clickstream.close()
        self._dead_letters.close()


@pytest.fixture
def shop(kafka: str, tmp_path: Path) -> Iterator[Shop]:
    make_topics_anew(kafka, load_settings(environment={}).topics)
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    delete_topics(client, {SOURCE})
    client.create_topics([NewTopic(SOURCE, PARTITIONS, 1)])[SOURCE].result()
    made = Shop(kafka, tmp_path)
    try:
        yield made
    finally:
        made.close()
        delete_topics(client, {SOURCE})


def test_every_record_is_mapped_once_and_in_its_order_whoever_is_killed(shop: Shop, tmp_path: Path) -> None:
    shop.publish(1500)
    killed = shop.start()
    shop.wait_for(1)
    shop.publish(3000)
    killed.kill()
    shop.start()
    shop.publish_raw(b"{not json")
    shop.publish_raw(json.dumps({"what": "swipe", "at": 1, "who": "u"}).encode())
    shop.publish(1500)
    # Another one joins while records are read; then one is killed that may own any partition.
    other = shop.start()
    shop.publish(1500)
    shop.wait_for(shop.n_published - 1500)
    other.kill()
    shop.publish(500)
    last = shop.start()
    shop.wait_for(shop.n_published)
    wait_until(lambda: len(shop.dead_letters()) >= 1, shop.said)
    # A second copy of anything would have been committed by the time they have left the group.
    for process in (shop.processes[1], last):
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0, shop.said()
    events = shop.events()
    assert sorted(int(event.item_id or "") for event in events) == list(range(shop.n_published))
    assert len({event.event_id for event in events}) == len(events)
    of_user: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        of_user[event.user_id or ""].append(int(event.item_id or ""))
    assert all(numbers == sorted(numbers) for numbers in of_user.values())
    [letter] = shop.dead_letters()
    assert (letter.headers["reason"], letter.headers["topic"], letter.value) == (
        b"malformed",
        b"shop-actions",
        b"{not json",
    )
    summaries = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (1, 3)]
    assert sum(summary["dead_letters"] for summary in summaries) <= 1
    assert any("does not know the event 'swipe'" in said for said in shop.said())


class Interrupted(Exception):
    """The end of a process between two steps."""


class FlakyProducer:
    """A transactional producer whose next commit ends in an error, before or after it has written everything."""

    def __init__(self, producer: Producer, error: Exception) -> None:
        self._producer = producer
        self._error: Exception | None = error

    def commit_transaction(self, timeout_s: float) -> None:
        error, self._error = self._error, None
        if error is not None:
            assert self._producer.flush(HANG_S) == 0
            raise error
        self._producer.commit_transaction(timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def ingestion(shop: Shop) -> Ingestion:
    form = Format(NamedMapping("actions", parse_mapping(MAPPING, "actions.toml")))
    return Ingestion(shop.settings, form, SOURCE, lambda sentence: None)


def items(shop: Shop) -> list[int]:
    return sorted(int(event.item_id or "") for event in shop.events())


def test_what_a_process_wrote_and_did_not_commit_is_written_once_by_the_next(shop: Shop) -> None:
    shop.publish(100)
    with ingestion(shop) as first:
        first._producer = FlakyProducer(first._producer, Interrupted())  # type: ignore[assignment]  # it acts as one
        with pytest.raises(Interrupted):
            first.run(lambda: False, lambda records: None)
    assert first.summary.records == 0
    shop.start()
    shop.wait_for(100)
    assert items(shop) == list(range(100))


def test_a_batch_whose_transaction_was_aborted_is_read_again(shop: Shop) -> None:
    shop.publish(100)
    aborted = KafkaException(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "moved", False, False, True))
    with ingestion(shop) as mapping:
        mapping._producer = FlakyProducer(mapping._producer, aborted)  # type: ignore[assignment]  # it acts as one
        deadline = Deadline()

        def is_done() -> bool:
            deadline.check()
            return mapping.summary.records >= 100

        mapping.run(is_done, lambda records: None)
    assert items(shop) == list(range(100))
    assert mapping.summary.events == 100
