"""Records of the ``metrics`` topic: a tagged union of JSON objects, told apart by ``type``.

A reader skips fields that it does not know, and rejects records of a type that it does not know. Confidence intervals
are at 95 %, as ``[lower, upper]``. ``None`` stands where there is no estimate yet.
"""

from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from streams.contract.errors import RejectedRecord

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Interval = tuple[float, float]
"""Lower and upper end."""

Verdict = Literal["better", "worse", "not distinguishable"]


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of a distribution, in the unit of the field that holds them."""

    p50: float
    p95: float
    p99: float


class PartitionMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Exact totals of a source partition since its first record; they survive restarts and change of the worker.

    Attributes:
        lag: Records still to be applied.
        applied_offset: Highest source offset that is applied, with its epoch above bit 48; of two records of a
            partition the higher one is newer.
        watermark_ms: Event time that the partition has reached, -1 before the first event.
        applied_positions: Reader, such as a learner, to partition of the upstream source to the highest source position
            applied, as ``(epoch, offset, index)``.
        counts: ``applied``, ``duplicates``, ``late``, ``clock_ahead``, ``dead_letters.<reason>``, ``kinds.<kind>`` and
            others.
        exposures: Policy to users, Σn, Σc, Σn², Σnc, Σc² over users, n slots shown to and c clicks of one user.
        funnel: Category to views, additions to the cart, and purchases.
        slots: Policy to the candidate source of an item to slots decided, shown and clicked.
        sales: Policy to the additions to the cart, the purchases and their money, in hundredths of the shop's currency,
            that its decisions have earned by the declared rewards.
    """

    lag: int
    applied_offset: int
    schema: int
    watermark_ms: int
    applied_positions: dict[str, dict[int, tuple[int, int, int]]]
    counts: dict[str, Count]
    exposures: dict[str, tuple[Count, Count, Count, Count, Count, Count]]
    funnel: dict[str, tuple[Count, Count, Count]]
    slots: dict[str, dict[str, tuple[Count, Count, Count]]] = {}
    sales: dict[str, tuple[Count, Count, Count]] = {}


class FoldMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of one fold in a worker.

    Attributes:
        records_per_s: Over the interval.
        records: Records since the worker started, with repeated ones.
        step_us_per_record: Step of a batch to its mean time since the worker started, microseconds.
        latency_ms: Over the interval, from the record's timestamp to the delivery of its outputs; ``None`` where
            nothing was delivered.
        latency_ms_overall: The same since the worker started.
        partitions: Partition number to its totals.
    """

    records_per_s: float
    records: int
    step_us_per_record: dict[str, float]
    latency_ms: Percentiles | None
    latency_ms_overall: Percentiles | None
    partitions: dict[int, PartitionMetrics]


class ClickRate(msgspec.Struct, frozen=True):
    """Clicks by slots shown, with its interval clustered by user."""

    estimate: float
    ci95: Interval


class Lift(msgspec.Struct, frozen=True):
    """Relative difference of a policy's click rate to a control's; 0.1 is 10 % more clicks a slot.

    Attributes:
        ci95: Holds if it is looked at once, at a time that was set before; for all policies together (Bonferroni).
        anytime95: Holds whenever, and however often, it is looked at; likewise.
    """

    estimate: float
    ci95: Interval
    anytime95: Interval

    @property
    def verdict(self) -> Verdict:
        """Says which of the two has the higher click rate, by the bounds for any time."""
        low, high = self.anytime95
        return "better" if low > 0.0 else "worse" if high < 0.0 else "not distinguishable"


class PolicyTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions of one policy and their outcomes.

    Attributes:
        users: Users with an impression.
        impressions: Shown slots.
        ctr: ``None`` before the first impression.
        lift: Control to the lift over it, for each control that was shown; ``None`` before there are enough users and
            clicks. Empty for a control.
        carts: Additions to the cart of an item that a decision had shown, within the reward's window.
        purchases: The same of purchases.
        money: Price times quantity of these purchases, in the shop's currency; one without a price counts nothing.
    """

    decisions: int
    users: int
    impressions: int
    clicks: int
    ctr: ClickRate | None
    lift: dict[str, Lift | None]
    carts: int = 0
    purchases: int = 0
    money: float = 0.0


