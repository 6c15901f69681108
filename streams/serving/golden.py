"""Golden records: what the topics for other systems hold, as examples of the contract."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from streams.contract.catalogue import CatalogueItem
from streams.contract.events import Event
from streams.contract.experiment import Experiment
from streams.contract.metrics import GroundTruthMetrics, LearnerMetrics, PolicyRegret, Rewards
from streams.contract.records import Prediction, Reason, Recommendation, RecommendedItem

_AT_MS: Final = 1_736_121_600_000
_ASKED: Final = "clickstream-3-1139"
_DECISION: Final = f"{_ASKED}.bee493def1d1"

GOLDEN: Final[Mapping[str, tuple[msgspec.Struct, ...]]] = MappingProxyType(
    {
        "Event": (
            Event(
                event_id="7f3a",
                timestamp_ms=_AT_MS,
                kind="view",
                user_id="user-17",
                item_id="item-77",
                category="shoes",
                price=79.9,
            ),
            Event(
                event_id="7f3b",
                timestamp_ms=_AT_MS + 1000,
                kind="decide",
                user_id="user-17",
                candidates=("item-77", "item-78", "item-new"),
                n=2,
                surface="search",
            ),
            Event(
                event_id="7f3c",
                timestamp_ms=_AT_MS + 2000,
                kind="impression",
                user_id="user-17",
                decision_id=_DECISION,
            ),
            Event(
                event_id="7f3d",
                timestamp_ms=_AT_MS + 5000,
                kind="click",
                user_id="user-17",
                item_id="item-78",
                decision_id=_DECISION,
                position=0,
            ),
            Event(
                event_id="7f3e",
                timestamp_ms=_AT_MS + 60_000,
                kind="purchase",
                user_id="user-17",
                item_id="item-78",
                price=49.9,
                quantity=1,
            ),
        ),
        "CatalogueItem": (
            CatalogueItem(
                item_id="item-77",
                title="Trail shoe, blue",
                category="shoes",
                price=79.9,
                url="https://shop.example/item-77",
                tags=("outdoor",),
            ),
            CatalogueItem(item_id="item-78", title="Sandal, red", category="shoes", price=49.9, available=False),
        ),
        "Prediction": (
            Prediction(
                event_ref="clickstream-3-1138",
                user_id="user-17",
                timestamp_ms=_AT_MS,
                probabilities={"purchase": 0.0625, "cart": 0.25},
                reasons={"purchase": [Reason("price", 0.5)], "cart": [Reason("price", 0.75)]},
                model_versions={"purchase": 12, "cart": 130},
                amounts={"spend": 4.5},
            ),
        ),
        "Recommendation": (
            Recommendation(
                decision_id=_DECISION,
                event_ref=_ASKED,
                user_id="user-17",
                timestamp_ms=_AT_MS + 1000,
                policy="bandit",
                items=[
                    RecommendedItem("item-78", 0.25, 0.75, "caller"),
                    RecommendedItem("item-new", 0.125, 0.5, "caller"),
                ],
                model_versions={"bandit": 3},
                event_id="7f3b",
                surface="search",
            ),
        ),
        "MetricsRecord": (
            LearnerMetrics(
                source="learning/bandit",
                timestamp_ms=_AT_MS,
                learner="bandit",
                version=130,
                examples=1243,
                champion="bandit",
                quality=Rewards(mean_reward=0.125, mean_reward_by_type={"click": 0.125}),
            ),
            GroundTruthMetrics(
                source="simulator",
                timestamp_ms=_AT_MS,
                policies={
                    "bandit": PolicyRegret(slates=400, true_ctr=0.25, best_ctr=0.5, regret=400.0, regret_per_slate=1.0)
                },
            ),
        ),
        "Experiment": (Experiment(shares={"random": 0.25, "bandit": 0.75}, shadows=("bandit",)),),
    }
)
"""Type of a topic's value to records of it."""
