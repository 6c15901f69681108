"""The laws that every model of a target's models obeys, whatever it learns by.

Labels are 0 or 1: to a model that predicts amounts they are amounts, and whoever spends spends 1.
"""

from collections.abc import Callable
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import Arrays, pack_arrays, unpack_arrays
from streams.contract.settings import Target
from streams.contract.settings.targets import MODELS
from streams.core.features.schema import FeatureSchema, schema_of
from streams.core.models.blend import BLEND
from streams.core.models.ftrl_learner import CHOSEN_AFTER
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.measures import auc
from streams.core.models.registry import MODEL_TYPES, OnlineModel, new_model
from streams.core.models.scaling import RunningScale
from streams.core.models.target_models import TargetModels
from tests.models.plain import predict_one

NUMBERS = ("views", "carts", "spend", "price", "duration")
INDICATORS = ("price_missing", "is_view", "is_cart")
SCHEMA = schema_of(NUMBERS, INDICATORS)
PRIOR = 0.1
MEMBERS = pytest.mark.parametrize("model", MODEL_TYPES)
ENOUGH = CHOSEN_AFTER + 300


def new(model: str, schema: FeatureSchema = SCHEMA, seed: int = 3) -> OnlineModel:
    return new_model(model, "purchase", schema, PRIOR, seed)


