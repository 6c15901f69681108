"""A label changes nothing that was said before it, and an example holds what was served before there was a label."""

from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from streams.contract.records import decode_parameters, decode_prediction
from streams.contract.settings import Target
from streams.contract.topics import DECISIONS, PREDICTIONS, RECOMMENDATIONS
from streams.testing import MemoryRecord, Pipeline
from tests.behaviour.small_shop import Shop
from tests.pipeline.shop_log import examples, published, replay, shopped

FEEDBACK = ("impression", "click")
LABELS = ("purchase", "add_to_cart", "rating", "view", *FEEDBACK)
"""Kinds of events that answer a target: of ``spend`` a purchase, of ``next_category`` a view."""


def is_of(record: MemoryRecord, kinds: Collection[str]) -> bool:
    return any(f'"kind":"{kind}"'.encode() in (record.value or b"") for kind in kinds)


def said_before(pipeline: Pipeline, offset: int) -> Iterator[tuple[str, bytes]]:
    """Everything published of the first partition that was made before the event at ``offset``."""
    for topic in (PREDICTIONS, RECOMMENDATIONS, DECISIONS):
        said: list[tuple[bool, bytes]] = []
        for record in pipeline.topics.records[topic, 0]:
            value = record.value or b""
            ref = msgspec.msgpack.decode(value)[1] if topic == DECISIONS else orjson.loads(value)["event_ref"]
            ends = ref.endswith("-end")
            if not ends and int(ref.rpartition("-")[2]) >= offset:
                break
            said.append((ends, value))
        # Ends of sessions are named by their last event, not by the one that let the time pass.
        while said and said[-1][0]:
            said.pop()
        yield from ((topic, value) for _, value in said)


