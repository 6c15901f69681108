"""The Items agent: item signals in, the items global table out."""

from streams.contract.topics import CLICKSTREAM
from streams.core.items.fold import ItemsFold
from streams.engine.app import BatchApp
from streams.engine.worker import FoldWorker, add_fold


def add_items(app: BatchApp) -> FoldWorker:
    """Adds the agent and its table to the app."""
    settings = app.settings
    return add_fold(
        app,
        ItemsFold(settings),
        settings.kafka.partitions,
        table="items",
        hold_ms=settings.engine.hold_ms,
        origin=CLICKSTREAM,
    )
