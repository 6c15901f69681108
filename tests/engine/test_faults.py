"""What can go wrong around a worker: each ends as it should, and loses nothing."""

from pathlib import Path

import pytest

from streams.brokers.mock_cluster import Request
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from streams.engine.exit_codes import FAILED, REFUSED, UNREACHABLE
from streams.engine.offsets import Offsets
from tests.engine.supervised import PARTITIONS, Reader, running, stored_partition_rows, stored_rows

pytestmark = pytest.mark.broker

TOPIC_AUTHORIZATION_FAILED = 29


def test_an_output_that_is_not_delivered_ends_the_worker_before_anything_is_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path) as (broker, shop, supervisor, reader):
        shop.publish(400)
        broker.fail_requests(Request.PRODUCE, [TOPIC_AUTHORIZATION_FAILED])
        worker = supervisor.start("disk")
        assert worker.wait() == FAILED
        assert "UndeliveredOutput" in worker.log.read_text()
        with Offsets(Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers)), group="headrace") as offsets:
            assert [offsets.committed(CLICKSTREAM, number) for number in range(PARTITIONS)] == [0] * PARTITIONS
        supervisor.run_to_the_end("disk", reader, shop.refs())
        assert stored_rows(tmp_path / "disk") == shop.counts()


def test_a_poison_value_becomes_a_dead_letter_and_the_counts_add_up(tmp_path: Path) -> None:
    poison = {b"": "empty", b"{not json": "malformed", b'{"kind":"view"}': "malformed", b"\xff\xfe": "malformed"}
    with running(tmp_path) as (broker, shop, supervisor, reader):
        shop.publish(100)
        for value in poison:
            shop.publish_raw(value)
        shop.publish(100)
        supervisor.run_to_the_end("disk", reader, shop.refs())
        letters = Reader(broker, DEAD_LETTERS, partitions=1)
        letters.read_to_end()
        letters.close()
        assert letters.values == list(poison)
        begin = shop.events[0].index(None)
        for offset, (headers, reason) in enumerate(zip(letters.headers, poison.values(), strict=True), begin):
            assert headers["reason"] == reason.encode()
            assert (headers["topic"], headers["partition"], headers["offset"]) == (b"clickstream", b"0", b"%d" % offset)
            assert headers["detail"]
        rows = stored_partition_rows(tmp_path / "disk")
        assert rows[0].counts == {
            "applied": len(shop.events[0]) - len(poison),
            "dead_letters.empty": 1,
            "dead_letters.malformed": 3,
        }
        assert sum(sum(row.counts.values()) for row in rows.values()) == 200 + len(poison)


def test_a_worker_refuses_a_cluster_whose_partitions_are_not_those_of_its_settings(tmp_path: Path) -> None:
    with running(tmp_path, partitions=2) as (_, _, supervisor, _):
        worker = supervisor.start("disk", KAFKA__PARTITIONS="4")
        assert worker.wait() == REFUSED
        assert "clickstream has 2, not 4, users-changelog has 2, not 4" in worker.log.read_text()


def test_a_worker_refuses_a_disk_of_another_cluster(tmp_path: Path) -> None:
    with running(tmp_path) as (_, shop, supervisor, reader):
        shop.publish(100)
        supervisor.run_to_the_end("disk", reader, shop.refs())
    with running(tmp_path) as (_, shop, supervisor, reader):
        shop.publish(10)
        worker = supervisor.start("disk")
        assert worker.wait() == REFUSED
        assert "do not belong together" in worker.log.read_text()


def test_a_worker_without_a_broker_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as (broker, _, supervisor, _):
        broker.stop()
        worker = supervisor.start("disk")
        assert worker.wait() == UNREACHABLE
