"""A hot key, storms of duplicates and a file that is replayed twice, against a worker that runs."""

from collections import Counter
from pathlib import Path

from streams.contract.events import Event
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS
from tests.system import shoppers
from tests.system.cluster import Cluster, cluster
from tests.system.test_replayed_file import LINES, write_taobao

BEGIN_MS = 1_700_000_000_000
EVENTS = 1000
LIMIT = 200
ENDS = ("applied", "duplicates", "late")


def view(number: int, timestamp_ms: int, user: str) -> Event:
    item = f"item-{number % 30}"
    return Event(event_id=f"e{number}", timestamp_ms=timestamp_ms, kind="view", user_id=user, item_id=item, price=5.0)


def totals(it: Cluster) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in it.rows_of_partitions(CLICKSTREAM).values():
        found.update({name: row.counts.get(name, 0) for name in row.counts if name in ENDS or name.startswith("dead")})
    return found


def test_of_a_hot_key_and_a_storm_of_duplicates_every_event_counts_once(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_ADMISSION__USER_EVENTS_PER_MINUTE=str(LIMIT)) as it:
        worker = it.start("disk")
        shopped = [view(n, BEGIN_MS + 1000 * n, "hot" if n % 2 else f"user-{n % 40}") for n in range(EVENTS)]
        # A producer that retries sends the last few again, in their order, and some of them once more.
        stormy = [each for begin in range(0, EVENTS, 5) for each in shopped[begin : begin + 5] * 3]
        it.publish(stormy)
        (worker,) = it.settle(worker)
        assert totals(it) == {"applied": EVENTS, "duplicates": 2 * EVENTS}
        flood = [view(number, BEGIN_MS + 10_000_000, "hot") for number in range(EVENTS, EVENTS + 500)]
        it.publish(flood)
        (worker,) = it.settle(worker)
        worker.stop()
        assert totals(it) == {
            "applied": EVENTS + LIMIT,
            "duplicates": 2 * EVENTS,
            "dead_letters.flood": len(flood) - LIMIT,
        }
        assert len(it.records("dead-letters")) == len(flood) - LIMIT
        assert len(it.records(RECOMMENDATIONS)) == EVENTS + LIMIT
        users = shoppers.by_user([*shopped, *flood[:LIMIT]])
        rows = {row["user_id"]: row["windows"] for row in it.inspect("users", "disk")}
        assert rows == {user: shoppers.windows(own, it.settings) for user, own in users.items()}


def replayed(it: Cluster, file: Path, *options: str, code: int = 0) -> str:
    return it.headrace("replay", str(file), "--format", "taobao", *options, code=code).stderr.decode()


def test_a_file_that_is_replayed_twice_is_refused_and_with_anyway_is_late_and_decides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "small.csv"
    write_taobao(file)
    with cluster(tmp_path) as it:
        worker = it.start("disk")
        assert "late" not in replayed(it, file)
        (worker,) = it.settle(worker)
        once = totals(it)
        decided = len(it.records(RECOMMENDATIONS)), len(it.records(PREDICTIONS))
        assert "its events will be late" in (refused := replayed(it, file, code=3))
        assert "with --anyway" in refused
        it.settle(worker)
        assert totals(it) == once
        assert "its events will be late" in replayed(it, file, "--anyway")
        it.settle(worker)[0].stop()
        more = totals(it) - once
        assert (len(it.records(RECOMMENDATIONS)), len(it.records(PREDICTIONS))) == decided
        # Only the ticks are not late.
        assert more["applied"] - it.settings.kafka.partitions == more["late"]
        assert more["late"] + more["duplicates"] == LINES
        assert more["late"] > 0
        assert more["duplicates"] > 0


def test_a_second_simulation_begins_at_the_clusters_event_time_and_is_answered_as_the_first(tmp_path: Path) -> None:
    arguments = ("simulate", "--events", "300", "--users", "20", "--items", "200", "--seed", "5")
    with cluster(tmp_path) as it:
        worker = it.start("disk")
        assert b"event time" not in it.headrace(*arguments).stderr
        (worker,) = it.settle(worker)
        decided = len(it.records(RECOMMENDATIONS))
        assert b"the shoppers begin at the cluster's event time" in it.headrace(*arguments).stderr
        it.settle(worker)[0].stop()
        assert totals(it) == {"applied": 2 * (300 + it.settings.kafka.partitions)}
        assert len(it.records(RECOMMENDATIONS)) > 1.5 * decided > 0
