"""State of the page: a fold of the public topics' records, without a clock, bounded, and independent of its viewers."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec

from streams.contract.catalogue import decode_catalogue_record
from streams.contract.records import decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, CLICKSTREAM, DECISIONS, METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.observability.metrics_view import MetricsView
from streams.serving.page.belief import belief
from streams.serving.page.decisions import Decisions
from streams.serving.page.document import Belief, Doing, Health, NewItem, Series, TrendingItem, Who, Worth, You
from streams.serving.page.health import SILENT_MS, health
from streams.serving.page.history import History, Point
from streams.serving.page.reader import PageRecord
from streams.serving.page.shop import Products
from streams.serving.page.shoppers import Act, Expected, Shoppers
from streams.serving.page.trends import Trends
from streams.serving.page.worth import worth

_SHOWN: Final = 6
_LISTED: Final = 8
_REPLAY_MS: Final = 6 * 3_600_000
"""Events that are older than this when they are written are of a replay or a simulation, not of now."""

_decode_act: Final = msgspec.json.Decoder(Act).decode
_decode_expected: Final = msgspec.json.Decoder(Expected).decode


class NewItems(Protocol):
    """Items by when they were first seen."""

    def newest(self, n: int) -> list[tuple[str, tuple[int, float, float]]]:
        """Returns the ``n`` newest items, each with its first event time, impressions and click rate."""
        ...


class PageState:
    """What the page knows.

    Args:
        items: The items that shoppers saw.

    Attributes:
        malformed: Records that were none of ours, which are left out.
        n_decisions: Decisions that were read.
    """

    def __init__(self, settings: Settings, items: NewItems) -> None:
        self._settings = settings
        self._items = items
        buying = next((each.name for each in settings.targets if each.label == "purchase"), None)
        spending = next((each.name for each in settings.targets if each.rule == "spend"), None)
        self.metrics = MetricsView()
        self.products = Products()
        self.shoppers = Shoppers(buying, spending)
        self.decisions = Decisions(self.shoppers, self.products.titles, settings.decisions)
        self._trends = Trends()
        self._history = History()
        self._shown: list[str] = []
        self._event_ms = -1
        self._written_ms = -1
        self.n_decisions = 0
        self.malformed = 0
        self._takers: Mapping[str, Callable[[PageRecord], None]] = {
            CLICKSTREAM: self._take_event,
            RECOMMENDATIONS: self._take_decision,
            DECISIONS: self._take_log,
            PREDICTIONS: self._take_prediction,
            METRICS: self._take_metrics,
            CATALOGUE: self._take_product,
        }

    def take(self, records: Iterable[PageRecord]) -> None:
        """Folds records, in the order of their partitions; anything may be in a topic."""
        for record in records:
            try:
                self._takers[record.topic](record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.malformed += 1

    def event_time_ms(self, now_ms: int) -> int:
        """Returns the shop's time: the clock's, or that of the events where they are of the past."""
        if self._written_ms - self._event_ms < _REPLAY_MS:
            return now_ms
        return self._event_ms + max(now_ms - self._written_ms, 0)

    def advance(self) -> None:
        """Replaces one of the decisions that are shown by the newest one."""
        newest = next(self.decisions.newest(), None)
        if newest is not None and newest not in self._shown:
            self.decisions.pin(newest)
            self._shown = [newest, *self._shown][:_SHOWN]

    # The bands.

    def worth(self) -> Worth:
        return worth(self.metrics)

    def series(self) -> Series:
        return self._history.series()

    def doing(self, per_s: float) -> Doing:
        """Describes the decisions that are shown; ``per_s`` is how many there are."""
        listed = map(self.decisions.listed, self._shown)
        return Doing([each for each in listed if each is not None], per_s)

    def belief(self) -> Belief:
        return belief(self.metrics, self._settings.targets, self._event_ms)

    def who(self, *, named: bool) -> Who:
        """Describes categories, items and shoppers; shoppers only if they may be named."""
        title = self.decisions.title
        return Who(
            self.metrics.totals().funnel,
            [TrendingItem(item, title(item), views, before) for item, views, before in self._trends.top(_LISTED)],
            [NewItem(item, title(item), *numbers) for item, numbers in self._items.newest(_LISTED)],
            self.shoppers.likely_buyers(self._event_ms, _LISTED) if named else [],
            self.shoppers.about_to_leave(self._event_ms, _LISTED) if named else [],
        )

    def health(self, now_ms: int) -> Health:
        self.metrics.forget_silent(now_ms - SILENT_MS)
        return health(self.metrics, self._event_ms, self._written_ms, now_ms)

    def you(self, user_id: str) -> You:
        """Describes one shopper, for whom the sample shop is open."""
        last = self.decisions.last_of(user_id)
        if last is not None:
            self.decisions.pin(last)
        listed = self.decisions.listed(last) if last is not None else None
        shopper = self.shoppers.find(user_id)
        expected = shopper.expected if shopper else None
        return You(
            listed,
            expected.probabilities if expected else {},
            expected.amounts if expected else {},
            {
                target: [(reason.group, reason.contribution) for reason in reasons]
                for target, reasons in (expected.reasons if expected else {}).items()
            },
            [self.products.find(item_id) for item_id in (shopper.cart if shopper else ())],
            [self.products.find(slot.item_id) for slot in (listed.slots if listed else ())],
        )

    # The records.

    def _take_event(self, record: PageRecord) -> None:
        act = _decode_act(record.value or b"")
        self._event_ms = max(self._event_ms, act.timestamp_ms)
        self._written_ms = max(self._written_ms, record.timestamp_ms)
        self.shoppers.take(act)
        self.decisions.take_act(act)
        if act.item_id is not None:
            self.products.name(act.item_id, act.category, act.price)
        if act.kind == "view" and act.item_id is not None:
            self._trends.take(act.item_id, act.timestamp_ms)

    def _take_decision(self, record: PageRecord) -> None:
        self.decisions.take(decode_recommendation(record.value or b""))
        self.n_decisions += 1

    def _take_log(self, record: PageRecord) -> None:
        self.decisions.take_log(record.value or b"")

    def _take_prediction(self, record: PageRecord) -> None:
        self.shoppers.expect(_decode_expected(record.value or b""))

    def _take_metrics(self, record: PageRecord) -> None:
        self.metrics.take(record.value)
        if self._history.is_due(record.timestamp_ms) and (totals := self.metrics.totals()).applied:
            latency = self.metrics.latency_ms()
            decisions = {policy: each.decisions for policy, each in totals.policies.items()}
            self._history.add(
                Point(
                    record.timestamp_ms,
                    decisions,
                    self.metrics.rate(),
                    latency.p50 if latency else None,
                    self.metrics.lag(),
                )
            )

    def _take_product(self, record: PageRecord) -> None:
        self.products.apply(decode_catalogue_record(record.key, record.value))
