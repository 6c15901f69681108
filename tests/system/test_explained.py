"""A decision of a real worker is explained from the topics alone, by its id and by its event."""

import time
from pathlib import Path

import msgspec

from streams.contract.events import Event
from streams.contract.records import decode_recommendation
from streams.contract.topics import CLICKSTREAM, DECISIONS, RECOMMENDATIONS
from streams.evaluation.decision_explanation import DecisionExplanation
from tests.system.cluster import Cluster, cluster
from tests.timeouts import Deadline

START_MS = 1_700_000_000_000
SETTINGS = {
    "HEADRACE_KAFKA__PARTITIONS": "2",
    "HEADRACE_DECISIONS__SHARES": "{random = 0.01, epsilon = 0.99}",
    "HEADRACE_DECISIONS__SHADOWS": '["greedy"]',
    "HEADRACE_DECISIONS__RULES__HIDE_PURCHASED": "true",
}
CANDIDATES = tuple(f"item-{number}" for number in range(6))


def shoppers() -> list[Event]:
    """Everyone buys an item, then asks for a slate of six, of which that is one."""
    bought = [
        Event(
            event_id=f"p{n}", timestamp_ms=START_MS + n, kind="purchase", user_id=f"u{n}", item_id="item-0", price=2.0
        )
        for n in range(12)
    ]
    asked = [
        Event(event_id=f"d{n}", timestamp_ms=START_MS + 100 + n, kind="decide", user_id=f"u{n}", candidates=CANDIDATES)
        for n in range(12)
    ]
    return bought + asked


def fold(it: Cluster) -> None:
    worker = it.start("disk")
    deadline = Deadline(worker.said)
    while not (it.is_folded(CLICKSTREAM) and len(it.records(RECOMMENDATIONS)) >= 12):
        deadline.check()
        worker = it.keep(worker)
        time.sleep(0.05)
    worker.stop()


def test_what_a_worker_decided_is_explained_without_it(tmp_path: Path) -> None:
    with cluster(tmp_path, **SETTINGS) as it:
        it.publish(shoppers())
        fold(it)
        made = [decode_recommendation(each.value or b"") for each in it.records(RECOMMENDATIONS)]
        assert it.records(DECISIONS)
        recommendation = next(each for each in made if each.policy == "epsilon")
        item = recommendation.items[1]
        for name in (recommendation.decision_id, recommendation.event_ref):
            said = it.headrace("explain", name, "--slot", "2").stdout
            found = msgspec.json.decode(said, type=DecisionExplanation)
            assert (found.decision_id, found.slot, found.user_id) == (
                recommendation.decision_id,
                2,
                recommendation.user_id,
            )
            assert (found.shown.item_id, found.shown.probability, found.shown.score) == (
                item.item_id,
                item.propensity,
                item.score,
            )
            assert found.is_reproduced
            assert [each.policy for each in found.shadows] == ["greedy"]
            assert [(each.rule, each.item_ids) for each in found.left_out] == [("hide_purchased", ["item-0"])]
        unknown = it.headrace("explain", "clickstream-0-999", code=2)
        assert b"decisions.log_rate is 1" in unknown.stderr
