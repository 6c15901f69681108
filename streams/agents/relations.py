"""The Relations agent: relations in, the items feed out."""

from typing import Any

from faust.types import StreamT

from streams.contract.settings import Settings
from streams.contract.topics import ITEM_ROWS_CHANGELOG, RELATIONS
from streams.core.relations import RelationsFold
from streams.engine.app import BatchApp
from streams.engine.outputs import Outputs
from streams.engine.worker import FoldWorker


def add_relations(app: BatchApp, settings: Settings, outputs: Outputs) -> FoldWorker:
    """Adds the agent and its table to the app."""
    partitions = settings.kafka.partitions
    table = app.rows("items", ITEM_ROWS_CHANGELOG, partitions)
    worker = FoldWorker(RelationsFold(settings), table, outputs, app.offsets, settings)

    @app.agent(app.batches(RELATIONS, partitions), name="relations", concurrency=1)
    async def relations(stream: StreamT[Any]) -> None:
        await worker.run(stream)

    return worker
