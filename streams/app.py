"""The Faust app: the only place where agents, tables and settings come together.

``faust -A streams.app worker`` and ``headrace worker`` both run it. Nothing connects when this module is imported.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from streams.agents.behaviour import add_behaviour
from streams.agents.learning import add_learning
from streams.agents.relations import add_relations
from streams.contract.errors import ConfigurationError
from streams.contract.settings import Settings, load_settings
from streams.engine.app import BatchApp
from streams.engine.feeds import FeedReader
from streams.engine.worker import FoldWorker
from streams.ops.exposition import WorkerCollector, registry_of
from streams.ops.health import Health
from streams.ops.http import HttpServer
from streams.ops.lookout import Lookout
from streams.ops.metrics import Reporter

FOLDS: Final = {"behaviour": add_behaviour, "relations": add_relations, "learning": add_learning}


def build_app(settings: Settings, folds: Sequence[str] = tuple(FOLDS)) -> BatchApp:
    """Builds the app of one worker.

    Args:
        folds: Which folds it runs. Workers with different folds are different consumer groups, so either every worker
            of a cluster runs all folds, or each fold runs on workers of its own.

    Raises:
        ConfigurationError: There is no such fold.
    """
    if unknown := set(folds) - set(FOLDS):
        raise ConfigurationError(f"there is no fold {sorted(unknown)[0]!r}; there are {', '.join(FOLDS)}")
    app = BatchApp(settings, group=".".join([settings.engine.app_id, *(folds if set(folds) != set(FOLDS) else ())]))
    workers = [FOLDS[name](app, settings, app.outputs) for name in FOLDS if name in folds]
    _watch(app, settings, {worker.engine.fold.source: worker for worker in workers})
    app.finalize()
    return app


def _watch(app: BatchApp, settings: Settings, workers: Mapping[str, FoldWorker]) -> None:
    """Adds what tells people how the worker is; it answers before the feeds are read."""
    watchdog, stalled_s = app.watchdog, settings.http.stalled_s
    feeds = [service.progress for service in app.background if isinstance(service, FeedReader)]
    reporter = Reporter(settings, workers, watchdog.condition)
    app.background += [Lookout(workers, watchdog.condition, feeds, stalled_s), reporter]
    if settings.http.enabled:
        health = Health(lambda: app.is_started, watchdog.condition, stalled_s)
        numbers = WorkerCollector(workers, watchdog.condition, health, reporter.latencies)
        app.background.insert(0, HttpServer(settings.http, settings.engine.data_dir, health, registry_of(numbers)))


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    config = os.environ.get("HEADRACE_CONFIG")
    app = build_app(load_settings(Path(config) if config else None, os.environ))
    globals()["app"] = app
    return app