class FunnelTotals(msgspec.Struct, frozen=True):
    """Events of one category."""

    views: int
    carts: int
    purchases: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Exact totals of partitions of the clickstream since the first event.

    Attributes:
        applied: Events; late ones are among them.
        duplicates: Events dropped since their id was applied before.
        dead_letters: Reason to number of records.
        kinds: Kind to number of applied events.
        skipped_offsets: Source offsets that hold no record any more.
        unjoinable: Feedback to unknown decisions.
        decisions_unshown: Decisions that were dropped without an impression.
        shadows: Policy to number of its decisions for the log only.
        rewards: Type of reward to number of rewards.
        late_rewards: The same after the end of the decision's window.
        late_impressions: Impressions after the end of the decision's window.
        predictions_dropped: Target to the served predictions that are not measured: the shopper had too many open.
    """

    applied: int
    duplicates: int
    late: int
    dead_letters: dict[str, int]
    kinds: dict[str, int]
    skipped_offsets: int
    unjoinable: int
    decisions: int
    decisions_unshown: int
    shadows: dict[str, int]
    rewards: dict[str, int]
    late_rewards: dict[str, int]
    late_impressions: int
    predictions_dropped: dict[str, int]
    policies: dict[str, PolicyTotals]
    funnel: dict[str, FunnelTotals]


class LastRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """The present recovery from changelogs, or the last one.

    Attributes:
        rows: Rows read so far, without those of standbys.
        done: Share of the changelogs' offsets that was read.
        seconds: From the assignment of the partitions to the end, or so far.
    """

    rows: int
    rows_per_s: float
    done: float
    seconds: float


class RecoveryMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that a worker has read from changelogs since it started.

    Attributes:
        recovered_rows: Rows of partitions that it folds.
        standby_rows: Rows of its standby partitions.
        last: ``None`` before the first recovery.
    """

    recovered_rows: int
    standby_rows: int
    last: LastRecovery | None


class ExperimentMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment in force.

    Attributes:
        shares: Policy to its share of the users.
        shadows: Policies that decide for the log only.
        refused: Error in the latest record of ``experiments``; ``None`` if it is in force.
    """

    shares: dict[str, float]
    shadows: tuple[str, ...]
    refused: str | None


class WorkerMetrics(msgspec.Struct, frozen=True, kw_only=True, tag="worker"):
    """One interval of one worker.

    Attributes:
        source: ``worker/<host>-<process id>``.
        timestamp_ms: Time at which its measuring began, by the worker's clock.
        interval_s: Time since the worker's last record.
        totals: Totals of the worker's own partitions of the clickstream.
        experiment: ``None`` if the worker does not fold the clickstream.
        folds: Source topic to its fold.
        unread: ``<topic>-<partition>`` to its records, of the partitions that nobody reads, as far as this worker sees.
    """

    source: str
    timestamp_ms: int
    interval_s: float
    recovery: RecoveryMetrics
    totals: Totals
    experiment: ExperimentMetrics | None
    folds: dict[str, FoldMetrics]
    unread: dict[str, Count]


class ProbabilityQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of the probabilities that one model served, measured when their labels became final.

    Attributes:
        positives: Examples whose label was 1.
        auc: Probability that a positive was scored above a negative.
        log_loss: Weighted mean, nats.
        base_log_loss: Log loss of the observed rate of positives, given to everything; a useful model is below it.
        calibration: Sum of the probabilities by the sum of the labels; 1 is right, 2 is everything twice too high.
        threshold: Probability from which on predicting a positive has had the best F1; accuracy, precision, recall and
            f1 are at it.
    """

    examples: int
    positives: int
    auc: float | None
    log_loss: float | None
    base_log_loss: float | None
    calibration: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    threshold: float | None


class AmountQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of the expected amounts that one model served; errors are in the currency of the amounts.

    Attributes:
        positives: Examples whose amount was above zero.
        mean: Weighted mean of the amounts themselves.
        mae: Mean absolute error of what was served.
        base_mae: Mean absolute error of the mean of all amounts before.
        rmse: Root of the mean squared error; the expectation minimises it, the median minimises the MAE.
        base_rmse: The same of the mean of all amounts before.
        calibration: Sum of what was served by the sum of the amounts; 1 is right.
    """

    examples: int
    positives: int
    mean: float | None
    mae: float | None
    base_mae: float | None
    rmse: float | None
    base_rmse: float | None
    calibration: float | None


class Estimate(NamedTuple):
    """An estimate with its 95 % interval, clustered by user."""

    estimate: float
    low: float
    high: float


class ReliabilityBin(NamedTuple):
    """Predictions of about one probability.

    Attributes:
        probability: Mean of what was served.
        rate: Share of them whose label was 1.
    """

    probability: float
    rate: float
    examples: float


class ServedProbabilities(msgspec.Struct, frozen=True):
    """All that a target served; each prediction counts once.

    Attributes:
        quality: Of what a model served.
        from_prior: Predictions from the prior, since there was no model yet; they are in no measure.
        loss_above_base: Log loss less that of the rate of positives, after the first 500 positives; below 0 is better
            than knowing the rate alone. ``None`` before, or with users in fewer than eight groups.
        calibration: The same of the calibration; 1 is right.
        reliability: At most ten bins of about equally many predictions, the lowest probabilities first.
    """

    quality: ProbabilityQuality
    from_prior: int
    loss_above_base: Estimate | None
    calibration: Estimate | None
    reliability: list[ReliabilityBin] = []


class ServedAmounts(msgspec.Struct, frozen=True):
    """The same of amounts; the loss is the Tweedie deviance of power 1.5, its base that of the mean amount."""

    quality: AmountQuality
    from_prior: int
    loss_above_base: Estimate | None
    calibration: Estimate | None


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of the loss of what was served.

    Attributes:
        alarms: Rises of the loss so far.
        recoveries: Alarms after which half of the rise has gone again.
        open: Whether the last alarm has no recovery yet.
        window_examples: Examples in the window over which the loss is taken to be stationary.
        window_loss: Mean loss in it, clipped to [0, 1].
    """

    alarms: int
    recoveries: int
    open: bool
    window_examples: int
    window_loss: float


