"""Every topic of Headrace: name, key, value, partitions, clean-up, writer. There is no other list."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

CLICKSTREAM: Final = "clickstream"
PREDICTIONS: Final = "predictions"
RECOMMENDATIONS: Final = "recommendations"
DECISIONS: Final = "decisions"
EXPERIENCES: Final = "experiences"
RELATIONS: Final = "relations"
MODELS: Final = "models"
ITEMS: Final = "items"
EXPERIMENTS: Final = "experiments"
METRICS: Final = "metrics"
DEAD_LETTERS: Final = "dead-letters"
USERS_CHANGELOG: Final = "users-changelog"
ITEM_ROWS_CHANGELOG: Final = "item-rows-changelog"
LEARNERS_CHANGELOG: Final = "learners-changelog"

CONTROL: Final = "control"
BANDIT: Final = "bandit"
Q_AGENT: Final = "q"
POPULAR: Final = "popular"


class Topic(NamedTuple):
    """One topic as it is created and documented."""

    name: str
    key: str
    value: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    writer: str


def topics(partitions: int, learners: Sequence[str]) -> list[Topic]:
    """Lists all topics.

    Args:
        partitions: Of everything that is keyed by a user or an item.
        learners: Names of targets and policies' models; the position of each is its partition of ``experiences``.
    """
    n_learners = len(learners)
    return [
        Topic(CLICKSTREAM, "user_id", "Event, JSON", partitions, "delete", "the shop, producers"),
        Topic(PREDICTIONS, "user_id", "Prediction, JSON", partitions, "delete", "behaviour"),
        Topic(RECOMMENDATIONS, "user_id", "Recommendation, JSON", partitions, "delete", "behaviour"),
        Topic(DECISIONS, "user_id", "LoggedDecision, MessagePack", partitions, "delete", "behaviour"),
        Topic(EXPERIENCES, "learner", "ExperienceBatch, MessagePack", n_learners, "delete", "behaviour"),
        Topic(RELATIONS, "-", "RelationBatch, MessagePack", partitions, "delete", "behaviour"),
        Topic(MODELS, "learner/member", "Parameters, MessagePack", 1, "compact", "learning"),
        Topic(ITEMS, "item_id", "ItemSummary, MessagePack", partitions, "compact", "relations"),
        Topic(EXPERIMENTS, "running", "Experiment, JSON", 1, "compact", "headrace experiment set"),
        Topic(METRICS, "source", "one interval's numbers, JSON", 1, "delete", "every worker, learner and simulator"),
        Topic(DEAD_LETTERS, "-", "raw bytes, capped; reason and origin in headers", 1, "delete", "every fold"),
        Topic(USERS_CHANGELOG, "user_id", "user row, MessagePack", partitions, "compact", "behaviour"),
        Topic(ITEM_ROWS_CHANGELOG, "item_id", "item row, MessagePack", partitions, "compact", "relations"),
        Topic(LEARNERS_CHANGELOG, "learner", "learner row, MessagePack", n_learners, "compact", "learning"),
    ]
