"""What should have come of a log, folded by plain Python from the log itself; it shares no code with the engine.

It knows topics and the fields of rows by itself, decodes with the standard library's JSON and a MessagePack
reader that knows of no struct, and counts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.timeouts import HANG_S, Deadline

PARTITIONS = 4
PARTITION_ROW = b"\x00partition"
MODULUS = 1 << 61


class Verdict(NamedTuple):
    """Differences between what came and what should have.

    Attributes:
        lost: Valid events without an output, and other records without a dead letter.
        duplicated: Outputs above one an event and dead letters above one a record, as a reader of committed records
            sees them.
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
    rejected: set[str] = set()
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for number, offset, _, value, _ in read(servers, "clickstream"):
        offsets[number].append(offset)
        try:
            event = json.loads(value)
        except ValueError:
            totals[number]["dead_letters.malformed"] += 1
            rejected.add(f"clickstream-{number}-{offset}")
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
    for _, _, key, value, _ in read(servers, "predictions"):
        output = json.loads(value)
        if at_least_once and first.setdefault(output["event_ref"], value) == value and output["event_ref"] in seen:
            continue
        seen[output["event_ref"]] += 1
        misordered += output["events"] != counted.get(key, 0) + 1
        counted[key] = output["events"]

    letters = [
        "-".join(headers[name].decode() for name in ("topic", "partition", "offset"))
        for *_, headers in read(servers, "dead-letters", partitions=1)
    ]
    letter_repeats = 0 if at_least_once else len(letters) - len(set(letters))

    rows: dict[bytes, Any] = {}
    partition_rows: dict[int, Any] = {}
    for number, _, key, value, _ in read(servers, "users-changelog"):
        if key == PARTITION_ROW:
            partition_rows[number] = msgspec.msgpack.decode(value)
        else:
            rows[key] = msgspec.msgpack.decode(value)
    differing = sum(rows.get(key) != users.get(key) for key in rows.keys() | users.keys())
    # The seventh field of a partition's row are its totals.
    differing += sum(partition_rows.get(number, [0] * 7)[6] != dict(total) for number, total in totals.items())

    committed = committed_offsets(servers, group)
    ahead = sum(
        any(partition_rows.get(number, [-1])[0] < offset < committed[number] for offset in there)
        for number, there in offsets.items()
    )
    lag = sum(sum(offset >= committed[number] for offset in there) for number, there in offsets.items())
    return Verdict(
        lost=len(expected - seen.keys()) + len(rejected - set(letters)),
        duplicated=sum(seen.values())
        - len(seen)
        + len(seen.keys() - expected)
        + letter_repeats
        + len(set(letters) - rejected),
        differing_rows=differing,
        misordered=misordered,
        ahead=ahead,
        lag=lag,
        events=len(expected),
    )


class BrokenPremise(Exception):
    """The broker no longer has a log from its beginning, so that nothing can be judged by it."""


Read = tuple[int, int, bytes, bytes, dict[str, bytes]]


def read(servers: str, topic: str, partitions: int = PARTITIONS) -> Iterator[Read]:
    """Yields partition, offset, key, value and headers of all that is committed, each partition in order.

    Raises:
        BrokenPremise: The broker has removed what was first in it, perhaps while it was read.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "oracle",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
        }
    )
    places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
    consumer.assign(places)
    unfinished = set(range(partitions))
    deadline = Deadline(lambda: f"{topic} has no end")
    while unfinished:
        deadline.check()
        for message in consumer.consume(10_000, 0.1):
            number, offset, key, error = message.partition(), message.offset(), message.key(), message.error()
            if error is not None:
                # Whatever else is wrong, librdkafka tries again.
                if error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(number or 0)
            elif number is not None and offset is not None:
                headers: Any = message.headers() or []
                yield number, offset, key if isinstance(key, bytes) else b"", message.value() or b"", dict(headers)
    begins = {place.partition: consumer.get_watermark_offsets(place, HANG_S)[0] for place in places}
    consumer.close()
    if any(begins.values()):
        raise BrokenPremise(f"{topic} does not begin at offset 0 any more: {begins}")


def committed_offsets(servers: str, group: str) -> dict[int, int]:
    """Returns how far the group has committed each partition."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    found = consumer.committed([TopicPartition("clickstream", number) for number in range(PARTITIONS)], HANG_S)
    consumer.close()
    return {each.partition: max(each.offset, 0) for each in found}
