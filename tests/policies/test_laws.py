"""The laws that every policy obeys, whatever it draws by: each kind, as the settings allow it to be configured."""

from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.settings.policies import POLICY_TYPES
from streams.contract.settings.policies import Policy as Configuration
from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.registry import new_policy
from streams.core.policies.slates import CategoryLimit, Slates
from streams.core.retrieval.item_table import NO_CATEGORY
from tests.fuzzing import examples

WIDTH, N_SLOTS, N_DECISIONS = 20, 6, 24
SIGMAS = 5.0
LARGEST = 100.0
"""Of a number that the settings do not bound."""
JUST_BELOW_ONE = 1.0 - 2.0**-53
KINDS = pytest.mark.parametrize("kind", POLICY_TYPES)
COMPARING = pytest.mark.parametrize("kind", [kind for kind in POLICY_TYPES if kind != "ranked"])
"""All kinds but the one that draws by the order of the shortlist."""


def numbers(declared: Any) -> st.SearchStrategy[float]:
    """Draws what the settings allow of a number."""
    low = declared.ge if declared.ge is not None else declared.gt
    high = declared.le if declared.le is not None else LARGEST
    return st.floats(low, high, exclude_min=declared.gt is not None)


def configured(kind: str) -> st.SearchStrategy[Configuration]:
    """Draws configurations: every number of the kind that says how it draws."""
    declared: Any = msgspec.inspect.type_info(POLICY_TYPES[kind])
    drawn = {
        field.name: numbers(field.type)
        for field in declared.fields
        if isinstance(field.type, msgspec.inspect.FloatType)
    }
    assert "floor" in drawn
    return st.builds(POLICY_TYPES[kind], **drawn)


class Case(NamedTuple):
    """What a batch of decisions is made by."""

    estimates: Estimates
    n_items: np.ndarray
    uniforms: np.ndarray
    preferred: np.ndarray | None
    limit: CategoryLimit | None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Estimates of any size, with ties or without; shortlists that are empty, of one item, or full."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (N_DECISIONS, WIDTH)
    means, deviations = random.normal(size=shape), np.exp(random.normal(size=shape))
    if draw(st.booleans()):
        means, deviations = np.round(means), np.round(deviations)
    means *= draw(st.sampled_from([0.0, 1e-12, 0.1, 1.0, 1e6, 1e12]))
    deviations *= draw(st.sampled_from([0.0, 1e-12, 0.1, 1.0, 1e6]))
    n_items = random.integers(0, WIDTH + 1, N_DECISIONS)
    n_items[:3] = 0, 1, WIDTH
    uniforms = random.random((N_DECISIONS, N_SLOTS))
    uniforms[3:6], uniforms[6:9] = 0.0, JUST_BELOW_ONE
    examples = draw(st.sampled_from([0.0, 0.5, 900.0, 1e12]))
    preferred = random.random(shape) < 0.4 if draw(st.booleans()) else None
    limit = None
    if draw(st.booleans()):
        categories = random.integers(NO_CATEGORY, draw(st.sampled_from([1, 4, WIDTH])), shape)
        limit = CategoryLimit(categories, random.integers(1, 4, N_DECISIONS))
    return Case(Estimates(means, deviations, examples), n_items, uniforms, preferred, limit)


def there(case: Case) -> np.ndarray:
    return np.arange(WIDTH) < case.n_items[:, None]


def chosen(policy: Policy, case: Case, rows: slice = slice(None)) -> Slates:
    """The slates of some of the decisions, made as a batch of their own."""
    means, deviations, examples = case.estimates
    preferred = None if case.preferred is None else case.preferred[rows]
    limit = None if case.limit is None else case.limit.of(rows)
    estimates = Estimates(means[rows], deviations[rows], examples)
    return policy.choose(estimates, case.n_items[rows], case.uniforms[rows], preferred, limit)


def may_follow(case: Case, row: int, above: list[int]) -> list[int]:
    """The items that may be drawn below others, as the rules say it."""
    left = [item for item in range(int(case.n_items[row])) if item not in above]
    if case.limit is not None:
        category, most = case.limit.categories[row].tolist(), case.limit.most[row]
        shown = [category[item] for item in above]
        left = [item for item in left if category[item] == NO_CATEGORY or shown.count(category[item]) < most]
    first = left if case.preferred is None else [item for item in left if case.preferred[row, item]]
    return first or left


@KINDS
def test_it_is_built_as_it_is_configured(kind: str) -> None:
    assert new_policy(POLICY_TYPES[kind]()).floor == POLICY_TYPES[kind]().floor > 0.0
    assert new_policy(POLICY_TYPES[kind](floor=0.25)).floor == 0.25


@KINDS
@given(case=cases(), data=st.data())
@settings(max_examples=examples(50))
def test_probabilities_sum_to_one_over_what_is_eligible_and_have_the_floor(
    kind: str, case: Case, data: st.DataObject
) -> None:
    policy = new_policy(data.draw(configured(kind)))
    eligible = there(case) if case.preferred is None else there(case) & case.preferred
    probabilities = policy.probabilities(case.estimates, eligible)
    n_eligible = eligible.sum(axis=1)
    assert (probabilities[~eligible] == 0.0).all()
    assert probabilities.sum(axis=1) == pytest.approx((n_eligible > 0).astype(float), abs=1e-12)
    floor = policy.floor / np.maximum(n_eligible, 1)[:, None]
    assert (probabilities >= np.where(eligible, floor - 1e-15, 0.0)).all()


