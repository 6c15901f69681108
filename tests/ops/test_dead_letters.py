"""What could not be applied is taken out, mended and put back, each once, wherever that is cut off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from streams.admin.dead_letters import DeadLetters, Mended, ReplaySummary, read_mended
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event, encode_event
from streams.contract.partitioning import partition_of
from streams.contract.settings import Kafka, Settings

USERS = ("ann", "bob", "cleo", "dan")


def event(number: int) -> Event:
    return Event(
        event_id=f"e{number}", timestamp_ms=1_700_000_000_000, kind="view", user_id=USERS[number % 4], item_id="shoe"
    )


class Cluster:
    """A broker that has dead letters of ``clickstream``, one of another topic, and events among which to put them."""

    def __init__(self, servers: str) -> None:
        self.kafka = Kafka(bootstrap_servers=servers)
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 2})
        for number in range(4):
            broken = encode_event(event(number)).replace(b'"view"', b'"stare"')
            self.letter("clickstream", number, "malformed", broken if number else b"{not json")
        self.letter("examples", 0, "malformed", b"\xc1")
        self.flush()

    def letter(self, topic: str, offset: int, reason: str, value: bytes) -> None:
        headers = [("reason", reason), ("detail", "why"), ("topic", topic), ("partition", "1"), ("offset", str(offset))]
        self._producer.produce("dead-letters", value, None, 0, headers=headers)  # type: ignore[arg-type] # list is invariant

    def flush(self) -> None:
        assert self._producer.flush(30.0) == 0

    def open(self) -> DeadLetters:
        return DeadLetters(Settings(kafka=self.kafka))

    def clickstream(self) -> list[tuple[str, int | None, bytes | None]]:
        """Event id, partition and key of every event."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "reader", "log_level": 2})
        places = [TopicPartition("clickstream", number, OFFSET_BEGINNING) for number in range(4)]
        ends = sum(consumer.get_watermark_offsets(place, 10.0)[1] for place in places)
        consumer.assign(places)
        found: list[Any] = []
        while len(found) < ends:
            found += consumer.consume(100, 0.1)
        consumer.close()
        return sorted((json.loads(each.value())["event_id"], each.partition(), each.key()) for each in found)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        yield Cluster(broker.bootstrap_servers)


def mended() -> list[Mended]:
    return [
        Mended(f"clickstream-1-{number}", (event(number).user_id or "").encode(), encode_event(event(number)))
        for number in range(4)
    ]


EXPECTED = sorted(
    (f"e{number}", partition_of(USERS[number].encode(), 4), USERS[number].encode()) for number in range(4)
)


@pytest.mark.broker
def test_what_is_exported_and_mended_is_put_back_once_in_its_users_partition(cluster: Cluster, tmp_path: Path) -> None:
    letters = cluster.open()
    lines = [json.loads(line) for line in letters.export()]
    assert [line["origin"] for line in lines] == [f"clickstream-1-{number}" for number in range(4)]
    assert lines[0]["text"] == "{not json"
    lines[0]["event"] = json.loads(encode_event(event(0)))
    for line in lines[1:]:
        line["event"]["kind"] = "view"
    file = tmp_path / "mended.jsonl"
    file.write_text("\n".join(map(json.dumps, lines[:3])) + "\n\n")
    assert letters.replay(read_mended(file)) == ReplaySummary(3, 0)
    assert [json.loads(line)["origin"] for line in letters.export()] == ["clickstream-1-3"]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert letters.replay(read_mended(file)) == ReplaySummary(1, 3)
    assert letters.replay(read_mended(file)) == ReplaySummary(0, 4)
    letters.close()
    assert cluster.clickstream() == EXPECTED


@pytest.mark.broker
@pytest.mark.parametrize("published", [0, 2, 4])
def test_a_replay_that_was_cut_off_is_finished_by_the_next_one(cluster: Cluster, published: int) -> None:
    cut_off = cluster.open()
    cut_off.intend(mended())
    cut_off.publish(mended()[:published])
    cut_off.close()
    letters = cluster.open()
    assert letters.replay(mended()) == ReplaySummary(4 - published, published)
    assert letters.replay(mended()) == ReplaySummary(0, 4)
    letters.close()
    assert cluster.clickstream() == EXPECTED


@pytest.mark.broker
def test_a_letter_that_comes_back_may_be_mended_again_under_its_new_origin(cluster: Cluster) -> None:
    letters = cluster.open()
    letters.replay(mended()[:1])
    cluster.letter("clickstream", 9, "ahead", encode_event(event(0)))
    cluster.flush()
    assert [json.loads(line)["origin"] for line in letters.export("ahead")] == ["clickstream-1-9"]
    assert letters.replay([mended()[0]._replace(origin="clickstream-1-9")]) == ReplaySummary(1, 0)
    letters.close()


@pytest.mark.broker
def test_a_letter_that_is_not_there_is_refused_and_nothing_is_put_back(cluster: Cluster) -> None:
    letters = cluster.open()
    with pytest.raises(UnreadableSource, match="no dead letter of clickstream-1-77"):
        letters.replay([*mended(), mended()[0]._replace(origin="clickstream-1-77")])
    letters.close()
    assert cluster.clickstream() == []


GOOD = json.dumps({"origin": "clickstream-1-0", "event": json.loads(encode_event(event(0)))})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", ":2: "),
        ('{"event":{}}', ":2: .*origin"),
        ('{"origin":"clickstream-1-1","text":"x"}', "mend the text"),
        (GOOD.replace("view", "stare").replace("-0", "-1"), "rejected again: malformed"),
        (GOOD.replace('"item_id"', '"item"').replace("-0", "-1"), "rejected again: incomplete"),
        (
            '{"origin":"clickstream-1-1","event":{"event_id":"t","kind":"tick","timestamp_ms":1700000000000}}',
            "a tick is for",
        ),
        (GOOD, "has another line above"),
    ],
)
def test_a_line_that_is_not_mended_is_named_before_anything_is_put_back(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "mended.jsonl"
    file.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(UnreadableSource, match=why):
        read_mended(file)
