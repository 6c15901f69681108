"""Targets as the demo shows them: all that was served, and how far it is from knowing the rate alone."""

from typing import Any

from msgspec.structs import asdict
from rich.table import Table

from streams.contract.metrics import (
    AmountQuality,
    Estimate,
    ProbabilityQuality,
    Rewards,
    ServedAmounts,
    ServedProbabilities,
)
from streams.demo.table import new_table
from streams.observability.metrics_view import MetricsView

Served = ServedProbabilities | ServedAmounts


def served_by_target(metrics_view: MetricsView) -> dict[str, Served]:
    """Returns the quality of what each target served."""
    qualities = {name: record.quality for name, record in metrics_view.learners().items()}
    return {name: quality.served for name, quality in qualities.items() if not isinstance(quality, Rewards)}


def targets_table(metrics_view: MetricsView) -> Table:
    """Draws a line for each target: what it served, and its loss less that of the rate, or the mean amount, alone."""
    table = new_table("target", ("served", "positives", "from prior", "AUC", "loss above base", "calibration"))
    for name, served in served_by_target(metrics_view).items():
        quality = served.quality
        table.add_row(
            name,
            f"{quality.examples:,}",
            f"{quality.positives:,}",
            f"{served.from_prior:,}",
            "-" if isinstance(quality, AmountQuality) or quality.auc is None else f"{quality.auc:.3f}",
            _with_half(served.loss_above_base, "+.3f"),
            _with_half(served.calibration, ".2f"),
        )
    return table


def aucs(metrics_view: MetricsView) -> dict[str, float]:
    """Returns the AUC of what each target served, where it has one."""
    qualities = {name: served.quality for name, served in served_by_target(metrics_view).items()}
    return {
        name: quality.auc
        for name, quality in qualities.items()
        if isinstance(quality, ProbabilityQuality) and quality.auc is not None
    }


def targets_report(metrics_view: MetricsView) -> dict[str, dict[str, Any]]:
    """Reports ``targets`` with labels 0 and 1, and ``amounts``, over all that was served.

    Of each the fields of its quality, ``served_from_prior``, ``dropped``, and after the first 500 positives
    ``later`` with ``loss_above_base`` and ``calibration``, each with its interval clustered by user.
    """
    dropped = metrics_view.totals().predictions_dropped
    report: dict[str, dict[str, Any]] = {"targets": {}, "amounts": {}}
    for name, served in served_by_target(metrics_view).items():
        kind = "amounts" if isinstance(served, ServedAmounts) else "targets"
        report[kind][name] = asdict(served.quality) | {
            "served_from_prior": served.from_prior,
            "dropped": dropped.get(name, 0),
            "later": {
                "loss_above_base": _spelled(served.loss_above_base),
                "calibration": _spelled(served.calibration),
            },
        }
    return report


def _with_half(estimate: Estimate | None, form: str) -> str:
    """Formats an estimate with half the width of its interval."""
    if estimate is None:
        return "-"
    return f"{estimate.estimate:{form}} ±{estimate.high - estimate.estimate:{form.removeprefix('+')}}"


def _spelled(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else estimate._asdict()
