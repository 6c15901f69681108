"""``headrace evaluate models``: progressive validation over several orders of the examples, and its report."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from streams.contract.settings import Target
from streams.core.models.blend import BLEND
from streams.core.models.measures import auc, average_precision, brier, calibration, losses
from streams.evaluation.baseline import baseline_probabilities
from streams.evaluation.progressive import MODELS_OF_VECTORS, Progress, progressive_validation
from streams.evaluation.table import Table

Float64Array = NDArray[np.float64]

TRAINED_SHARE: Final = 0.7
"""Share of each order that the baseline is trained on; the predictions for the rest are compared."""

MEMBERS: Final = (BLEND, *MODELS_OF_VECTORS)
PRIOR: Final = 0.2

_TIMED_EXAMPLES: Final = 4000
_TIMED_BATCH: Final = 1000


class Options(NamedTuple):
    """Options of the comparison.

    Attributes:
        models: Names of the models.
        baseline: Whether to train batch gradient boosting on the same split.
    """

    models: tuple[str, ...] = MEMBERS
    seeds: int = 3
    baseline: bool = False


class Curve(NamedTuple):
    """One learner's predictions on the first order, for the plot."""

    name: str
    probabilities: Float64Array
    labels: Float64Array


class Outcome(NamedTuple):
    """The report, and the curves of the first order."""

    report: dict[str, Any]
    curves: list[Curve]


def evaluate_table(name: str, table: Table, options: Options, advance: Callable[[int], None]) -> Outcome:
    """Measures the models on a table, in a random order for each seed unless a time column gives the order.

    Raises:
        ConfigurationError: The baseline's extra is not installed.
    """
    target = Target(name=name, label="purchase", horizon_s=1, sampling_rate=1.0, prior=PRIOR, models=options.models)
    measured: dict[str, list[dict[str, float]]] = {}
    champions: list[list[list[Any]]] = []
    curves: list[Curve] = []
    for seed in range(options.seeds):
        random = np.random.default_rng(seed)
        order = np.arange(len(table.labels)) if table.ordered else random.permutation(len(table.labels))
        vectors, labels = table.vectors[order], table.labels[order]
        progress = progressive_validation(target, table.schema, vectors, labels, seed, advance, known=table.known)
        champions.append([list(change) for change in progress.champions])
        predictions = _predictions(progress)
        for learner, (given, alarms) in predictions.items():
            measured.setdefault(learner, []).append(_measures(given, alarms, labels))
        if options.baseline:
            given = baseline_probabilities(table.raw[order], labels, table.categorical, TRAINED_SHARE, seed)
            measured.setdefault(_BASELINE, []).append(_last_measures(given, labels[-len(given) :]))
        if not curves:
            curves = [Curve(learner, given, labels) for learner, (given, _) in predictions.items()]
    costs = _costs(target, table)
    report: dict[str, Any] = {
        "label": name,
        "positive": table.positive,
        "negative": table.negative,
        "examples": len(table.labels),
        "positives": int(table.labels.sum()),
        "features": len(table.schema.names),
        "columns": table.columns,
        "seeds": options.seeds,
        "champions": champions,
        "champion": _summary(measured[_CHAMPION]) | {"us_per_event": costs[_CHAMPION]},
        "models": {
            learner: _summary(runs) | ({"us_per_event": costs[learner]} if learner in costs else {})
            for learner, runs in measured.items()
            if learner not in {_CHAMPION, _BASELINE}
        },
    }
    if options.baseline:
        behind = [
            batch["auc_last30"] - own["auc_last30"]
            for batch, own in zip(measured[_BASELINE], measured[_CHAMPION], strict=True)
        ]
        report["baseline"] = {"model": "scikit-learn HistGradientBoosting"} | _summary(measured[_BASELINE])
        report["champion"]["auc_last30_behind_baseline"] = round(float(np.mean(behind)), 5)
    return Outcome(report, curves)


_CHAMPION: Final = "champion"
_BASELINE: Final = "baseline"
_Predictions = dict[str, tuple[Float64Array, NDArray[np.bool_]]]
"""Learner to its probabilities, and whether it predicted a positive."""


def _predictions(progress: Progress) -> _Predictions:
    predictions: _Predictions = {_CHAMPION: (progress.served, progress.alarms[:, -1])}
    for column, model in enumerate(progress.models):
        predictions[model] = progress.probabilities[:, column], progress.alarms[:, column]
    return predictions


def _measures(given: Float64Array, alarms: NDArray[np.bool_], labels: Float64Array) -> dict[str, float]:
    rest = int(len(labels) * TRAINED_SHARE)
    hits = float((alarms & (labels > 0.5)).sum())
    return {
        "auc": auc(given, labels),
        "auc_last30": auc(given[rest:], labels[rest:]),
        "average_precision": average_precision(given, labels),
        "log_loss": float(losses(given, labels).mean()),
        "log_loss_last30": float(losses(given[rest:], labels[rest:]).mean()),
        "brier": brier(given, labels),
        "calibration": calibration(given, labels),
        "accuracy": float((alarms == (labels > 0.5)).mean()),
        "precision": hits / max(float(alarms.sum()), 1.0),
        "recall": hits / float(labels.sum()),
        "f1": 2.0 * hits / float(alarms.sum() + labels.sum()),
    }


def _last_measures(given: Float64Array, labels: Float64Array) -> dict[str, float]:
    return {
        "auc_last30": auc(given, labels),
        "average_precision": average_precision(given, labels),
        "log_loss_last30": float(losses(given, labels).mean()),
        "brier": brier(given, labels),
        "calibration": calibration(given, labels),
    }


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Returns the means over the orders and, under ``std``, the standard deviations."""
    means = {name: round(float(np.mean([run[name] for run in runs])), 5) for name in runs[0]}
    return means | {"std": {name: round(float(np.std([run[name] for run in runs])), 5) for name in runs[0]}}


def _costs(target: Target, table: Table) -> dict[str, float]:
    """Measures the CPU time to test and learn an example, in batches, for each model alone and all together."""
    part = slice(0, _TIMED_EXAMPLES)
    vectors, labels = table.vectors[part], table.labels[part]

    def us_per_event(timed: Target) -> float:
        begun_ns = time.process_time_ns()
        progressive_validation(timed, table.schema, vectors, labels, seed=0, batch=_TIMED_BATCH)
        return round((time.process_time_ns() - begun_ns) / 1000.0 / len(labels), 1)

    whole = us_per_event(target)
    costs = {_CHAMPION: whole}
    for model in target.models:
        costs[model] = whole if model == BLEND else us_per_event(replace(target, models=(model,)))
    return costs
