"""Clocks on a real broker: its own stamps confirm what a lone shopper does, and bound what a fast clock says."""

import time
from pathlib import Path

import pytest

from streams.contract.events import Event
from streams.contract.partitioning import partition_of
from streams.contract.records import decode_recommendation
from streams.contract.settings import load_settings
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS
from tests.broker.fresh import make_topics_anew
from tests.system.cluster import Cluster

pytestmark = pytest.mark.kafka


def view(user: str, number: int, at_ms: int) -> Event:
    return Event(event_id=f"{user}-{number}", timestamp_ms=at_ms, kind="view", user_id=user, item_id=f"i{number}")


def test_a_lone_shopper_advances_time_and_one_fast_clock_does_not(kafka: str, tmp_path: Path) -> None:
    make_topics_anew(kafka, load_settings(environment={}).topics)
    it = Cluster(kafka, tmp_path, {"HEADRACE_TIME__CONFIRMING_USERS": "3"})
    lateness_ms = int(it.settings.time.allowed_lateness_s * 1000)
    home = partition_of(b"lone", it.settings.kafka.partitions)
    fast = next(
        user
        for user in (f"fast-{number}" for number in range(100))
        if partition_of(user.encode(), it.settings.kafka.partitions) == home
    )
    try:
        now_ms = int(time.time() * 1000)
        # 200 s are within the tolerance for clocks that are ahead.
        it.publish([view(fast, 0, now_ms + 200_000), *(view("lone", n, now_ms - 20_000 + n * 1000) for n in range(20))])
        it.settle(it.start("disk"))[0].stop()
        row = it.rows_of_partitions(CLICKSTREAM)[home]
        written_ms = row.watermark_ms + lateness_ms
        assert now_ms - 1000 <= written_ms < now_ms + 200_000
        assert row.counts["clock_ahead"] == 1
        assert row.counts.get("late", 0) == 0
        answers = [decode_recommendation(record.value) for record in it.records(RECOMMENDATIONS)]
        assert sum(each.user_id == "lone" for each in answers) == 20
        assert [each.timestamp_ms for each in answers if each.user_id == fast] == [written_ms]
        assert not it.records("dead-letters")
    finally:
        it.close()
