"""What should have come of a log, folded by plain Python from the log itself; it shares no code with the engine.

It knows topics and the fields of rows by itself, decodes with the standard library's JSON and a MessagePack
reader that knows of no struct, and counts.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

PARTITIONS = 4
PARTITION_ROW = b"\x00partition"
MODULUS = 1 << 61


class Verdict(NamedTuple):
    """Differences between what came and what should have.

    Attributes:
        lost: Valid events without an output.
        duplicated: Outputs above one an event, as a reader of committed records sees them.
        differing_rows: Rows that are not what the log makes, or missing, or too many.
        misordered: Outputs of a user that do not count on from the one before.
        ahead: Partitions whose committed offset passes over a record that their rows have not seen.
        lag: Records that the group has not committed.
    """

    lost: int
    duplicated: int
    differing_rows: int
    misordered: int
    ahead: int
    lag: int
    events: int


def judge(servers: str, group: str = "headrace", *, at_least_once: bool = False) -> Verdict:
    """Compares outputs, rows and committed offsets with the log.

    Args:
        at_least_once: Outputs may be repeated, byte for byte, and are dropped by their event_ref as a reader would.
    """
    offsets: dict[int, list[int]] = defaultdict(list)
    users: dict[bytes, list[int]] = {}
    expected: set[str] = set()
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for number, offset, _, value in read(servers, "clickstream"):
        offsets[number].append(offset)
        try:
            event = json.loads(value)
        except ValueError:
            totals[number]["dead_letters.malformed"] += 1
            continue
        expected.add(f"clickstream-{number}-{offset}")
        totals[number]["applied"] += 1
        row = users.setdefault(event["user_id"].encode(), [-1, 0, 0, 0, 0])
        row[0] = offset
        row[2] += 1
        row[3] += round(event.get("price", 0.0) * 100)
        row[4] = (row[4] * 31 + offset) % MODULUS

    seen: Counter[str] = Counter()
    first: dict[str, bytes] = {}
    counted: dict[bytes, int] = {}
    misordered = 0
    for _, _, key, value in read(servers, "predictions"):
        output = json.loads(value)
        if at_least_once and first.setdefault(output["event_ref"], value) == value and output["event_ref"] in seen:
            continue
        seen[output["event_ref"]] += 1
        misordered += output["events"] != counted.get(key, 0) + 1
        counted[key] = output["events"]

    rows: dict[bytes, Any] = {}
    partition_rows: dict[int, Any] = {}
    for number, _, key, value in read(servers, "users-changelog"):
        if key == PARTITION_ROW:
            partition_rows[number] = msgspec.msgpack.decode(value)
        else:
            rows[key] = msgspec.msgpack.decode(value)
    differing = sum(rows.get(key) != users.get(key) for key in rows.keys() | users.keys())
    # The fifth field of a partition's row are its totals.
    differing += sum(partition_rows.get(number, [0] * 5)[4] != dict(total) for number, total in totals.items())

    committed = committed_offsets(servers, group)
    ahead = sum(
        any(partition_rows.get(number, [-1])[0] < offset < committed[number] for offset in there)
        for number, there in offsets.items()
    )
    lag = sum(sum(offset >= committed[number] for offset in there) for number, there in offsets.items())
    return Verdict(
        lost=len(expected - seen.keys()),
        duplicated=sum(seen.values()) - len(seen) + len(seen.keys() - expected),
        differing_rows=differing,
        misordered=misordered,
        ahead=ahead,
        lag=lag,
        events=len(expected),
    )


def read(servers: str, topic: str) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yields partition, offset, key and value of all that is committed, each partition in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "oracle",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    unfinished = set(range(PARTITIONS))
    deadline_s = time.monotonic() + 300.0
    while unfinished:
        assert time.monotonic() < deadline_s, f"{topic} has no end"
        for message in consumer.consume(10_000, 0.5):
            number, offset, key = message.partition(), message.offset(), message.key()
            assert number is not None
            assert offset is not None
            if message.error() is not None:
                unfinished.discard(number)
            else:
                yield number, offset, key if isinstance(key, bytes) else b"", message.value() or b""
    consumer.close()


def committed_offsets(servers: str, group: str) -> dict[int, int]:
    """Returns how far the group has committed each partition."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    found = consumer.committed([TopicPartition("clickstream", number) for number in range(PARTITIONS)], 30.0)
    consumer.close()
    return {each.partition: max(each.offset, 0) for each in found}
