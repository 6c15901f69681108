"""Rows and topics that do not belong together, on a real broker: refused in words, or taken whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from streams.contract.events import Event
from streams.contract.fold import PARTITION_KEY
from streams.contract.topics import (
    CLICKSTREAM,
    EXAMPLES,
    ITEM_SIGNALS,
    LEARNERS_CHANGELOG,
    PREDICTIONS,
    USERS_CHANGELOG,
)
from streams.core.learning.row import LearnerRow, decode_learner_row
from streams.engine.exit_codes import REFUSED
from tests.broker.fresh import make_topics_anew
from tests.engine.supervised import exported
from tests.system.cluster import Cluster, Worker
from tests.timeouts import wait_until

pytestmark = pytest.mark.kafka

DAY_MS: Final = 86_400_000
VIEWS: Final = 400
# Without Learning a worker is there in half the time.
BEHAVIOUR: Final = "behaviour"
# Few, so that topics and workers are there soon.
TWO: Final = {"HEADRACE_KAFKA__PARTITIONS": "2"}
FOUR: Final = {"HEADRACE_KAFKA__PARTITIONS": "4"}


@pytest.fixture
def it(kafka: str, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(kafka, tmp_path, TWO)
    make_topics_anew(kafka, made.settings.topics)
    try:
        yield made
    finally:
        made.close()


def views(it: Cluster, day: int) -> None:
    """Publishes the views of a day, and ticks by which their labels are final."""
    begin_ms = 1_700_000_000_000 + day * DAY_MS
    shown = [
        Event(event_id=f"{day}-{n}", timestamp_ms=begin_ms + n, kind="view", user_id=f"user-{n % 40}", item_id="i")
        for n in range(VIEWS)
    ]
    it.publish([*shown, Event(event_id=f"{day}", timestamp_ms=begin_ms + DAY_MS // 2, kind="tick")])


def refused(it: Cluster, disk: str, **settings: str) -> str:
    """Starts a worker that ends with a refusal, and returns what it said."""
    worker = it.start(disk, BEHAVIOUR, **settings)
    assert worker.wait() == REFUSED, worker.said()
    return worker.said()


def learners(it: Cluster, worker: Worker) -> dict[str, LearnerRow]:
    """Ends a worker, and returns the learners' rows."""
    worker.stop()
    logged = it.records(LEARNERS_CHANGELOG)
    return {
        (record.key or b"").decode(): decode_learner_row(record.value)
        for record in logged
        if record.key != PARTITION_KEY
    }


def anew(it: Cluster, *topics: str) -> Cluster:
    """Deletes topics and makes them anew; nobody tells the group. Returns the cluster as it is then."""
    chosen = [topic for topic in it.settings.topics if topic.name in topics]
    make_topics_anew(it.servers, chosen, forgets_groups=False)
    return Cluster(it.servers, it.folder, TWO)


def test_a_source_that_was_made_anew_is_answered_whole_and_learners_count_on(it: Cluster) -> None:
    views(it, 0)
    first = learners(it, it.settle(it.start("disk"))[0])
    assert first["purchase"].examples > 0

    second = anew(it, CLICKSTREAM)
    views(second, 1)
    worker = second.start("disk")
    wait_until(lambda: len(second.records(PREDICTIONS)) >= 2 * VIEWS, worker.said)
    wait_until(lambda: second.is_folded(ITEM_SIGNALS) and second.is_folded(EXAMPLES), worker.said)
    assert "incident=source-made-anew topic=clickstream" in worker.said()
    assert len({record.value.split(b",")[0] for record in second.records(PREDICTIONS)}) == 2 * VIEWS
    then = learners(second, worker)
    second.close()

    # The rows of the users are lost, too: whoever counts their epochs from the beginning must not look like a repeat.
    third = anew(it, CLICKSTREAM, USERS_CHANGELOG)
    views(third, 2)
    now = learners(third, third.settle(third.start("empty"))[0])
    third.close()
    for name, row in first.items():
        assert now[name].duplicates == then[name].duplicates == 0
        assert row.examples <= then[name].examples <= now[name].examples
    assert first["purchase"].examples < then["purchase"].examples < now["purchase"].examples


def test_other_applications_and_other_partitions_are_said_and_refused_and_the_printed_way_on_is_one(
    it: Cluster,
) -> None:
    views(it, 0)
    worker = it.start("disk", BEHAVIOUR)
    wait_until(lambda: it.is_folded(CLICKSTREAM), worker.said)
    client = AdminClient({"bootstrap.servers": it.servers, "log_level": 2})
    client.create_partitions([NewPartitions(CLICKSTREAM, 4)])[CLICKSTREAM].result()
    wait_until(lambda: "incident=topic-changed" in worker.said(), worker.said)
    answer = it.headrace("health", "--data", str(it.folder / "disk"), code=1).stdout
    assert b"clickstream has 4 partitions, not 2: 2 are read by nobody" in answer
    worker.stop()
    said = refused(it, "disk")
    assert "clickstream has 4, not 2" in said
    assert exported(said)["HEADRACE_KAFKA__PARTITIONS"] == "4"

    # Whoever repartitions all topics, so that the counts agree, is refused for the rows; so is another application.
    wide = Cluster(it.servers, it.folder, FOUR)
    grown = [each.name for each in wide.settings.topics if each.name != CLICKSTREAM and each.partitions == 4]
    for future in client.create_partitions([NewPartitions(name, 4) for name in grown]).values():
        future.result()
    views(wide, 1)
    said = refused(wide, "other", HEADRACE_ENGINE__APP_ID="other", HEADRACE_KAFKA__TOPIC_PREFIX="")
    assert "the rows are of the application 'headrace', and engine.app_id is 'other'" in said
    said = refused(wide, "more")
    assert "the rows are of 2 partitions, and there are 4" in said

    anew = Cluster(it.servers, it.folder, exported(said))
    anew.headrace("topics", "create")
    worker = anew.start("anew", BEHAVIOUR)
    wait_until(lambda: anew.is_folded(CLICKSTREAM), worker.said)
    assert len(anew.records(PREDICTIONS)) >= VIEWS
    anew.close()
    wide.close()
