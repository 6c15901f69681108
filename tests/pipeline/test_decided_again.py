"""A decision that newer models make again after a crash is another one: feedback to the first is never learned."""

from collections import defaultdict
from itertools import count

import numpy as np
import pytest

from streams.contract.arrays import pack_arrays
from streams.contract.events import MAX_CANDIDATES, Event, decode_event
from streams.contract.records import (
    NO_SOURCE,
    LoggedDecision,
    Parameters,
    Recommendation,
)
from streams.contract.topics import BANDIT
from streams.core.policies.slate_features import FINGERPRINT, N_FEATURES, PACKING
from streams.core.retrieval.shortlist import MAX_ITEMS
from streams.testing import Crash, Crashed, Pipeline
from tests.behaviour.small_shop import Shop
from tests.pipeline.shop_log import SETTINGS, START_MS, fold_one_by_one, shop

LIKES_POPULAR = np.eye(N_FEATURES)[1] * 5.0


def view_cut_off(pipeline: Shop) -> None:
    """Has a view answered and its row lost: a prediction, a recommendation and its log are delivered."""
    pipeline.publish(Event(event_id="view", timestamp_ms=START_MS, kind="view", user_id="anna", item_id="i1"))
    with pytest.raises(Crashed):
        pipeline.behaviour.step(0, 1, Crash("fold", 3))
    pipeline.behaviour.restart()


def decide_twice() -> tuple[Shop, Recommendation, Recommendation]:
    """Has the same view answered by two versions of the bandit, with a crash between outputs and rows."""
    pipeline = Shop(policy=BANDIT)
    view_cut_off(pipeline)
    arrays = {"theta": LIKES_POPULAR, "factor": np.eye(N_FEATURES), "examples": np.array([1e6])}
    newer = Parameters(BANDIT, "ridge", True, 7, FINGERPRINT, 10**6, pack_arrays(arrays))
    assert pipeline.policies.apply(newer)
    pipeline.fold()
    first, second = pipeline.recommendations()
    return pipeline, first, second


def test_it_is_the_same_event_under_another_name() -> None:
    _, first, second = decide_twice()
    assert first.event_ref == second.event_ref
    assert first.decision_id != second.decision_id


def test_feedback_to_the_first_is_unjoinable_and_never_learned() -> None:
    pipeline, first, _ = decide_twice()
    pipeline.impression(1, first.decision_id)
    pipeline.click(2, first.decision_id, first.items[0].item_id, 0)
    pipeline.tick(10_000)
    assert pipeline.count("unjoinable") == 2
    assert pipeline.count("decisions_unshown") == 1
    assert pipeline.examples("bandit") == []
    assert pipeline.examples("click") == []


def test_feedback_to_the_second_is_learned_with_what_the_second_showed() -> None:
    pipeline, _, second = decide_twice()
    pipeline.impression(1, second.decision_id)
    pipeline.click(2, second.decision_id, second.items[3].item_id, 3)
    pipeline.tick(10_000)
    assert pipeline.count("unjoinable") == 0
    logged = {decision.decision_id: decision for decision in pipeline.decisions()}
    learned = pipeline.examples("bandit")
    assert [example.label for example in learned] == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert [example.vector for example in learned] == shown_vectors(logged[second.decision_id])


def shown_vectors(decision: LoggedDecision) -> list[bytes]:
    """What the bandit learns from each slot: the features that were logged, position, whether `random` chose."""
    features = PACKING.unpack(decision.features)[decision.slate]
    is_control = decision.policy == "random"
    return [np.array([*slot, position, is_control], np.float32).tobytes() for position, slot in enumerate(features)]


def test_what_other_shares_decide_again_after_a_crash_counts_for_who_decided_last() -> None:
    pipeline = Shop(policy=BANDIT)
    view_cut_off(pipeline)
    assert pipeline.experiment.apply(b'{"shares": {"random": 1.0}}')
    pipeline.fold()
    first, second = pipeline.recommendations()
    assert (first.policy, second.policy) == ("bandit", "random")
    for decision in (first, second):
        pipeline.impression(1, decision.decision_id)
    assert pipeline.count("unjoinable") == 1
    assert pipeline.row().exposures == {"random": [len(second.items), 0]}
    assert {name: pipeline.count(f"decisions.{name}") for name in ("bandit", "random")} == {"bandit": 0, "random": 1}


class Interruptions:
    """Folds a shop's log while all is learned all the time; every fifth time Behaviour is cut off with outputs out."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def fold(self, pipeline: Pipeline, partition: int) -> None:
        number = next(self._numbers)
        crash = None if number % 5 else Crash("fold", number % 17)
        try:
            while pipeline.behaviour.step(partition, 1, crash):
                pass
        except Crashed:
            pipeline.behaviour.restart()
            _learn(pipeline)
            fold_one_by_one(pipeline, partition)
        if number % 20 == 0:
            _learn(pipeline)


def _learn(pipeline: Pipeline) -> None:
    pipeline.learn(50)
    pipeline.refresh()


def test_no_slate_is_paired_with_what_another_one_was_drawn_with() -> None:
    pipeline = Pipeline(SETTINGS)
    shop(pipeline, 400, seed=5, fold=Interruptions().fold)
    logged = defaultdict(list)
    for decision in pipeline.decisions():
        logged[decision.decision_id].append(decision)
    recommended = pipeline.recommendations()
    again = len({each.decision_id for each in recommended}) - len({each.event_ref for each in recommended})
    assert again > 5
    for each in recommended:
        for decision in logged[each.decision_id]:
            assert [item.item_id for item in each.items] == [decision.shortlist[place] for place in decision.slate]
            assert [item.propensity for item in each.items] == decision.propensities
            assert len(decision.shortlist) <= (MAX_CANDIDATES if NO_SOURCE in decision.sources else MAX_ITEMS)
    answered = {event.decision_id for event in feedback(pipeline)}
    # One that was made again alike is logged again, perhaps with what the items global table has said of its items
    # since.
    shown = {vector for name in answered for each in logged[str(name)] for vector in shown_vectors(each)}
    learned = pipeline.examples(BANDIT)
    assert len(learned) > 100
    assert {example.vector for example in learned} <= shown
    assert sum(row.counts["decisions_unshown"] for row in pipeline.behaviour.partition_rows()) > 5


def feedback(pipeline: Pipeline) -> list[Event]:
    records = [record for partition in pipeline.partitions for record in pipeline.log[partition]]
    return [decode_event(record.value) for record in records if b"decision_id" in (record.value or b"")]
