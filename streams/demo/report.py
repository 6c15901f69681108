"""Report of the demo, and its last lines."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import asdict
from rich.console import Console

from producers.simulator.closed_loop import regret_of
from producers.simulator.parameters import START_MS
from producers.simulator.simulation import SimulationSummary
from streams.contract.metrics import Percentiles
from streams.contract.topics import EXAMPLES, METRICS, SOURCES
from streams.demo.live_view import awaited
from streams.demo.policies_view import lift_line, lift_report, policies_table
from streams.demo.targets_view import targets_report, targets_table
from streams.observability.metrics_view import MetricsView


class FoldLag(msgspec.Struct, frozen=True):
    """Delay of one fold.

    Attributes:
        records: Records of its source that were not applied when the last event had been published.
        latency_ms: From the timestamp of a record of its source to the acknowledgement of its outputs, over the whole
            run; ``None`` where it had nothing to apply.
    """

    records: int
    latency_ms: Percentiles | None


class Outcome(NamedTuple):
    """The end of the shoppers.

    Attributes:
        left: Fold to the number of records of its source that were not applied when the last event had been published.
        learned: Number of records of ``examples`` that were applied by then.
    """

    summary: SimulationSummary
    left: Mapping[str, int]
    learned: int


def outcome_of(metrics_view: MetricsView, summary: SimulationSummary) -> Outcome:
    """Reads how far the folds are."""
    left = {fold: metrics_view.lag(source) for fold, source in SOURCES.items()}
    return Outcome(summary, left, metrics_view.records(EXAMPLES))


def make_report(metrics_view: MetricsView, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """Combines the workers' exact totals with the simulator's summary."""
    totals, summary = metrics_view.totals(), outcome.summary
    report = {
        "events": {
            "produced": summary.produced,
            "applied": totals.applied,
            "dead_letters": sum(totals.dead_letters.values()),
            "duplicates": totals.duplicates,
            "late": totals.late,
        },
        "decisions": totals.decisions,
        "impressions": sum(policy.impressions for policy in totals.policies.values()),
        "clicks": sum(policy.clicks for policy in totals.policies.values()),
        "purchases": summary.by_kind.get("purchase", 0),
        "unjoinable": totals.unjoinable,
        "fallbacks": summary.fallbacks,
        "policies": {
            name: asdict(policy) | (asdict(regret_of(summary.policies[name])) if name in summary.policies else {})
            for name, policy in totals.policies.items()
        },
        "lift": lift_report(totals.policies),
        **targets_report(metrics_view),
        "throughput_events_per_s": totals.applied / max(metrics_view.busy_s, 1e-9),
        "latency_ms": metrics_view.overall_latency_ms(),
        "lag": {
            fold: asdict(FoldLag(outcome.left[fold], metrics_view.overall_latency_ms(source)))
            for fold, source in SOURCES.items()
        },
        "learned_share": _learned_share(metrics_view, outcome),
        "rejected_metrics": metrics_view.rejected,
        "event_time_s": (summary.last_timestamp_ms - START_MS) / 1000.0,
        "seconds": seconds,
    }
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def _learned_share(metrics_view: MetricsView, outcome: Outcome) -> float | None:
    """Returns the share of the records of ``examples`` that were applied at the last event; ``None`` without any."""
    if not metrics_view.records(EXAMPLES):
        return None
    # Both are 0 if Learning was not ready by then.
    return outcome.learned / max(outcome.learned + outcome.left["learning"], 1)


def print_summary(console: Console, metrics_view: MetricsView, report: dict[str, Any]) -> None:
    """Prints the report's totals, and the last state of the view's tables."""
    events = report["events"]
    latency = report["latency_ms"] or {}
    console.print(
        f"{events['produced']:,} events published = {events['applied']:,} applied + {events['dead_letters']:,} dead "
        f"letters + {events['duplicates']:,} duplicates ({events['late']:,} applied late)"
    )
    console.print(
        f"{report['decisions']:,} decisions, {report['impressions']:,} slots shown, {report['clicks']:,} clicks, "
        f"{report['purchases']:,} purchases, {report['fallbacks']:,} shoppers who waited in vain"
    )
    console.print(
        f"{report['throughput_events_per_s']:,.0f} events/s, accepted by Kafka to decision acknowledged: "
        + ", ".join(f"{name} {value:.0f} ms" for name, value in latency.items())
    )
    learning = report["lag"]["learning"]["latency_ms"]
    if learning is not None:
        console.print(
            f"{report['learned_share']:.1%} of the examples were learned when the last event was published, "
            f"95 % of all within {learning['p95']:.0f} ms"
        )
    _print_tables(console, metrics_view)


def print_interrupted(console: Console, metrics_view: MetricsView, seconds: float) -> None:
    """Prints what was done until the demo was interrupted; nothing if nothing was applied."""
    totals = metrics_view.totals()
    if not totals.applied:
        return
    console.print(
        f"interrupted after {seconds:.0f} s: {totals.applied:,} events applied, "
        f"{sum(totals.dead_letters.values()):,} dead letters, {totals.duplicates:,} duplicates, "
        f"{totals.decisions:,} decisions; {awaited(metrics_view)}"
    )
    _print_tables(console, metrics_view)


def _print_tables(console: Console, metrics_view: MetricsView) -> None:
    console.print()
    console.print(targets_table(metrics_view))
    console.print()
    policies = metrics_view.totals().policies
    console.print(policies_table(policies, metrics_view.ground_truth()))
    console.print(lift_line(policies))
    if metrics_view.rejected:
        console.print(f"{metrics_view.rejected:,} records of {METRICS} could not be read and are not in these numbers")
