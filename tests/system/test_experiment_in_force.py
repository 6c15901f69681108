"""Shares change under a worker that runs: it takes them over without a restart, and a bad record changes nothing."""

from itertools import count
from pathlib import Path
from typing import Final

from streams.contract.events import Event
from streams.contract.records import decode_recommendation
from streams.contract.topics import EXPERIMENTS, METRICS, RECOMMENDATIONS
from tests.system.cluster import Cluster, Worker, cluster
from tests.timeouts import wait_until

USERS: Final = [f"user-{number}" for number in range(20)]


def deciders(it: Cluster, worker: Worker, number: int) -> set[str]:
    """Has every shopper look at something; returns who decided for them."""
    at_ms = 1_700_000_000_000 + number
    it.publish(
        [
            Event(event_id=f"{at_ms}-{user}", timestamp_ms=at_ms, kind="view", user_id=user, item_id="i")
            for user in USERS
        ]
    )
    it.settle(worker)
    return {decode_recommendation(record.value).policy for record in it.fresh(RECOMMENDATIONS)}


def test_a_worker_takes_over_new_shares_without_a_restart_and_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        worker = it.start("disk")
        assert len(deciders(it, worker, 0)) > 1
        it.headrace("experiment", "set", "random=1")
        numbers = count(1)
        wait_until(lambda: deciders(it, worker, next(numbers)) == {"random"}, worker.said)
        it.produce(b'{"shares": {"random": 2.0}}', b"running", 0, EXPERIMENTS)
        it.flush()

        def is_refused() -> bool:
            assert deciders(it, worker, next(numbers)) == {"random"}
            return any(b'"refused":"Expected `float` <= 1.0' in record.value for record in it.fresh(METRICS))

        wait_until(is_refused, worker.said)
        worker.stop()
        assert "experiment-refused" in worker.said()