@COMPARING
@given(case=cases(), data=st.data())
@settings(max_examples=examples(50))
def test_an_item_that_is_better_and_as_sure_is_drawn_no_less_often_and_of_equal_ones_the_first(
    kind: str, case: Case, data: st.DataObject
) -> None:
    policy = new_policy(data.draw(configured(kind)))
    means, deviations, examples = case.estimates
    # Deviations of the means' own size: far larger ones would absorb every difference when they are added.
    deviation = np.minimum(deviations[:, :1], np.abs(means).max())
    as_sure = Estimates(means, np.tile(deviation, (1, WIDTH)), examples)
    order = np.lexsort((np.tile(-np.arange(WIDTH), (N_DECISIONS, 1)), means))
    probabilities = np.take_along_axis(policy.probabilities(as_sure, np.ones_like(means, np.bool_)), order, axis=1)
    assert (np.diff(probabilities, axis=1) >= -1e-12).all()


@KINDS
@given(case=cases(), data=st.data())
@settings(max_examples=examples(50))
def test_a_slate_has_what_there_is_once_each_and_what_is_preferred_first_within_the_limit_of_a_category(
    kind: str, case: Case, data: st.DataObject
) -> None:
    drawn = chosen(new_policy(data.draw(configured(kind))), case)
    for row, slate in enumerate(drawn.slates.tolist()):
        for slot, item in enumerate(slate):
            left = may_follow(case, row, slate[:slot])
            assert item in left if left else item == -1
            assert np.isnan(drawn.propensities[row, slot]) == (not left)
            if len(left) == 1:
                assert drawn.propensities[row, slot] == pytest.approx(1.0, abs=1e-12)


@KINDS
@given(case=cases(), data=st.data())
@settings(max_examples=examples(50))
def test_a_propensity_is_the_probability_among_what_remains(kind: str, case: Case, data: st.DataObject) -> None:
    policy = new_policy(data.draw(configured(kind)))
    drawn = chosen(policy, case)
    for slot in range(N_SLOTS):
        filled = np.flatnonzero(drawn.slates[:, slot] >= 0)
        items = drawn.slates[filled, slot]
        eligible = np.zeros((N_DECISIONS, WIDTH), np.bool_)
        for row in filled.tolist():
            eligible[row, may_follow(case, row, drawn.slates[row, :slot].tolist())] = True
        expected = policy.probabilities(case.estimates, eligible)[filled, items]
        assert drawn.propensities[filled, slot] == pytest.approx(expected, rel=1e-12)
        assert (expected > 0.0).all()


@KINDS
@given(case=cases(), cuts=st.lists(st.integers(0, N_DECISIONS), max_size=8), data=st.data())
@settings(max_examples=examples(50))
def test_a_decision_is_the_same_to_the_bit_in_any_batch(
    kind: str, case: Case, cuts: list[int], data: st.DataObject
) -> None:
    policy = new_policy(data.draw(configured(kind)))
    whole = chosen(policy, case)
    parts = [chosen(policy, case, slice(*ends)) for ends in pairwise([0, *sorted(cuts), N_DECISIONS])]
    for all_at_once, in_parts in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.concatenate(in_parts).tobytes() == all_at_once.tobytes()


@KINDS
@pytest.mark.parametrize("floor", [0.01, 0.3])
@pytest.mark.parametrize(
    ("categories", "most", "n_slots"),
    [([NO_CATEGORY] * 4, 0, 2), ([0, 0, NO_CATEGORY, NO_CATEGORY], 1, 3), ([0, 0, 1, 0], 1, 3), ([0, 0, 1, 0], 2, 3)],
)
def test_whole_slates_are_drawn_as_often_as_their_propensities_say(
    kind: str, floor: float, categories: list[int], most: int, n_slots: int
) -> None:
    n = 60_000
    uniforms = np.random.default_rng(7).random((n, n_slots))
    estimates = Estimates(np.tile([0.2, 0.5, 0.4, 0.0], (n, 1)), np.tile([0.5, 0.1, 0.3, 1.2], (n, 1)), 0.01)
    limit = CategoryLimit(np.tile(categories, (n, 1)), np.full(n, most)) if most else None
    policy = new_policy(POLICY_TYPES[kind](floor=floor))
    drawn = policy.choose(estimates, np.full(n, 4), uniforms, limit=limit)
    total = 0.0
    for slate in np.unique(drawn.slates, axis=0):
        same = (drawn.slates == slate).all(axis=1)
        propensities = drawn.propensities[same]
        probability = float(np.nanprod(propensities[0]))
        assert np.array_equal(propensities, np.tile(propensities[0], (len(propensities), 1)), equal_nan=True)
        deviation = np.sqrt(probability * (1.0 - probability) / n)
        assert abs(same.mean() - probability) < SIGMAS * deviation
        total += probability
    # What was never drawn is as rare as that.
    assert total == pytest.approx(1.0, abs=50.0 / n)
