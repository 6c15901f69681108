"""The chaos suite's short form; `make chaos` is the long one. And its oracle sees each kind of difference."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.topics import topics
from tests.chaos import faults
from tests.chaos.oracle import PARTITION_ROW, PARTITIONS, BrokenPremise, Verdict, judge
from tests.chaos.scene import embedded_scene, scene
from tests.chaos.shop_scene import judge_shop, poison_snapshot, shop_scene
from tests.chaos.suite import Trial, at_least_once, exactly_once, run
from tests.timeouts import HANG_S

NOTHING_WRONG = Verdict(lost=0, duplicated=0, differing_rows=0, misordered=0, ahead=0, lag=0, events=2)
GROUP = "written"
EVENT = {
    "event_id": "e",
    "user_id": "user",
    "timestamp_ms": 1_736_121_600_000,
    "kind": "view",
    "item_id": "i",
    "price": 1.5,
}


DIFFERENCES = ("lost", "duplicated", "differing_rows", "misordered", "committed_ahead", "lag")


def no_difference(found: Iterator[dict[str, Any]]) -> None:
    for each in found:
        assert {name: each[name] for name in DIFFERENCES} == dict.fromkeys(DIFFERENCES, 0), each
        assert each["events"] > 0


@pytest.mark.kafka
def test_faults_under_load_lose_and_repeat_nothing(kafka: str, tmp_path: Path) -> None:
    trials = [
        Trial("SIGKILL", faults.sigkill, 2),
        Trial("SIGSTOP beyond the session", faults.sigstop, 1),
        Trial("disk wiped", faults.disk_wiped, 1),
        Trial("poison record", faults.poison_record, 1),
    ]
    with scene(kafka, tmp_path) as it:
        no_difference(run(it, trials, 5000, exactly_once))


@pytest.mark.kafka
def test_models_that_cannot_be_used_change_no_model_no_item_and_no_row(kafka: str, tmp_path: Path) -> None:
    with shop_scene(kafka, tmp_path) as it:
        no_difference(run(it, [Trial("poison snapshot", poison_snapshot, 1)], 500, judge_shop))
        assert "incident=global-table-record-refused" in it.workers[0].said()


def test_requests_that_the_broker_refuses_lose_and_repeat_nothing(tmp_path: Path) -> None:
    with embedded_scene(tmp_path) as (it, broker):
        trial = Trial("errors of Produce", faults.OF_EMBEDDED_BROKER["errors of Produce"](broker), 1)
        no_difference(run(it, [trial], 500, at_least_once))


class Written:
    """What workers that do all right would have written of two events of one user, and what can be changed of it."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._rubbish = 0
        self._producer = Producer({"bootstrap.servers": servers})
        self.outputs = [{"event_ref": f"clickstream-0-{offset}", "events": offset + 1} for offset in range(2)]
        self.row = [1, 0, 2, 300, 1]
        self.committed = 2
        self.partition_row = [1, 0, 1, 1, 0, {}, {"applied": 2}, {}]
        self.letters: list[int] = []

    def reject_a_third(self) -> None:
        """There is a record that is no event, too, and they do right with it."""
        self._rubbish = 1
        self.letters = [2]
        self.committed = 3
        self.partition_row[0] = 2
        self.partition_row[6] = {"applied": 2, "dead_letters.malformed": 1}

    def fill(self, mebibytes: int) -> None:
        for _ in range(2 * mebibytes):
            self._producer.produce("clickstream", os.urandom(1 << 19), "user", 0)
            assert self._producer.flush(HANG_S) == 0

    def verdict(self) -> Verdict:
        for value in [json.dumps(EVENT)] * 2 + ["{not json"] * self._rubbish:
            self._producer.produce("clickstream", value, "user", 0)
        for offset in self.letters:
            origin: dict[str, str | bytes | None] = {"topic": "clickstream", "partition": "0", "offset": str(offset)}
            self._producer.produce("dead-letters", b"{not json", "user", 0, headers=origin)
        for output in self.outputs:
            self._producer.produce("predictions", json.dumps(output), "user", 0)
        self._producer.produce("users-changelog", msgspec.msgpack.encode(self.row), "user", 0)
        self._producer.produce("users-changelog", msgspec.msgpack.encode(self.partition_row), PARTITION_ROW, 0)
        assert self._producer.flush(HANG_S) == 0
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": GROUP})
        consumer.commit(offsets=[TopicPartition("clickstream", 0, self.committed)], asynchronous=False)
        consumer.close()
        return judge(self._servers, GROUP)


@contextmanager
def written() -> Iterator[Written]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in topics(PARTITIONS, 1)}) as broker:
        yield Written(broker.bootstrap_servers)


def test_the_oracle_sees_nothing_wrong_where_nothing_is() -> None:
    with written() as it:
        assert it.verdict() == NOTHING_WRONG


def test_the_oracle_sees_an_output_that_is_missing_and_one_that_is_there_twice() -> None:
    with written() as it:
        it.outputs[1] = it.outputs[0]
        assert it.verdict() == NOTHING_WRONG._replace(lost=1, duplicated=1, misordered=1)


@pytest.mark.parametrize(
    ("letters", "wrong"), [([2], {}), ([], {"lost": 1}), ([2, 2], {"duplicated": 1}), ([2, 0], {"duplicated": 1})]
)
def test_the_oracle_sees_a_dead_letter_that_is_missing_there_twice_or_of_an_event(
    letters: list[int], wrong: dict[str, int]
) -> None:
    with written() as it:
        it.reject_a_third()
        it.letters = letters
        assert it.verdict() == NOTHING_WRONG._replace(**wrong)


def test_the_oracle_refuses_to_judge_by_a_log_without_its_beginning() -> None:
    """The embedded broker drops what was first when there is more than 5 MiB."""
    with written() as it:
        it.fill(6)
        with pytest.raises(BrokenPremise, match="clickstream"):
            it.verdict()


def test_the_oracle_sees_a_row_that_counted_twice_and_totals_that_did() -> None:
    with written() as it:
        it.row[2] = 3
        it.partition_row[6] = {"applied": 3}
        assert it.verdict() == NOTHING_WRONG._replace(differing_rows=2)


def test_the_oracle_sees_a_commit_that_runs_ahead_of_the_rows_and_one_that_lags() -> None:
    with written() as it:
        it.partition_row[0] = 0
        assert it.verdict() == NOTHING_WRONG._replace(ahead=1)
    with written() as it:
        it.committed = 1
        assert it.verdict() == NOTHING_WRONG._replace(lag=1)
