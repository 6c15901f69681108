"""Pre-ranking: of all that the sources propose, the items with the highest estimates are the shortlist.

Retrieval knows what is near and what is popular, the reward model what shoppers take: twenty items that are chosen with
it hold better slates than twenty that are not. Policies then draw from the shortlist.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import Float64Array
from streams.core.policies.reward_models import RewardModel
from streams.core.policies.slate_features import N_FEATURES, padded, slate_features
from streams.core.retrieval.context import DecisionContext
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import MAX_ITEMS, MAX_PROPOSED, Shortlist, shortlists


class Preranked(NamedTuple):
    """Shortlists of the items with the highest estimates, best first.

    Attributes:
        features: As :func:`~streams.core.policies.slate_features.slate_features` describes them, to the bit,
            ``(n_decisions, MAX_ITEMS, N_FEATURES)``.
    """

    shortlists: list[Shortlist]
    features: Float64Array


def prerank(item_table: ItemTable, contexts: Sequence[DecisionContext], size: int, model: RewardModel) -> Preranked:
    """Proposes at most ``size`` items for each context.

    Equal estimates keep the order of the sources. A context has the same shortlist in any batch.
    """
    described = np.zeros((len(contexts), MAX_ITEMS, N_FEATURES))
    if not contexts:
        return Preranked([], described)
    proposed = shortlists(item_table, contexts, MAX_PROPOSED)
    listed = padded(proposed, MAX_PROPOSED)
    features = slate_features(item_table, contexts, listed)
    estimates = model.estimate(features, deviations=False).means
    estimates[~listed.there] = -np.inf
    best = np.argsort(-estimates, axis=1, kind="stable")[:, :size]
    described[:, :size] = features[np.arange(len(contexts))[:, None], best]
    cut = zip(proposed, best.tolist(), strict=True)
    return Preranked([found.part(places[: len(found.items)]) for found, places in cut], described)
