"""Metrics that a worker exposes to Prometheus, each with its definition. This is the only list."""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Scope = Literal["partition", "process", "application"]
"""What a series is of, which decides how series of several workers go together.

``partition``: exactly one worker has the partition; take each partition once, and add up. ``process``: of this worker.
``application``: of all partitions and learners, read from the topic ``metrics``; each worker exposes the same number.
"""

_FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
_PLACE: Final = ("topic", "partition")


class Exposed(NamedTuple):
    """Declaration of one metric.

    Attributes:
        name: As a query names it; a histogram's without ``_bucket``, ``_sum`` and ``_count``.
        help: Definition with its unit, one line.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    scope: Scope
    labels: tuple[str, ...]
    help: str


def _partition(name: str, labels: tuple[str, ...], help_: str) -> Exposed:
    return Exposed(name, "counter" if name.endswith("_total") else "gauge", "partition", (*_PLACE, *labels), help_)


def _process(name: str, labels: tuple[str, ...], help_: str) -> Exposed:
    return Exposed(name, "counter" if name.endswith("_total") else "gauge", "process", labels, help_)


def _application(name: str, labels: tuple[str, ...], help_: str) -> Exposed:
    return Exposed(name, "counter" if name.endswith("_total") else "gauge", "application", labels, help_)


EXPOSED: Final = (
    # Is it worth it?
    _partition("headrace_decisions_total", ("policy",), "Decisions made, by the policy that decided."),
    _partition("headrace_shadow_decisions_total", ("policy",), "Decisions for the log only, by policy."),
    _partition("headrace_decisions_unshown_total", (), "Decisions dropped without an impression."),
    _partition("headrace_exposed_users_total", ("policy",), "Users with at least one impression, by policy."),
    _partition("headrace_impressions_total", ("policy",), "Slots shown, by policy; each slot of a decision once."),
    _partition("headrace_clicks_total", ("policy",), "Slots clicked, by policy; each slot of a decision once."),
    _partition("headrace_policy_carts_total", ("policy",), "Additions to the cart credited to a decision, by policy."),
    _partition("headrace_policy_purchases_total", ("policy",), "Purchases credited to a decision, by policy."),
    _partition("headrace_policy_money_total", ("policy",), "Money of these purchases, in the shop's currency."),
    _partition(
        "headrace_slots_total",
        ("policy", "source", "outcome"),
        "Slots by policy and the candidate source of their item: decided, shown, clicked; caller for given candidates.",
    ),
    _partition("headrace_rewards_total", ("type",), "Rewards credited to a decision, by type."),
    _partition("headrace_late_rewards_total", ("type",), "Rewards after the end of the decision's window, by type."),
    _partition("headrace_late_impressions_total", (), "Impressions after the end of the decision's window."),
    _application(
        "headrace_lift_ratio",
        ("policy", "control"),
        "Click rate of the policy by that of the control, less 1; absent while there are too few users or clicks.",
    ),
    _application(
        "headrace_lift_bound_ratio",
        ("policy", "control", "holds", "bound"),
        "95 % bounds (lower, upper) of the lift, clustered by user; they hold for one look (once) or always (anytime).",
    ),
    # Can it be believed?
    _application(
        "headrace_predictions_measured_total",
        ("target", "by"),
        "Served predictions whose label is final, by whether a model or the prior served them.",
    ),
    _application(
        "headrace_positives_total", ("target",), "Predictions by a model whose final label is 1, or an amount above 0."
    ),
    _partition(
        "headrace_predictions_dropped_total",
        ("target",),
        "Served predictions that are not measured: the shopper had too many open.",
    ),
    _application(
        "headrace_auc_ratio", ("target",), "Probability that a positive was scored above a negative, of all served."
    ),
    _application("headrace_log_loss_nats", ("target",), "Mean log loss of all served, nats."),
    _application("headrace_base_log_loss_nats", ("target",), "Mean log loss of the observed rate of positives, nats."),
    _application(
        "headrace_absolute_error", ("target",), "Mean absolute error of expected amounts, in the shop's currency."
    ),
    _application(
        "headrace_base_absolute_error",
        ("target",),
        "Mean absolute error of the mean of all amounts before, in the shop's currency.",
    ),
    _application(
        "headrace_loss_above_base",
        ("target",),
        "Loss less that of the rate alone, after 500 positives: nats; of amounts the Tweedie deviance of power 1.5.",
    ),
    _application(
        "headrace_loss_above_base_bound",
        ("target", "bound"),
        "The same, 95 % bounds (lower, upper), clustered by user; below 0 is better than knowing the rate alone.",
    ),
    _application(
        "headrace_calibration_ratio", ("target",), "Sum of what was served by the sum of the labels; 1 is right."
    ),
    _application(
        "headrace_calibration_bound_ratio",
        ("target", "bound"),
        "The same after 500 positives, 95 % bounds (lower, upper), clustered by user.",
    ),
    _application("headrace_drift_alarms_total", ("target",), "Rises of the loss of what was served."),
    _application("headrace_drift_open", ("target",), "1 while the last drift alarm has no recovery."),
    _application("headrace_champion_switches_total", ("target",), "Changes of the model of the greatest weight."),
    _application("headrace_examples_learned_total", ("learner",), "Examples learned from."),
    _application("headrace_learned_records_total", ("learner",), "Records learned from: the version of the models."),
    _application(
        "headrace_learned_timestamp_seconds",
        ("learner",),
        "Event time of the latest prediction or decision learned from, Unix time in seconds.",
    ),
    _application("headrace_mean_reward", ("learner",), "Mean weighted reward by example, of a policy's model."),
    # Is it healthy?
    _partition(
        "headrace_events_total", ("outcome",), "Records by what became of them; late and clock_ahead are applied, too."
    ),
    _partition("headrace_applied_events_total", ("kind",), "Events of the clickstream applied, by kind."),
    _partition("headrace_dead_letters_total", ("reason",), "Records that could not be applied, by reason."),
    _partition("headrace_watermark_timestamp_seconds", (), "Event time reached, Unix time in seconds."),
    _partition("headrace_watermark_jumps_total", (), "Advances of a watermark by more than a day at once."),
    _partition("headrace_next_offset", (), "Source offset that comes next."),
    _partition("headrace_lag_records", (), "Records still to be folded, of the partitions of this worker."),
    _application(
        "headrace_unread_records", _PLACE, "Records of a partition that nobody reads, as seen by every other worker."
    ),
    _process("headrace_records_total", ("topic",), "Records taken since the start, repeats too."),
    _process("headrace_batches_total", ("topic",), "Batches acknowledged since the start."),
    _process("headrace_step_seconds_total", ("topic", "step"), "Time spent by step of a batch, seconds."),
    Exposed(
        "headrace_latency_seconds",
        "histogram",
        "process",
        ("topic",),
        "Time from the record's timestamp to the delivery of its outputs, seconds.",
    ),
    _process("headrace_healthy", (), "1 while the worker moves, 0 if it should be started again."),
    _process("headrace_ready", (), "1 while the worker is ready, as /readyz answers."),
    _process("headrace_assigned_partitions", (), "Source partitions assigned to this worker."),
    _process("headrace_recovered_rows_total", (), "Rows read from changelogs for its own partitions."),
    _process("headrace_standby_rows_total", (), "Rows read from changelogs as a standby of others."),
    _process("headrace_standby_left_offsets", (), "Offsets to read until the standbys are ready."),
    _process("headrace_recovery_done_ratio", (), "Share of changelog offsets read, of the present or last recovery."),
    _process("headrace_recovery_rows_per_second", (), "Rows read per second, of the same recovery."),
    _process(
        "headrace_metrics_records_total",
        ("outcome",),
        "Records of the topic metrics that this worker has read (taken, rejected) for what is of the application.",
    ),
)


class Families:
    """Samples of one scrape, under the metrics of :data:`EXPOSED` and no others."""

    def __init__(self) -> None:
        self._declared = {each.name: each for each in EXPOSED}
        self._families: dict[str, Any] = {
            each.name: _FAMILIES[each.kind](each.name, each.help, labels=each.labels) for each in EXPOSED
        }

    def add(self, name: str, value: float, **labels: str) -> None:
        """Adds a sample of a counter or gauge.

        Raises:
            ValueError: The labels are not those of the metric.
        """
        self._families[name].add_metric(self._ordered(name, labels), value)

    def add_histogram(self, name: str, buckets: list[tuple[str, float]], total: float, **labels: str) -> None:
        """Adds a histogram.

        Args:
            buckets: Upper edge to the number of observations at or below it, ``+Inf`` last.
            total: Sum of the observations.
        """
        self._families[name].add_metric(self._ordered(name, labels), buckets, total)

    def all(self) -> Iterable[Metric]:
        return self._families.values()

    def _ordered(self, name: str, labels: dict[str, str]) -> list[str]:
        expected = self._declared[name].labels
        if labels.keys() != set(expected):
            raise ValueError(f"{name} has the labels {expected}, not {tuple(labels)}")
        return [labels[label] for label in expected]
