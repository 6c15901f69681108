"""Decisions of a real worker are explained from the topics alone, by their ids and by their events."""

from pathlib import Path

import msgspec

from streams.admin.logged_decisions import find_among
from streams.contract.records import Recommendation, decode_logged_decision, decode_recommendation
from streams.contract.topics import DECISIONS, RECOMMENDATIONS
from streams.evaluation.decision_explanation import DecisionExplanation, explain_decision
from tests.system.closed_loop import ClosedLoop
from tests.system.cluster import Cluster, cluster
from tests.timeouts import wait_until

SETTINGS = {
    "HEADRACE_DECISIONS__SHADOWS": '["greedy", "thompson"]',
    "HEADRACE_DECISIONS__RULES": "{no_repeat_s = 86400}",
}


def run_until_trained(it: Cluster) -> None:
    """Has shoppers come until a model that learned from them decides, and a rule leaves items out; ends the worker."""
    shop, running = ClosedLoop(it), [it.start("disk")]

    def is_trained() -> bool:
        nonlocal running
        shop.shop(300)
        running = it.settle(*running, meanwhile=shop.answer)
        shop.answer()
        shop.close()
        running = it.settle(*running)
        logged = [decode_logged_decision(each.value) for each in it.records(DECISIONS)]
        return any(each.examples > 0.0 for each in logged) and any(each.left_out for each in logged)

    wait_until(is_trained, running[0].said)
    running[0].stop()


def check(found: DecisionExplanation, made: Recommendation) -> None:
    """Compares an explanation with what the shop was told, to the last digit."""
    item = made.items[found.slot - 1]
    shown = found.shown
    assert (found.decision_id, found.user_id, found.policy) == (made.decision_id, made.user_id, made.policy)
    assert (shown.item_id, shown.probability, shown.score) == (item.item_id, item.propensity, item.score)
    assert found.is_reproduced
    assert {each.policy for each in found.shadows} == {"greedy", "thompson"} - {made.policy}


def test_every_decision_of_a_worker_is_explained_without_it(tmp_path: Path) -> None:
    with cluster(tmp_path, **SETTINGS) as it:
        run_until_trained(it)
        made = [decode_recommendation(each.value) for each in it.records(RECOMMENDATIONS)]
        values = [each.value for each in it.records(DECISIONS)]
        trained = {each.decision_id for each in map(decode_logged_decision, values) if each.examples > 0.0}
        for each in made:
            if each.items:
                found = find_among(it.settings, each.decision_id, values)
                for slot in range(1, len(each.items) + 1):
                    check(explain_decision(found.decision, found.shadows, slot, it.settings.decisions), each)
        one = next(each for each in made if each.decision_id in trained and len(each.items) > 1)
        for name in (one.decision_id, one.event_ref):
            said = it.headrace("explain", name, "--slot", "2").stdout
            check(msgspec.json.decode(said, type=DecisionExplanation), one)
        assert b"decisions.log_rate is 1" in it.headrace("explain", "clickstream-0-9999999", code=2).stderr
        assert b"slots 1 to" in it.headrace("explain", one.event_ref, "--slot", "99", code=2).stderr
