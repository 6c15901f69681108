"""The Faust app: the only place where agents, tables and settings come together.

``faust -A streams.app worker`` and ``headrace worker`` both run it. Nothing connects when this module is imported.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

from streams.agents import FOLDS
from streams.contract.errors import ConfigurationError
from streams.contract.names import Names
from streams.contract.settings import Settings, load_settings
from streams.contract.topics import SOURCES
from streams.engine.app import BatchApp
from streams.engine.global_tables import GlobalTableReader
from streams.engine.worker import FoldWorker
from streams.observability.alerts import AlertMonitor
from streams.observability.health import Health
from streams.observability.http_server import HttpServer
from streams.observability.logs import log_configuration
from streams.observability.metrics_reader import MetricsReader
from streams.observability.metrics_reporter import MetricsReporter
from streams.observability.prometheus import WorkerCollector, registry_of

AddFold = Callable[[BatchApp], FoldWorker]


def build_app(settings: Settings, folds: Sequence[str] = tuple(FOLDS)) -> BatchApp:
    """Builds the app of one worker.

    Args:
        folds: Which folds it runs, see :func:`consumer_group`.

    Raises:
        ConfigurationError: There is no such fold.
    """
    if unknown := set(folds) - set(FOLDS):
        raise ConfigurationError(f"there is no fold {sorted(unknown)[0]!r}; there are {', '.join(FOLDS)}")
    app = BatchApp(settings, consumer_group(settings.names, folds), reading_groups(settings.names))
    adders = [cast(AddFold, resolve_name(function)) for name, function in FOLDS.items() if name in folds]
    workers = [add(app) for add in adders]
    _watch(app, settings, {worker.engine.fold.source: worker for worker in workers})
    app.finalize()
    return app


def consumer_group(names: Names, folds: Sequence[str]) -> str:
    """Names the consumer group of workers with these folds.

    The group that reads the clickstream is ``engine.app_id``, which producers compare with what they have published.
    Other workers are groups of their own, so either every worker of a cluster runs all folds, or each fold runs on
    workers that all have the same folds.

    >>> consumer_group(Settings().names, ["learning", "items"]), consumer_group(Settings().names, ["behaviour"])
    ('headrace.items.learning', 'headrace')
    """
    return names.group() if "behaviour" in folds else names.group(*(name for name in FOLDS if name in folds))


def reading_groups(names: Names) -> dict[str, list[str]]:
    """Names the groups whose members may read each source: one for each choice of folds with the source's own.

    >>> reading_groups(Settings().names)["examples"]
    ['headrace', 'headrace.items.learning', 'headrace.learning']
    """
    choices = [folds for n in range(1, len(FOLDS) + 1) for folds in combinations(FOLDS, n)]
    return {
        source: sorted({consumer_group(names, folds) for folds in choices if fold in folds})
        for fold, source in SOURCES.items()
    }


def _watch(app: BatchApp, settings: Settings, workers: Mapping[str, FoldWorker]) -> None:
    """Adds what tells people how the worker is; it answers before the global tables are read."""
    watchdog, stalled_s = app.watchdog, settings.http.stalled_s
    global_tables = [service.progress for service in app.background if isinstance(service, GlobalTableReader)]
    reporter = MetricsReporter(settings, workers, watchdog.condition)
    app.background += [AlertMonitor(workers, watchdog.condition, global_tables, stalled_s), reporter]
    if settings.http.enabled:
        health = Health(lambda: app.is_started, watchdog.condition, stalled_s, workers.keys())
        reader = MetricsReader(settings)
        app.background.append(reader)
        numbers = WorkerCollector(workers, watchdog.condition, health, reporter.latencies, reader.application)
        app.background.insert(0, HttpServer(settings.http, settings.engine.data_dir, health, registry_of(numbers)))


def run_worker(
    settings: Settings, folds: Sequence[str] = tuple(FOLDS), loglevel: str = "warning", incident_level: str = "info"
) -> None:
    """Runs a worker; it returns by ending the process, with 0 after Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: There is no such fold.
    """
    app = build_app(settings, folds)
    configuration = log_configuration(settings.log.form, loglevel, incident_level)
    app.Worker(loglevel=loglevel, logging_config=configuration, quiet=True).execute_from_commandline()


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    config = os.environ.get("HEADRACE_CONFIG")
    app = build_app(load_settings(Path(config) if config else None, os.environ))
    globals()["app"] = app
    return app
