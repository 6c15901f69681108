"""The Behaviour agent: clickstream in; predictions, recommendations, decisions, examples and signals out."""

import logging
from typing import Final

from streams.contract.catalogue import CatalogueRecord, decode_catalogue_record
from streams.contract.records import decode_item, decode_parameters
from streams.contract.settings.row_shape import row_shape
from streams.contract.topics import CATALOGUE, EXPERIMENTS, ITEMS, MODELS
from streams.core.behaviour.fold import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers
from streams.core.policies.reward_models import PolicyModels
from streams.core.retrieval.item_table import ItemTable
from streams.engine.app import BatchApp
from streams.engine.global_tables import GlobalTableReader, values_of
from streams.engine.incidents import GLOBAL_TABLE_RECORD_REFUSED, Incident, RefusedRecords, report
from streams.engine.worker import FoldWorker, add_fold

EXPERIMENT_REFUSED: Final = Incident(
    "experiment-refused",
    logging.WARNING,
    "the shares before it stay in force: set others with `headrace experiment set`, which checks them",
)


def add_behaviour(app: BatchApp) -> FoldWorker:
    """Adds the agent and its table to the app; its global tables are read whole before the app starts."""
    settings = app.settings
    item_table = ItemTable(settings)
    frozen = settings.freeze_global_tables
    items = GlobalTableReader(ITEMS, settings, values_of(decode_item), item_table.apply, frozen=frozen)
    listed = GlobalTableReader[CatalogueRecord](
        CATALOGUE, settings, decode_catalogue_record, item_table.apply_listing, frozen=frozen
    )
    experiments = GlobalTableReader[bytes](EXPERIMENTS, settings, values_of(bytes), frozen=frozen)
    models = GlobalTableReader(MODELS, settings, values_of(decode_parameters), frozen=frozen)
    scorers = Scorers(settings.targets, feature_schema(settings.windows))
    policies = PolicyModels(settings.decisions)
    refused = RefusedRecords(GLOBAL_TABLE_RECORD_REFUSED, MODELS)

    def refresh() -> None:
        item_table.apply(items.take())
        item_table.apply_listing(listed.take())
        for parameters in models.take():
            taker = policies if parameters.learner in policies.versions else scorers
            if not taker.apply(parameters):
                refused.add(f"{parameters.learner}/{parameters.model}", "its schema or its arrays do not fit")
        for value in experiments.take():
            if not fold.experiment.apply(value):
                report(EXPERIMENT_REFUSED, why=fold.experiment.refused)

    app.background += [items, listed, models, experiments]
    fold = BehaviourFold(settings, item_table, scorers, policies)
    shape = row_shape(settings, "behaviour")
    return add_fold(app, fold, settings.kafka.partitions, table="users", refresh=refresh, shape=shape)
