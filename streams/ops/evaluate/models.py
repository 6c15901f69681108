"""``headrace evaluate models``: progressive validation over several orders of the examples, and the report of it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from streams.contract.settings import Member, Target
from streams.core.models.blend import BLEND
from streams.core.models.measures import auc, average_precision, brier, calibration, losses
from streams.core.models.progressive import Progress, progressive_validation
from streams.ops.evaluate.table import Table
from streams.ops.evaluate.trees import TREES, tree_probabilities
from streams.ops.evaluate.yardstick import yardstick_probabilities

Float64Array = NDArray[np.float64]

TRAINED_SHARE: Final = 0.7
"""Of each order; the yardstick is trained on it, and what is said of the rest is compared."""

MEMBERS: Final[tuple[Member, ...]] = ("blend", "linear", "ftrl", "additive", "kernel", "perceptron")
PRIOR: Final = 0.2

_TIMED_EXAMPLES: Final = 4000
_TIMED_BATCH: Final = 1000


class Options(NamedTuple):
    """What to measure.

    Attributes:
        members: Champion first.
        trees: Whether to measure trees, too, which can be evaluated only.
        yardstick: Whether to train batch gradient boosting on the same split.
    """

    members: tuple[Member, ...] = MEMBERS
    seeds: int = 3
    trees: bool = False
    yardstick: bool = False


class Curve(NamedTuple):
    """What one learner said of the examples of the first order, for the plot."""

    name: str
    probabilities: Float64Array
    labels: Float64Array


class Outcome(NamedTuple):
    """The report, and the curves of the first order."""

    report: dict[str, Any]
    curves: list[Curve]


def evaluate_table(name: str, table: Table, options: Options, advance: Callable[[int], None]) -> Outcome:
    """Measures a family on a table: each seed is an order of its own, unless a time column gives the order.

    Raises:
        ConfigurationError: The yardstick's extra is not installed.
    """
    target = Target(name=name, label="purchase", horizon_s=1, sampling_rate=1.0, prior=PRIOR, members=options.members)
    measured: dict[str, list[dict[str, float]]] = {}
    champions: list[list[list[Any]]] = []
    curves: list[Curve] = []
    for seed in range(options.seeds):
        random = np.random.default_rng(seed)
        order = np.arange(len(table.labels)) if table.ordered else random.permutation(len(table.labels))
        vectors, labels = table.vectors[order], table.labels[order]
        progress = progressive_validation(target, table.schema, vectors, labels, seed, advance, known=table.known)
        champions.append([list(change) for change in progress.champions])
        said = _said(progress)
        if options.trees:
            for tree in TREES:
                said[tree] = tree_probabilities(tree, table.schema, vectors, labels, seed), None
        for learner, (given, alarms) in said.items():
            measured.setdefault(learner, []).append(_measures(given, alarms, labels))
        if options.yardstick:
            given = yardstick_probabilities(table.raw[order], labels, table.categorical, TRAINED_SHARE, seed)
            measured.setdefault(_YARDSTICK, []).append(_last_measures(given, labels[-len(given) :]))
        if not curves:
            curves = [Curve(learner, given, labels) for learner, (given, _) in said.items()]
    costs = _costs(target, table)
    report: dict[str, Any] = {
        "label": name,
        "examples": len(table.labels),
        "positives": int(table.labels.sum()),
        "features": len(table.schema.names),
        "seeds": options.seeds,
        "champions": champions,
        "champion": _summary(measured[_CHAMPION]) | {"us_per_event": costs[_CHAMPION]},
        "models": {
            learner: _summary(runs) | ({"us_per_event": costs[learner]} if learner in costs else {})
            for learner, runs in measured.items()
            if learner not in {_CHAMPION, _YARDSTICK}
        },
    }
    if options.yardstick:
        behind = [
            batch["auc_last30"] - own["auc_last30"]
            for batch, own in zip(measured[_YARDSTICK], measured[_CHAMPION], strict=True)
        ]
        report["yardstick"] = {"model": "scikit-learn HistGradientBoosting"} | _summary(measured[_YARDSTICK])
        report["champion"]["auc_last30_behind_yardstick"] = round(float(np.mean(behind)), 5)
    return Outcome(report, curves)


_CHAMPION: Final = "champion"
_YARDSTICK: Final = "yardstick"
_Said = dict[str, tuple[Float64Array, NDArray[np.bool_] | None]]


def _said(progress: Progress) -> _Said:
    said: _Said = {_CHAMPION: (progress.champion, progress.alarms[:, -1])}
    for column, member in enumerate(progress.members):
        said[member] = progress.probabilities[:, column], progress.alarms[:, column]
    return said


def _measures(given: Float64Array, alarms: NDArray[np.bool_] | None, labels: Float64Array) -> dict[str, float]:
    rest = int(len(labels) * TRAINED_SHARE)
    measures = {
        "auc": auc(given, labels),
        "auc_last30": auc(given[rest:], labels[rest:]),
        "average_precision": average_precision(given, labels),
        "log_loss": float(losses(given, labels).mean()),
        "log_loss_last30": float(losses(given[rest:], labels[rest:]).mean()),
        "brier": brier(given, labels),
        "calibration": calibration(given, labels),
    }
    if alarms is not None:
        hits = float((alarms & (labels > 0.5)).sum())
        measures |= {
            "accuracy": float((alarms == (labels > 0.5)).mean()),
            "precision": hits / max(float(alarms.sum()), 1.0),
            "recall": hits / float(labels.sum()),
            "f1": 2.0 * hits / float(alarms.sum() + labels.sum()),
        }
    return measures


def _last_measures(given: Float64Array, labels: Float64Array) -> dict[str, float]:
    return {
        "auc_last30": auc(given, labels),
        "average_precision": average_precision(given, labels),
        "log_loss_last30": float(losses(given, labels).mean()),
        "brier": brier(given, labels),
        "calibration": calibration(given, labels),
    }


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means over the orders, and under ``std`` their standard deviations."""
    means = {name: round(float(np.mean([run[name] for run in runs])), 5) for name in runs[0]}
    return means | {"std": {name: round(float(np.std([run[name] for run in runs])), 5) for name in runs[0]}}


def _costs(target: Target, table: Table) -> dict[str, float]:
    """CPU time to test and learn an example, in batches: of each member alone, and of the family, which serves."""
    part = slice(0, _TIMED_EXAMPLES)
    vectors, labels = table.vectors[part], table.labels[part]

    def us_per_event(timed: Target) -> float:
        begun_ns = time.process_time_ns()
        progressive_validation(timed, table.schema, vectors, labels, seed=0, batch=_TIMED_BATCH)
        return round((time.process_time_ns() - begun_ns) / 1000.0 / len(labels), 1)

    whole = us_per_event(target)
    costs = {_CHAMPION: whole}
    for member in target.members:
        costs[member] = whole if member == BLEND else us_per_event(replace(target, members=(member,)))
    return costs