@pytest.mark.parametrize("kind", LABELS)
def test_what_happens_later_changes_nothing_that_was_said_before_even_in_the_same_batch(kind: str) -> None:
    log = shopped().log[0]
    if kind not in FEEDBACK:
        # Attribution to a decision of the same batch has everything said at once; without it all is said at the end.
        log = [record for record in log if not is_of(record, FEEDBACK)]
    with_labels = replay({0: log})
    with_labels.behaviour.drain(len(log))
    labels = [record.offset for record in log if is_of(record, (kind,))]
    for first in labels[len(labels) // 3 :: len(labels) // 2]:
        other = replay({0: [record for record in log if record.offset < first or record.offset not in labels]})
        other.behaviour.drain(len(log))
        said = list(said_before(with_labels, first))
        assert len(said) > 50
        assert said == list(said_before(other, first))
        assert published(other) != published(with_labels)


def test_a_label_does_not_touch_the_inputs_of_what_waits_for_it() -> None:
    shop = Shop("q")
    decision = shop.view(0, "i1")
    opened = msgspec.msgpack.encode(inputs(shop))
    shop.impression(1, decision.decision_id)
    shop.click(2, decision.decision_id, decision.items[0].item_id, 0)
    shop.send("add_to_cart", 3, item_id="i1", price=9.0)
    shop.send("purchase", 4, item_id="i1", price=9.0)
    assert shop.row().prediction_points[0].labels == dict.fromkeys(range(len(shop.settings.targets)), 1.0)
    assert msgspec.msgpack.encode(inputs(shop)) == opened


ANSWERS: dict[str, tuple[dict[str, Any], tuple[str, dict[str, Any]], float]] = {
    "next_category": ({}, ("view", {"item_id": "i2", "category": "shoes"}), 1.0),
    "rating": ({}, ("rating", {"item_id": "i1", "rating": 5.0}), 1.0),
    "spend": ({"models": ("hurdle",)}, ("purchase", {"item_id": "i1", "price": 9.5, "quantity": 2}), 19.0),
}


@pytest.mark.parametrize("rule", ANSWERS)
def test_an_answer_changes_no_prediction_that_waits_for_it_and_none_of_its_inputs(rule: Any) -> None:
    declared, (kind, fields), label = ANSWERS[rule]
    target = Target(name="it", rule=rule, horizon_s=1000, sampling_rate=1.0, prior=0.2, **declared)
    shop = Shop(settings=msgspec.structs.replace(Shop().settings, targets=(target,)))
    shop.view(0, "i1", category="shoes", price=5.0)
    (said,) = shop.values(PREDICTIONS)
    opened = msgspec.msgpack.encode(inputs(shop))
    shop.send(kind, 10, **fields)
    assert shop.row().prediction_points[0].labels == {0: label}
    assert msgspec.msgpack.encode(inputs(shop)) == opened
    shop.tick(10_000)
    example = shop.examples("it")[0]
    vector = msgspec.msgpack.decode(opened)[0][0][4][1]
    assert (example.label, example.vector) == (label, vector)
    expected = decode_prediction(said)
    assert shop.values(PREDICTIONS)[0] == said
    outcome = shop.outcomes("it")[0]
    assert (outcome.label, outcome.from_prior) == (label, True)
    given = [*expected.probabilities.values(), *expected.amounts.values()]
    assert [outcome.served] == np.array(given, np.float32).tolist()


def inputs(shop: Shop) -> list[Any]:
    row = shop.row()
    return [
        [
            (point.offset, point.opened_ms, point.served, point.from_prior, point.sample)
            for point in row.prediction_points[:1]
        ],
        [(d.offset, d.decision_id, d.items, d.features) for d in row.decisions[:1]],
        [(transition.state, transition.action, transition.mask) for transition in row.open_transitions],
    ]


def test_an_example_holds_the_probabilities_that_were_served_whatever_was_learned_since() -> None:
    _, models = shopped().begun_with
    purchase = [value for value in models if decode_parameters(value).learner == "purchase"]
    shop = Shop(
        settings=msgspec.structs.replace(Shop().settings, windows=shopped().settings.windows),
    )
    shop.view(0, "i1")
    for value in purchase:
        assert shop.scorers.apply(decode_parameters(value))
    shop.view(1200, "i2")
    shop.send("purchase", 1300, item_id="i2")
    shop.tick(10_000)
    served = [prediction.probabilities["purchase"] for prediction in shop.predictions()]
    examples = shop.examples("purchase")
    assert served[0] == 0.05
    assert np.isnan(list(examples[0].probabilities.values())).all()
    assert [next(iter(example.probabilities.values())) for example in examples[1:]] == served[1:]
    outcomes = shop.outcomes("purchase")
    assert [outcome.served for outcome in outcomes] == np.array(served, np.float32).tolist()
    assert [outcome.from_prior for outcome in outcomes] == [True, False, False]
    assert [outcome.label for outcome in outcomes] == [example.label for example in examples] == [0.0, 1.0, 0.0]


def test_every_examples_vector_gives_the_probabilities_that_it_holds_and_that_were_published() -> None:
    pipeline = shopped()
    served = {
        (partition, value.timestamp_ms, target, probability)
        for partition in pipeline.partitions
        for record in pipeline.topics.records[PREDICTIONS, partition]
        for value in [decode_prediction(record.value or b"")]
        for target, probability in (value.probabilities | value.amounts).items()
    }
    targets = {target.name for target in pipeline.settings.targets}
    n_checked = 0
    for (learner, partition), found in examples(pipeline).items():
        if learner in targets:
            for example in found:
                scores = pipeline.scorers.score(learner, np.frombuffer(example.vector, np.float32)[None])[0]
                assert list(example.probabilities.values()) == scores.tolist()
                probability = next(iter(example.probabilities.values()))
                prediction_points = {
                    timestamp
                    for number, timestamp, target, p in served
                    if (number, target, p) == (partition, learner, probability)
                }
                # Where an event came out of order, the prediction was made as of the latest one before it.
                assert min(prediction_points, default=example.timestamp_ms + 1) <= example.timestamp_ms
                n_checked += 1
    assert n_checked > 200
