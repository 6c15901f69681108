"""Pre-ranking: of all that the sources propose, the items with the highest estimates are the shortlist.

Retrieval knows what is near and what is popular, the reward model what shoppers take: twenty items that are chosen with
it hold better slates than twenty that are not. Policies then draw from the shortlist.
"""

from collections.abc import Sequence

import numpy as np

from streams.core.policies.reward_models import RewardModel
from streams.core.policies.slate_features import padded, slate_features
from streams.core.retrieval.context import DecisionContext
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import MAX_PROPOSED, Shortlist, shortlists


def preranked_shortlists(
    item_table: ItemTable, contexts: Sequence[DecisionContext], size: int, model: RewardModel
) -> list[Shortlist]:
    """Proposes at most ``size`` items for each context, those with the highest estimates, best first.

    Equal estimates keep the order of the sources. A context has the same shortlist in any batch.
    """
    proposed = shortlists(item_table, contexts, MAX_PROPOSED)
    listed = padded(proposed, MAX_PROPOSED)
    estimates = model.estimate(slate_features(item_table, contexts, listed), deviations=False).means
    estimates[~listed.there] = -np.inf
    best = np.argsort(-estimates, axis=1, kind="stable")[:, :size].tolist()
    return [found.part(places[: len(found.items)]) for found, places in zip(proposed, best, strict=True)]
