"""Of what the sources propose, the items with the highest estimates are on the shortlist."""

import numpy as np
import pytest

from streams.contract.arrays import Float64Array
from streams.core.policies.preranking import prerank
from streams.core.policies.reward_models import UNTRAINED, RewardModel
from streams.core.policies.slate_features import FEATURES, padded, slate_features
from streams.core.retrieval.context import decision_context
from streams.core.retrieval.shortlist import MAX_PROPOSED, shortlists
from tests.retrieval.test_shortlist import context, shop

SIZE = 20
TABLE = shop()
CONTEXTS = [decision_context(TABLE, context(item)) for item in (3, 50, 100, 199)]


def model(seed: int) -> RewardModel:
    return UNTRAINED._replace(theta=np.random.default_rng(seed).standard_normal(len(FEATURES)), examples=10.0)


def estimates(trained: RewardModel) -> list[dict[int, float]]:
    """The estimate of each proposed item, by context."""
    proposed = shortlists(TABLE, CONTEXTS, MAX_PROPOSED)
    features: Float64Array = slate_features(TABLE, CONTEXTS, padded(proposed, MAX_PROPOSED))
    means = (features @ trained.theta).tolist()
    return [dict(zip(found.items, row, strict=False)) for found, row in zip(proposed, means, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_the_shortlist_has_the_highest_estimates_of_all_that_is_proposed_best_first(seed: int) -> None:
    trained = model(seed)
    found = prerank(TABLE, CONTEXTS, SIZE, trained).shortlists
    for shortlist, of_item in zip(found, estimates(trained), strict=True):
        assert len(of_item) > 2 * SIZE
        chosen = [of_item[item] for item in shortlist.items]
        assert chosen == sorted(of_item.values(), reverse=True)[:SIZE]
        assert len(set(shortlist.items)) == SIZE


def test_an_item_keeps_the_source_that_proposed_it() -> None:
    proposed, found = shortlists(TABLE, CONTEXTS, MAX_PROPOSED), set()
    for seed in range(5):
        chosen = prerank(TABLE, CONTEXTS, SIZE, model(seed)).shortlists
        for shortlist, all_of_them in zip(chosen, proposed, strict=True):
            sources = dict(zip(all_of_them.items, all_of_them.sources, strict=True))
            assert [sources[item] for item in shortlist.items] == shortlist.sources
            found.update(shortlist.sources)
    assert len(found) > 1


def test_a_context_has_the_same_shortlist_in_any_batch() -> None:
    together = prerank(TABLE, CONTEXTS, SIZE, model(2)).shortlists
    assert together == [prerank(TABLE, [each], SIZE, model(2)).shortlists[0] for each in CONTEXTS]
    assert prerank(TABLE, [], SIZE, model(2)).shortlists == []


@pytest.mark.parametrize("size", [SIZE, 7])
def test_the_features_are_those_of_the_shortlist_to_the_bit(size: int) -> None:
    found = prerank(TABLE, CONTEXTS, size, model(4))
    expected = slate_features(TABLE, CONTEXTS, padded(found.shortlists))
    assert found.features.tobytes() == expected.tobytes()


def test_a_shop_with_few_items_has_them_all() -> None:
    few = shop(5)
    [shortlist] = prerank(few, [decision_context(few, context(2))], SIZE, model(3)).shortlists
    assert sorted(few.ids[item] for item in shortlist.items) == ["item-0", "item-1", "item-3", "item-4"]
