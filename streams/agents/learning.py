"""The Learning agent: examples in, the models global table and the models' quality out."""

from streams.contract.settings.row_shape import row_shape
from streams.contract.topics import CLICKSTREAM
from streams.core.learning import LearningFold
from streams.engine.app import BatchApp
from streams.engine.worker import FoldWorker, add_fold


def add_learning(app: BatchApp) -> FoldWorker:
    """Adds the agent and its table to the app."""
    settings = app.settings
    return add_fold(
        app,
        LearningFold(settings),
        settings.kafka.learner_partitions,
        table="learners",
        hold_ms=settings.engine.hold_ms,
        origin=CLICKSTREAM,
        shape=row_shape(settings, "learning"),
    )