class ProbabilityModels(msgspec.Struct, frozen=True, kw_only=True, tag="probabilities"):
    """Models of a target whose labels are 0 or 1.

    Attributes:
        positives: Examples whose label was 1.
        served: All that was served.
        models: Name to quality on the sample that is learned from: each model and, of several, their ``mixture``.
        weights: Weights of the models in the mixture that serves, a replacement's among them; they sum to 1.
        switches: Number of changes of the champion.
        better_than: Models that were shown to be better than others, with these: each is compared with the first, by a
            test that may be looked at any time, at most 5 % of them wrong.
        replacement: Challenger that was started by a drift alarm, ``None`` for none.
    """

    positives: int
    served: ServedProbabilities
    models: dict[str, ProbabilityQuality]
    switches: int
    replacement: str | None
    drift: Drift
    weights: dict[str, float] = {}
    better_than: dict[str, list[str]] = {}


class AmountModels(msgspec.Struct, frozen=True, kw_only=True, tag="amounts"):
    """Models of a target whose labels are amounts; see :class:`ProbabilityModels`.

    Attributes:
        amount_sum: Sum of the labels, in the currency of the amounts.
    """

    amount_sum: float
    served: ServedAmounts
    models: dict[str, AmountQuality]
    switches: int
    replacement: str | None
    drift: Drift
    weights: dict[str, float] = {}
    better_than: dict[str, list[str]] = {}


class Rewards(msgspec.Struct, frozen=True, kw_only=True, tag="rewards"):
    """Rewards that a policy's model has learned from: a reward model's or the Q agent's.

    Attributes:
        mean_reward: By example, the declared weighted sum of all types.
        mean_reward_by_type: Type of reward to its mean by example, before weighting.
    """

    mean_reward: float
    mean_reward_by_type: dict[str, float]


LearnerQuality = ProbabilityModels | AmountModels | Rewards


class LearnerMetrics(msgspec.Struct, frozen=True, kw_only=True, tag="learner", omit_defaults=True):
    """State of one learner after it has learned.

    Attributes:
        source: ``learning/<learner>``.
        timestamp_ms: Event time of the latest prediction or decision learned from.
        learner: Name of a target or of a policy's model.
        version: Records learned from; of two records of a learner the higher one is newer.
        champion: Model of the greatest weight in the mixture that serves.
        demoted_bytes: Models that were too large to be stored or published, with their sizes; left out if none was.
    """

    source: str
    timestamp_ms: int
    learner: str
    version: int
    examples: int
    champion: str
    quality: LearnerQuality
    demoted_bytes: dict[str, int] = {}


class PolicyRegret(msgspec.Struct, frozen=True, kw_only=True):
    """Distance of one policy's slates from the best slates of the synthetic shop, in expected clicks.

    Attributes:
        slates: Shown slates.
        true_ctr: Mean true click probability of a slot.
        best_ctr: The same of the best slates.
        regret: Expected clicks that were missed, compared with the best slates.
    """

    slates: int
    true_ctr: float
    best_ctr: float
    regret: float
    regret_per_slate: float


class GroundTruthMetrics(msgspec.Struct, frozen=True, kw_only=True, tag="ground_truth"):
    """True click probabilities of what policies showed, which only a simulator knows.

    Attributes:
        source: ``simulator``.
        timestamp_ms: Time of the record, by the simulator's clock.
    """

    source: str
    timestamp_ms: int
    policies: dict[str, PolicyRegret]


MetricsRecord = WorkerMetrics | LearnerMetrics | GroundTruthMetrics

encode_metrics: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(MetricsRecord).decode


def decode_metrics(value: bytes | None) -> MetricsRecord:
    """Reads a record.

    Raises:
        RejectedRecord: with reason ``malformed``: it is no metrics record, or of a type that is not known here.
    """
    try:
        record: MetricsRecord = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", str(error)) from error
    if isinstance(record, LearnerMetrics):
        models = None if isinstance(record.quality, Rewards) else record.quality.models
        if models is not None and record.champion not in models:
            raise RejectedRecord("malformed", f"champion {record.champion!r} is none of the models {sorted(models)}")
    return record
