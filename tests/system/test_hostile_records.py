"""Two thousand records that no shop should send, among good ones: the worker lives and accounts for every one."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from streams.contract.events import Event, encode_event
from streams.contract.partitioning import partition_of
from tests.fuzzing import AT_LENGTH
from tests.system.cluster import Cluster, Record, cluster

BEGIN_MS: Final = 1_700_000_000_000
PARTITIONS: Final = 4
USERS: Final = 60
GOOD: Final = 1500
HOSTILE: Final = 2000
ROUNDS: Final = 50 if AT_LENGTH else 1
"""Each is folded, and its dead letters read, before the next: the embedded broker forgets what is older than 5 MiB."""


class Sent(NamedTuple):
    """What is produced; ``reason`` is the dead letter's, ``""`` for an event that is applied, ``None`` for either."""

    value: bytes
    key: bytes | None
    partition: int
    reason: str | None


def event(number: int, draw: random.Random) -> Event:
    return Event(
        event_id=f"e{number}",
        timestamp_ms=BEGIN_MS + 500 * number,
        kind=draw.choice(("view", "view", "view", "add_to_cart", "purchase")),
        user_id=f"user-{draw.randrange(USERS)}",
        item_id=f"item-{draw.randrange(40)}",
        price=9.5,
    )


def good(number: int, draw: random.Random) -> Sent:
    return sent(event(number, draw), "")


def sent(what: Event, reason: str | None, value: bytes | None = None, key: bytes | None = None, shift: int = 0) -> Sent:
    own = (what.user_id or "").encode()
    return Sent(
        encode_event(what) if value is None else value,
        own if key is None else key,
        (partition_of(own, PARTITIONS) + shift) % PARTITIONS,
        reason,
    )


def with_value(change: Callable[[bytes], bytes], reason: str | None) -> Callable[[Event], Sent]:
    return lambda what: sent(what, reason, change(encode_event(what)))


def with_field(name: str, text: bytes, reason: str | None = "malformed") -> Callable[[Event], Sent]:
    """Gives a field a value as JSON, instead of the one it has."""

    def change(value: bytes) -> bytes:
        fields = orjson.loads(value)
        fields.pop(name, None)
        return orjson.dumps(fields)[:-1] + b',"' + name.encode() + b'":' + text + b"}"

    return with_value(change, reason)


MUTATIONS: Final[list[Callable[[Event], Sent]]] = [
    with_value(lambda value: value[: len(value) // 2], "malformed"),
    with_value(lambda value: b"", "empty"),
    with_value(lambda value: b"null", "malformed"),
    with_value(lambda value: b"[" + value + b"]", "malformed"),
    with_value(lambda value: value.replace(b"event_id", b"event\xff\xfe"), "malformed"),
    with_value(lambda value: value.replace(b'"item-', b'"\xc3\x28'), "malformed"),
    with_value(lambda value: b"[" * 20_000, "malformed"),
    with_value(lambda value: value[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed"),
    with_value(lambda value: value[:-1] + b',"x":"' + b"x" * 70_000 + b'"}', "oversized"),
    with_value(lambda value: value[:-1] + b',"colour":"red"}', ""),
    with_field("kind", b'"stare"'),
    with_field("kind", b"7"),
    with_field("price", b"NaN"),
    with_field("price", b"-Infinity"),
    with_field("price", b"1e400"),
    with_field("price", b'"cheap"'),
    with_field("quantity", b"9" * 30),
    with_field("quantity", b"0"),
    with_field("timestamp_ms", b"1" + b"0" * 40),
    with_field("timestamp_ms", b"-1"),
    with_field("timestamp_ms", b"1.5"),
    with_field("timestamp_ms", b"1736121605", "wrong-unit"),
    with_field("timestamp_ms", b"1736121605000000", "wrong-unit"),
    with_field("timestamp_ms", b"1736121605000000000", "wrong-unit"),
    with_field("timestamp_ms", b"4102444700000", "ahead"),
    with_field("item_id", b'""'),
    with_field("item_id", b'"' + b"x" * 129 + b'"'),
    with_field("item_id", b"null", "incomplete"),
    with_field("user_id", b"null", "incomplete"),
    with_field("user_id", b"{}"),
    with_field("user_id", b'"\\u0000partition"'),
    lambda what: sent(what, "wrong-key", key=b"somebody else"),
    lambda what: sent(what, "wrong-key")._replace(key=None),
    lambda what: sent(what, "wrong-partition", shift=1),
]


def hostile(number: int, draw: random.Random) -> Sent:
    what = event(number, draw)
    if number % 4:
        return draw.choice(MUTATIONS)(what)
    # Anything at all: a byte of it is another. It may still be an event.
    value = bytearray(encode_event(what))
    value[draw.randrange(len(value))] = draw.randrange(256)
    return sent(what, None, bytes(value))


def produce(it: Cluster, number: int, places: dict[tuple[int, int], Sent]) -> None:
    """Produces a round, shuffled, and adds what was sent by where it is."""
    draw = random.Random(3 + number)
    makers = [good] * GOOD + [hostile] * HOSTILE
    draw.shuffle(makers)
    ends = Counter(partition for partition, _ in places)
    for place, make in enumerate(makers):
        each = make(number * len(makers) + place, draw)
        it.produce(each.value, each.key, each.partition)
        places[each.partition, ends[each.partition]] = each
        ends[each.partition] += 1
    it.flush()


def origin(letter: Record) -> tuple[int, int]:
    assert letter.headers["topic"] == b"clickstream"
    assert letter.headers["detail"]
    return int(letter.headers["partition"]), int(letter.headers["offset"])


def test_every_record_is_applied_or_a_dead_letter_that_says_why_and_where(tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        worker = it.start("disk")
        places: dict[tuple[int, int], Sent] = {}
        for number in range(ROUNDS):
            produce(it, number, places)
            (worker,) = it.settle(worker)
            it.records("dead-letters")
        last = [event(ROUNDS * (GOOD + HOSTILE), random.Random(1))]
        it.publish(last)
        it.settle(worker)[0].stop()
        letters = {origin(record): record for record in it.records("dead-letters")}
        rows = it.rows_of_partitions("clickstream").values()
        assert [record.offset for record in it.records("dead-letters")] == list(range(len(letters)))
        limit = it.settings.engine.dead_letter_bytes
    for place, each in places.items():
        reason = letters[place].headers["reason"].decode() if place in letters else ""
        assert each.reason is None or reason == each.reason, each
        if place in letters:
            assert letters[place].value == each.value[:limit]
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.counts)
    by_reason = Counter(f"dead_letters.{letter.headers['reason'].decode()}" for letter in letters.values())
    assert {name: count for name, count in counts.items() if name.startswith("dead_letters.")} == by_reason
    assert counts["applied"] + counts["duplicates"] + len(letters) == len(places) + len(last)
    assert counts["applied"] >= ROUNDS * GOOD
    assert set(by_reason) == {f"dead_letters.{each.reason}" for each in places.values() if each.reason}
