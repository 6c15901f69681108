"""Of what the sources propose, the items with the highest estimates are on the shortlist."""

import numpy as np
import pytest

from streams.contract.arrays import Float64Array
from streams.core.policies.preranking import preranked_shortlists
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
    found = preranked_shortlists(TABLE, CONTEXTS, SIZE, trained)
    for shortlist, of_item in zip(found, estimates(trained), strict=True):
        assert len(of_item) > 2 * SIZE
        chosen = [of_item[item] for item in shortlist.items]
        assert chosen == sorted(of_item.values(), reverse=True)[:SIZE]
        assert len(set(shortlist.items)) == SIZE


def test_an_item_keeps_the_source_that_proposed_it() -> None:
    proposed, found = shortlists(TABLE, CONTEXTS, MAX_PROPOSED), set()
    for seed in range(5):
        chosen = preranked_shortlists(TABLE, CONTEXTS, SIZE, model(seed))
        for shortlist, all_of_them in zip(chosen, proposed, strict=True):
            sources = dict(zip(all_of_them.items, all_of_them.sources, strict=True))
            assert [sources[item] for item in shortlist.items] == shortlist.sources
            found.update(shortlist.sources)
    assert len(found) > 1


def test_a_context_has_the_same_shortlist_in_any_batch() -> None:
    together = preranked_shortlists(TABLE, CONTEXTS, SIZE, model(2))
    assert together == [preranked_shortlists(TABLE, [each], SIZE, model(2))[0] for each in CONTEXTS]
    assert preranked_shortlists(TABLE, [], SIZE, model(2)) == []


def test_a_shop_with_few_items_has_them_all() -> None:
    few = shop(5)
    [shortlist] = preranked_shortlists(few, [decision_context(few, context(2))], SIZE, model(3))
    assert sorted(few.ids[item] for item in shortlist.items) == ["item-0", "item-1", "item-3", "item-4"]
