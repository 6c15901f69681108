"""The Behaviour agent: clickstream in; predictions, recommendations, decisions, experiences and relations out."""

from typing import Any

from faust.types import StreamT

from streams.contract.records import decode_item, decode_parameters
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXPERIMENTS, ITEMS, MODELS, USERS_CHANGELOG
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.app import BatchApp
from streams.engine.feeds import FeedReader, Refusals
from streams.engine.incidents import EXPERIMENT_REFUSED, report
from streams.engine.outputs import Outputs
from streams.engine.worker import FoldWorker


def add_behaviour(app: BatchApp, settings: Settings, outputs: Outputs) -> FoldWorker:
    """Adds the agent and its table to the app; its feeds are read whole before the app starts."""
    catalogue = Catalogue(settings)
    items = FeedReader(ITEMS, settings.kafka, decode_item, catalogue.apply, frozen=settings.frozen_feeds)
    experiments = FeedReader(EXPERIMENTS, settings.kafka, bytes, frozen=settings.frozen_feeds)
    models = FeedReader(MODELS, settings.kafka, decode_parameters, frozen=settings.frozen_feeds)
    scorers = Scorers(settings.targets, feature_schema(settings.windows))
    policies = PolicyModels(settings.decisions)
    refusals = Refusals(MODELS)

    def refresh() -> None:
        catalogue.apply(items.take())
        for parameters in models.take():
            taker = policies if parameters.learner in policies.versions else scorers
            if not taker.apply(parameters):
                refusals.note(f"{parameters.learner}/{parameters.member}", "its schema or its arrays do not fit")
        for value in experiments.take():
            if not fold.experiment.apply(value):
                report(EXPERIMENT_REFUSED, why=fold.experiment.refused)

    app.background += [items, models, experiments]
    partitions = settings.kafka.partitions
    table = app.rows("users", USERS_CHANGELOG, partitions)
    fold = BehaviourFold(settings, catalogue, scorers, policies)
    worker = FoldWorker(fold, table, outputs, app.offsets, settings, refresh)

    @app.agent(app.batches(CLICKSTREAM, partitions), name="behaviour", concurrency=1)
    async def behaviour(stream: StreamT[Any]) -> None:
        await worker.run(stream)

    return worker
