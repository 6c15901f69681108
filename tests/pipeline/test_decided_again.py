"""A decision that newer models make again after a crash is another one: feedback to the first is never learned."""

from collections import defaultdict
from itertools import count

import numpy as np
import pytest

from streams.contract.arrays import pack_arrays
from streams.contract.events import Event, decode_event
from streams.contract.records import (
    LoggedDecision,
    Parameters,
    Recommendation,
    decode_logged_decision,
    decode_recommendation,
)
from streams.contract.topics import BANDIT, DECISIONS, RECOMMENDATIONS
from streams.core.behaviour import BehaviourFold
from streams.core.policies.features import FINGERPRINT, N_FEATURES
from streams.core.retrieval.shortlist import MAX_ITEMS
from tests.behaviour.shop import Shop
from tests.pipeline.running import Crash, Pipeline, examples, partition_rows, shop

LIKES_POPULAR = np.eye(N_FEATURES)[1] * 5.0


def decide_twice() -> tuple[Shop, Recommendation, Recommendation]:
    """Has the same view answered by two versions of the bandit, with a crash between outputs and rows."""
    pipeline = Shop(policy=BANDIT)
    pipeline.topics.budget = 3  # a prediction, a recommendation and its log
    with pytest.raises(Crash):
        pipeline.view(0, "i1")
    pipeline.crash()
    arrays = {"theta": LIKES_POPULAR, "factor": np.eye(N_FEATURES), "examples": np.array([1e6])}
    newer = Parameters(BANDIT, "ridge", True, 7, FINGERPRINT, 10**6, pack_arrays(arrays))
    assert pipeline.policies.apply(newer)
    pipeline.fold(0)
    first, second = map(decode_recommendation, pipeline.topics.values(RECOMMENDATIONS))
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
    logged = {decision.decision_id: decision for decision in map(decode_logged_decision, pipeline.values(DECISIONS))}
    learned = pipeline.examples("bandit")
    assert [example.label for example in learned] == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert [example.vector for example in learned] == shown_vectors(logged[second.decision_id])


def shown_vectors(decision: LoggedDecision) -> list[bytes]:
    """What the bandit learns from each slot: the features that were logged, position, whether the control chose."""
    features = np.frombuffer(decision.features).reshape(len(decision.shortlist), -1)[decision.slate]
    is_control = decision.policy == "control"
    return [np.array([*slot, position, is_control], np.float32).tobytes() for position, slot in enumerate(features)]


def test_what_other_shares_decide_again_after_a_crash_counts_for_who_decided_last() -> None:
    pipeline = Shop(policy=BANDIT)
    pipeline.topics.budget = 3
    with pytest.raises(Crash):
        pipeline.view(0, "i1")
    pipeline.crash()
    fold = pipeline.behaviour.engine.fold
    assert isinstance(fold, BehaviourFold)
    assert fold.experiment.apply(b'{"shares": {"control": 1.0}}')
    pipeline.fold(0)
    first, second = map(decode_recommendation, pipeline.topics.values(RECOMMENDATIONS))
    assert (first.policy, second.policy) == ("bandit", "control")
    for decision in (first, second):
        pipeline.impression(1, decision.decision_id)
    assert pipeline.count("unjoinable") == 1
    assert pipeline.row().exposures == {"control": [len(second.items), 0]}
    assert {name: pipeline.count(f"decisions.{name}") for name in ("bandit", "control")} == {"bandit": 0, "control": 1}


class Interrupted(Pipeline):
    """Learns all the time; Behaviour is cut off in every fifth batch with some outputs out."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)

    def fold(self, partition: int) -> None:
        number = next(self._numbers)
        if number % 5 == 0:
            self.topics.budget = number % 17
        try:
            super().fold(partition)
        except Crash:
            self.crash()
            self._learn()
            super().fold(partition)
        self.topics.budget = None
        if number % 20 == 0:
            self._learn()

    def _learn(self) -> None:
        self.learn(50)
        self.refresh()


def test_no_slate_is_paired_with_what_another_one_was_drawn_with() -> None:
    pipeline = Interrupted()
    shop(pipeline, 400, seed=5)
    logged = defaultdict(list)
    for decision in map(decode_logged_decision, pipeline.topics.values(DECISIONS)):
        logged[decision.decision_id].append(decision)
    recommended = list(map(decode_recommendation, pipeline.topics.values(RECOMMENDATIONS)))
    again = len({each.decision_id for each in recommended}) - len({each.event_ref for each in recommended})
    assert again > 5
    for each in recommended:
        for decision in logged[each.decision_id]:
            assert [item.item_id for item in each.items] == [decision.shortlist[place] for place in decision.slate]
            assert [item.propensity for item in each.items] == decision.propensities
            assert len(decision.shortlist) <= MAX_ITEMS
    answered = {event.decision_id for event in feedback(pipeline)}
    # One that was made again alike is logged again, perhaps with what the items feed has said of its items since.
    shown = {vector for name in answered for each in logged[str(name)] for vector in shown_vectors(each)}
    learned = [example for (learner, _), found in examples(pipeline).items() if learner == BANDIT for example in found]
    assert len(learned) > 100
    assert {example.vector for example in learned} <= shown
    assert sum(row.counts["decisions_unshown"] for row in partition_rows(pipeline)) > 5


def feedback(pipeline: Pipeline) -> list[Event]:
    records = [record for partition in pipeline.partitions for record in pipeline.log[partition]]
    return [decode_event(record.value) for record in records if b"decision_id" in (record.value or b"")]