def examples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw vectors: counts, money, a price that is missing now and then, indicators; labels, weights."""
    random = np.random.default_rng(seed)
    vectors = np.zeros((n, len(SCHEMA.names)), np.float32)
    vectors[:, :5] = random.lognormal(1.0, 1.2, (n, 5))
    missing = random.random(n) < 0.2
    vectors[missing, 3], vectors[missing, 5] = 0.0, 1.0
    vectors[:, 6] = random.random(n) < 0.6
    vectors[:, 7] = 1.0 - vectors[:, 6]
    logits = np.log1p(vectors[:, 1]) - 1.5 * vectors[:, 7] + 0.8 * missing - 2.0
    labels = (random.random(n) < probabilities(logits)).astype(np.float64)
    return vectors, labels, random.choice([1.0, 2.5], n)


def scaled(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vectors, labels, weights = examples(n, seed)
    return RunningScale(SCHEMA.scaled).learn_many(vectors), labels, weights


def said(model: str, learner: OnlineModel, rows: np.ndarray) -> np.ndarray:
    kind = MODEL_TYPES[model]
    return kind.served(kind.logits(rows, learner.parameters()))


def logit_of(model: str, served: float) -> float:
    return log(served) if MODELS[model].is_amount else log_odds(served)


def through_bytes(arrays: Arrays) -> Arrays:
    return unpack_arrays(pack_arrays(arrays))


def test_every_model_that_may_be_named_is_there_and_no_other() -> None:
    assert set(MODEL_TYPES) == {name for name, declared in MODELS.items() if not declared.combines}
    assert [name for name, declared in MODELS.items() if declared.combines] == [BLEND]


@MEMBERS
def test_it_serves_amounts_or_probabilities_as_it_is_declared(model: str) -> None:
    served = MODEL_TYPES[model].served(np.array([-20.0, 0.0, 7.0, 20.0]))
    assert (np.diff(served) > 0.0).all()
    assert (served > 0.0).all()
    assert (served[-1] > 1.0) == MODELS[model].is_amount


@MEMBERS
@given(cuts=st.lists(st.integers(0, ENOUGH), max_size=6))
@settings(deadline=None, max_examples=6)
def test_neither_batches_nor_restarts_change_a_bit(model: str, cuts: list[int]) -> None:
    rows, labels, weights = scaled(ENOUGH)
    straight, stopped = new(model), new(model)
    straight.learn_many(rows, labels, weights)
    for start, end in pairwise([0, *sorted(cuts), ENOUGH]):
        resumed = new(model, seed=4)
        resumed.restore(through_bytes(stopped.arrays()))
        resumed.learn_many(rows[start:end], labels[start:end], weights[start:end])
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())
    assert pack_arrays(stopped.parameters()) == pack_arrays(straight.parameters())


@MEMBERS
def test_scores_from_exported_arrays_are_what_the_learner_itself_says(model: str) -> None:
    rows, labels, weights = scaled(ENOUGH)
    learner: Any = new(model)
    learner.learn_many(rows, labels, weights)
    fresh, _, _ = scaled(60, seed=1)
    kind = MODEL_TYPES[model]
    served = kind.served(kind.logits(fresh, through_bytes(learner.parameters())))
    assert served == pytest.approx([predict_one(learner, row) for row in fresh], abs=1e-12)
    assert np.ptp(served) > 0.1


@MEMBERS
@given(cuts=st.lists(st.integers(0, 90), max_size=6))
@settings(deadline=None, max_examples=10)
def test_a_score_and_its_reasons_have_the_same_bits_in_any_batch(model: str, cuts: list[int]) -> None:
    rows, _, _ = scaled(90, seed=2)
    kind, parameters = MODEL_TYPES[model], LEARNED[model].parameters()
    for of in (kind.logits, kind.contributions):
        parts = [of(rows[start:end], parameters) for start, end in pairwise([0, *sorted(cuts), 90])]
        assert np.concatenate(parts).tobytes() == of(rows, parameters).tobytes()


@MEMBERS
def test_the_reasons_sum_to_the_difference_in_score_from_the_average_shopper(model: str) -> None:
    rows, _, _ = scaled(90, seed=2)
    kind, parameters = MODEL_TYPES[model], LEARNED[model].parameters()
    difference = kind.logits(rows, parameters) - kind.logits(np.zeros_like(rows), parameters)[0]
    assert kind.contributions(rows, parameters).sum(axis=1) == pytest.approx(difference, abs=2e-5)
    assert np.abs(difference).max() > 0.5


@MEMBERS
def test_a_feature_that_emerges_is_learned_and_one_that_vanishes_harms_nothing(model: str) -> None:
    rows, labels, weights = scaled(2400)
    emerging = rows.copy()
    emerging[:800, 1] = 0.0
    emerging[1600:, 4] = 0.0
    learner = new(model)
    learner.learn_many(emerging[:800], labels[:800], weights[:800])
    before = auc(said(model, learner, rows[1600:]), labels[1600:])
    learner.learn_many(emerging[800:1600], labels[800:1600], weights[800:1600])
    after = auc(said(model, learner, emerging[1600:]), labels[1600:])
    assert after > before + 0.03
    assert np.isfinite(said(model, learner, emerging)).all()


@MEMBERS
def test_a_missing_value_is_told_from_a_true_zero(model: str) -> None:
    random = np.random.default_rng(7)
    missing = random.random(1500) < 0.5
    rows = np.zeros((1500, len(SCHEMA.names)))
    rows[:, 5] = missing
    labels = (random.random(1500) < np.where(missing, 0.7, 0.1)).astype(np.float64)
    learner = new(model)
    learner.learn_many(rows, labels, np.ones(1500))
    zero, gone = said(model, learner, rows[[np.flatnonzero(~missing)[0], np.flatnonzero(missing)[0]]])
    assert gone > zero + 0.15


@MEMBERS
def test_a_seed_is_all_its_randomness(model: str) -> None:
    rows, labels, weights = scaled(200)
    once, again = new(model), new(model)
    for learner in (once, again):
        learner.learn_many(rows, labels, weights)
    assert pack_arrays(once.arrays()) == pack_arrays(again.arrays())


@MEMBERS
def test_it_starts_from_the_prior_and_what_it_exports_is_its_own(model: str) -> None:
    rows, labels, weights = scaled(200)
    learner = new(model)
    assert said(model, learner, rows) == pytest.approx([PRIOR] * 200, rel=1e-6)
    exported = learner.parameters()
    learner.learn_many(rows, labels, weights)
    assert MODEL_TYPES[model].logits(rows, exported) == pytest.approx([logit_of(model, PRIOR)] * 200, rel=1e-6)


@MEMBERS
def test_the_order_of_the_names_is_irrelevant(model: str) -> None:
    order = [4, 2, 0, 3, 1, 7, 5, 6]
    other = schema_of([NUMBERS[place] for place in order[:5]], [INDICATORS[place - 5] for place in order[5:]])
    rows, labels, weights = scaled(2000)
    straight, turned = new(model), new(model, other)
    straight.learn_many(rows, labels, weights)
    turned.learn_many(np.ascontiguousarray(rows[:, order]), labels, weights)
    fresh, answers, _ = scaled(800, seed=1)
    one = said(model, straight, fresh)
    two = said(model, turned, np.ascontiguousarray(fresh[:, order]))
    if model in {"perceptron", "kernel"}:
        # What is drawn for it is drawn by position: the same skill is asked of it, of the others the same score.
        assert auc(one, answers) == pytest.approx(auc(two, answers), abs=0.02)
    else:
        assert one == pytest.approx(two, abs=1e-6)


@MEMBERS
def test_a_weight_counts_an_example_more(model: str) -> None:
    rows, _, _ = scaled(64)
    moved = []
    for weight in (0.5, 4.0):
        learner = new(model)
        learner.learn_many(rows, np.ones(64), np.full(64, weight))
        moved.append(float(MODEL_TYPES[model].logits(np.zeros_like(rows[:1]), learner.parameters())[0]))
        moved[-1] -= logit_of(model, PRIOR)
    if model == "perceptron":
        # Adam forgets the size of a gradient: what counts is a weight beside others of the same mini-batch.
        mixed = []
        rows, labels, _ = scaled(960)
        for heavy in (0.0, 1.0):
            learner = new(model)
            learner.learn_many(rows, labels, np.where(labels == heavy, 4.0, 1.0).astype(np.float64))
            mixed.append(float(said(model, learner, rows).mean()))
        assert mixed[1] > mixed[0] + 0.02
    else:
        assert moved[1] > moved[0] > 0.0


@MEMBERS
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_before_anything_is_learned(model: Any, poison: float) -> None:
    rule: Any = "spend" if MODELS[model].is_amount else "event"
    target = Target(
        name="purchase", rule=rule, label="purchase", horizon_s=60, sampling_rate=1.0, prior=PRIOR, models=(model,)
    )
    family = TargetModels(target, SCHEMA, seed=0)
    vectors, labels, weights = examples(70)
    family.learn_many(vectors, labels, weights)
    before = pack_arrays(family.arrays())
    vectors[50, 2] = poison
    with pytest.raises(ValueError, match="not finite"):
        family.learn_many(vectors, labels, weights)
    assert pack_arrays(family.arrays()) == before


def _learned(make: Callable[[str], OnlineModel]) -> dict[str, OnlineModel]:
    learned = {model: make(model) for model in MODEL_TYPES}
    for learner in learned.values():
        learner.learn_many(*scaled(ENOUGH))
    return learned


LEARNED = _learned(new)
