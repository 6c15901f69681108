"""Topics of Headrace: name, key, value, partitions, clean-up, writer. This is the only list.

The code calls a topic by the names below. :mod:`streams.contract.names` makes names on the cluster of them.
"""

from typing import Final, Literal, NamedTuple

CLICKSTREAM: Final = "clickstream"
PREDICTIONS: Final = "predictions"
RECOMMENDATIONS: Final = "recommendations"
DECISIONS: Final = "decisions"
EXAMPLES: Final = "examples"
ITEM_SIGNALS: Final = "item-signals"
MODELS: Final = "models"
ITEMS: Final = "items"
CATALOGUE: Final = "catalogue"
EXPERIMENTS: Final = "experiments"
METRICS: Final = "metrics"
DEAD_LETTERS: Final = "dead-letters"
USERS_CHANGELOG: Final = "users-changelog"
ITEM_ROWS_CHANGELOG: Final = "item-rows-changelog"
LEARNERS_CHANGELOG: Final = "learners-changelog"

PUBLIC: Final = frozenset({PREDICTIONS, RECOMMENDATIONS, CATALOGUE, EXPERIMENTS, METRICS, DEAD_LETTERS})
"""Topics that programs of a shop read, in any language."""

SOURCES: Final = {"behaviour": CLICKSTREAM, "items": ITEM_SIGNALS, "learning": EXAMPLES}
"""Fold to the topic that it reads. A fold writes only to the sources after its own."""

RANDOM: Final = "random"
RANKED: Final = "ranked"
POPULAR: Final = "popular"
BANDIT: Final = "bandit"
Q_AGENT: Final = "q"


class Topic(NamedTuple):
    """One topic as it is created and documented.

    Attributes:
        name: Name on the cluster, in the list of the settings; else as ``called``.
        called: Name in the code.
    """

    name: str
    key: str
    value: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    writer: str
    called: str = ""


def topics(partitions: int, learner_partitions: int) -> list[Topic]:
    """Lists all topics; ``partitions`` is the number of those keyed by user or item, the other of those by learner."""
    listed = [
        Topic(CLICKSTREAM, "user_id", "Event, JSON", partitions, "delete", "the shop, producers"),
        Topic(PREDICTIONS, "user_id", "Prediction, JSON", partitions, "delete", "behaviour"),
        Topic(RECOMMENDATIONS, "user_id", "Recommendation, JSON", partitions, "delete", "behaviour"),
        Topic(DECISIONS, "user_id", "LoggedDecision, MessagePack", partitions, "delete", "behaviour"),
        Topic(EXAMPLES, "learner", "ExampleBatch, MessagePack", learner_partitions, "delete", "behaviour"),
        Topic(ITEM_SIGNALS, "-", "ItemSignalBatch, MessagePack", partitions, "delete", "behaviour"),
        Topic(MODELS, "learner/model", "Parameters, MessagePack", 1, "compact", "learning"),
        Topic(ITEMS, "item_id", "ItemSummary, MessagePack", partitions, "compact", "items"),
        Topic(CATALOGUE, "item_id", "CatalogueItem, JSON", 1, "compact", "the shop, headrace catalogue load, simulate"),
        Topic(EXPERIMENTS, "running", "Experiment, JSON", 1, "compact", "headrace experiment set"),
        Topic(METRICS, "source", "MetricsRecord, JSON", 1, "delete", "every worker, learner and simulator"),
        Topic(DEAD_LETTERS, "-", "raw bytes, capped; reason and origin in headers", 1, "delete", "every fold"),
        Topic(USERS_CHANGELOG, "user_id", "user row, MessagePack", partitions, "compact", "behaviour"),
        Topic(ITEM_ROWS_CHANGELOG, "item_id", "item row, MessagePack", partitions, "compact", "items"),
        Topic(LEARNERS_CHANGELOG, "learner", "learner row, MessagePack", learner_partitions, "compact", "learning"),
    ]
    return [topic._replace(called=topic.name) for topic in listed]
