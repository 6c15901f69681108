"""What the page shows: its bands as JSON objects. Figures of the metrics topic keep their names and shapes."""

from typing import NamedTuple

import msgspec

from streams.contract.metrics import (
    ClickRate,
    FunnelTotals,
    Interval,
    LastRecovery,
    Lift,
    Percentiles,
    ProbabilityQuality,
    ReliabilityBin,
    Verdict,
)
from streams.serving.page.decisions import ListedDecision
from streams.serving.page.shop import Product
from streams.serving.page.shoppers import ListedShopper


class Sales(NamedTuple):
    """What was put into the cart and bought after a decision had shown it."""

    carts: float
    purchases: float
    money: float


class LiftOver(msgspec.Struct, frozen=True):
    """A policy against one control.

    Attributes:
        lift: ``None`` while it is too early.
        more_users: Users that may be needed until the bound for any time leaves 0 out, if the estimate stays; ``None``
            where it is decided, too early, or out of reach.
        extra_clicks: Clicks above those that the control's rate would have brought, with the bounds for any time.
        extra_sales: Additions to the cart, purchases and money above those that the control's rates would have brought;
            ``None`` before both were shown. Counted, not tested: they have no bounds.
    """

    control: str
    lift: Lift | None
    verdict: Verdict | None
    more_users: int | None
    extra_clicks: tuple[float, Interval] | None
    extra_sales: Sales | None


class PolicyWorth(msgspec.Struct, frozen=True):
    """A policy's totals."""

    policy: str
    decisions: int
    users: int
    impressions: int
    clicks: int
    ctr: ClickRate | None
    sales: Sales
    over: list[LiftOver]


class Worth(msgspec.Struct, frozen=True):
    """Band 1: is it worth it?

    Attributes:
        leader: Policy with the most decisions that is no control.
        is_simulated: Whether the shoppers are made up.
    """

    leader: str | None
    policies: list[PolicyWorth]
    is_simulated: bool


class Series(msgspec.Struct, frozen=True):
    """Time series, one value for each time; ``None`` where nothing was measured.

    Attributes:
        times_s: Seconds since the epoch, by the workers' clocks.
        shares: Policy to its share of the decisions since the time before.
    """

    times_s: list[float]
    shares: dict[str, list[float | None]]
    events_per_s: list[float]
    p50_ms: list[float | None]
    lag: list[int]


class Doing(msgspec.Struct, frozen=True):
    """Band 2: what is it doing?

    Attributes:
        decisions: A sample of the newest decisions, newest first, changed one by one so that they can be read.
        per_s: All decisions in a second, of the time since the last push.
    """

    decisions: list[ListedDecision]
    per_s: float


class ServedModel(msgspec.Struct, frozen=True):
    """Champion or challenger, on the sample that is learned from."""

    model: str
    examples: int
    auc: float | None
    log_loss: float | None
    base_log_loss: float | None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What one target served.

    Attributes:
        quality: ``None`` for amounts.
        error: Root mean squared error of amounts and that of their mean; ``None`` for probabilities.
        label_delay_s: Event time from the latest prediction learned from to the newest event.
        horizon_s: Time for which a label is waited for.
    """

    target: str
    champion: str
    examples: int
    positives: int
    quality: ProbabilityQuality | None
    error: tuple[float | None, float | None] | None
    calibration: float | None
    reliability: list[ReliabilityBin]
    from_prior: int
    models: list[ServedModel]
    switches: int
    alarms: int
    is_drifting: bool
    label_delay_s: float | None
    horizon_s: float


class Belief(msgspec.Struct, frozen=True):
    """Band 3: can it be believed?"""

    targets: list[Target]


class TrendingItem(msgspec.Struct, frozen=True):
    """An item that is viewed more often in the last hour than in the six before.

    Attributes:
        before: Views in an hour before, on average.
    """

    item_id: str
    title: str
    views: int
    before: float


class NewItem(msgspec.Struct, frozen=True):
    """An item that was first seen lately."""

    item_id: str
    title: str
    first_seen_ms: int
    impressions: float
    ctr: float


class Who(msgspec.Struct, frozen=True):
    """Band 4: who and what?

    Attributes:
        buyers: Likely buyers; empty where shoppers are not named.
        leavers: Shoppers about to leave, likewise.
    """

    funnel: dict[str, FunnelTotals]
    trending: list[TrendingItem]
    new: list[NewItem]
    buyers: list[ListedShopper]
    leavers: list[ListedShopper]


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One fold over all of its workers that report.

    Attributes:
        workers: Their number.
        watermark_age_s: Event time from the lowest watermark of its partitions to the newest event.
    """

    fold: str
    source: str
    workers: int
    records_per_s: float
    latency_ms: Percentiles | None
    lag: int
    watermark_age_s: float | None


class Books(msgspec.Struct, frozen=True):
    """Accounts of the clickstream: read = applied + duplicates + dead letters + skipped.

    Attributes:
        published: Records that were published, as far as the workers know.
        read: Records that were read, by their offsets; ``None`` after the topic was made anew.
    """

    published: int | None
    read: int | None
    applied: int
    duplicates: int
    dead_letters: int
    skipped: int
    waiting: int


class WorkerState(msgspec.Struct, frozen=True):
    """A worker that reports."""

    worker: str
    folds: list[str]
    age_s: float
    recovery: LastRecovery | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Band 5: is it healthy?

    Attributes:
        problems: Sentences for people, the worst first; empty if all is well.
        is_alive: Whether the clickstream is folded.
    """

    problems: list[str]
    is_alive: bool
    folds: list[Fold]
    books: Books
    late_share: float | None
    dead_letters: dict[str, int]
    workers: list[WorkerState]
    events_age_s: float | None
    event_time_ms: int


class You(msgspec.Struct, frozen=True):
    """The visitor of the sample shop.

    Attributes:
        decision: The last one; ``None`` before it.
        probabilities: Target to what is predicted of the visitor.
        reasons: Target to the groups of features that moved it the most, in log-odds.
        slate: Product of each slot.
    """

    decision: ListedDecision | None
    probabilities: dict[str, float]
    amounts: dict[str, float]
    reasons: dict[str, list[tuple[str, float]]]
    cart: list[Product]
    slate: list[Product]
