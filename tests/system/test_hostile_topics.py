"""Hostile values in well-formed records, and tombstones: on no topic between folds do they end a worker."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK
from streams.contract.topics import (
    CATALOGUE,
    DEAD_LETTERS,
    EXAMPLES,
    EXPERIMENTS,
    ITEM_ROWS_CHANGELOG,
    ITEM_SIGNALS,
    ITEMS,
    LEARNERS_CHANGELOG,
    METRICS,
    MODELS,
    USERS_CHANGELOG,
)
from tests.broker.fresh import make_topics_anew
from tests.pipeline.test_hostile_values import changed
from tests.system.cluster import Cluster, cluster
from tests.system.test_operations import ask, events, lines, until

Changes = dict[tuple[int, ...], Any]


def test_no_record_on_any_topic_ends_a_worker_or_stops_it_from_coming_back(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json") as it:
        judge(it)


@pytest.mark.kafka
def test_the_same_where_changelogs_are_transactional(kafka: str, tmp_path: Path) -> None:
    it = Cluster(kafka, tmp_path, {"HEADRACE_LOG__FORM": "json"})
    make_topics_anew(kafka, it.settings.topics)
    try:
        judge(it)
    finally:
        it.close()


def judge(it: Cluster) -> None:
    it.publish(events(0, 300))
    (first,) = it.settle(it.start("first"))
    send_hostile(it)
    it.publish(events(300, 300))
    (first,) = it.settle(first)
    first.stop()
    # An empty disk: it recovers from the changelogs, tombstones among them.
    second = it.start("second")
    until(lambda: ask(second, "/readyz")[0] == 200, second)
    it.publish(events(600, 300))
    (second,) = it.settle(second)
    second.stop()
    letters = {(letter.headers["topic"], letter.headers["reason"]) for letter in it.records(DEAD_LETTERS)}
    told = [line for line in lines(first) + lines(second) if "incident" in line]
    applied = sum(row.counts["applied"] for row in it.rows_of_partitions("clickstream").values())
    assert letters == {(b"item-signals", b"malformed"), (b"examples", b"malformed")}
    assert applied == 900
    refused = {line["topic"] for line in told if line["incident"] == "global-table-record-refused"}
    assert refused == {ITEMS, MODELS, CATALOGUE}
    changelogs = {line["topic"] for line in told if line["incident"] == "changelog-record-refused"}
    assert changelogs == {USERS_CHANGELOG, ITEM_ROWS_CHANGELOG, LEARNERS_CHANGELOG}
    assert "experiment-refused" in {line["incident"] for line in told}


def send_hostile(it: Cluster) -> None:
    summaries: list[Changes] = [{(5,): -5.0}, {(4,): 2**63}, {(9,): [1.0] * 3}, {(9,): [1.0, float("nan")]}]
    for number, changes in enumerate(summaries):
        it.produce(changed("summary", changes), b"a", number % 4, ITEMS)
    parameters: list[Changes] = [
        {(3,): 2**63},
        {(6,): {"weights": ["<f8", [2**63], b""]}},
        {(6,): {"weights": ["|O", [1], b"\0" * 8]}},
    ]
    for values in parameters:
        it.produce(changed("purchase/linear", values), b"purchase/linear", 0, MODELS)
    it.produce(json.dumps({"shares": {"random": -1e308, "q": 1.0}}).encode(), b"running", 0, EXPERIMENTS)
    # Kafka itself refuses a record without a key on a compacted topic.
    listed = ((b"a", b'{"item_id": "a", "price": -1}'), (b"b", b'{"item_id": "c"}'), (b"", None), (b"c", b"["))
    for key, value in listed:
        it.produce(value, key, 0, CATALOGUE)
    it.produce(b'{"type": "partition"}', b"x", 0, METRICS)
    for number in range(4):
        it.produce(changed("signals", {(1, 0, 2): 2**63}), None, number, ITEM_SIGNALS)
    own = it.settings.partition_of_learner("purchase")
    it.produce(changed("purchase", {(7,): [], (8,): b""}), b"purchase", own, EXAMPLES)
    for changelog in (USERS_CHANGELOG, ITEM_ROWS_CHANGELOG, LEARNERS_CHANGELOG):
        for number in range(it.partitions[changelog]):
            it.produce(MSGPACK.encode([2**64 - 1, "no time"]), b"stranger", number, changelog)
    for user in range(3):
        key = f"user-{user}".encode()
        it.produce(None, key, partition_of(key, 4), USERS_CHANGELOG)
    it.flush()
