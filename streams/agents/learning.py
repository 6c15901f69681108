"""The Learning agent: experiences in, the models feed and the models' quality out."""

from typing import Any

from faust.types import StreamT

from streams.contract.settings import Settings
from streams.contract.topics import EXPERIENCES, LEARNERS_CHANGELOG
from streams.core.learning import LearningFold
from streams.engine.app import BatchApp
from streams.engine.outputs import Outputs
from streams.engine.worker import FoldWorker


def add_learning(app: BatchApp, settings: Settings, outputs: Outputs) -> FoldWorker:
    """Adds the agent and its table to the app."""
    partitions = len(settings.learners)
    table = app.rows("learners", LEARNERS_CHANGELOG, partitions)
    worker = FoldWorker(LearningFold(settings), table, outputs, app.offsets, settings)

    @app.agent(app.batches(EXPERIENCES, partitions), name="learning", concurrency=1)
    async def learning(stream: StreamT[Any]) -> None:
        await worker.run(stream)

    return worker
