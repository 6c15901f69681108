"""A shop with one partition and a few known items, whose events are folded one by one."""

from itertools import count
from typing import Any

import msgspec

from streams.contract.events import Event
from streams.contract.fold import PartitionRow
from streams.contract.records import MSGPACK, ItemSummary, Recommendation
from streams.contract.settings import Decisions, Kafka, Settings, Target, Time, Window
from streams.core.behaviour.row import UserRow
from streams.testing import GlobalTables, Pipeline
from tests.pipeline.shop_log import START_MS

ITEMS = [
    MSGPACK.encode(ItemSummary(f"i{n}", f"c{n % 3}", 5.0 + n, START_MS, START_MS, 10.0 * n + 1.0, 0.0, 0.0, [], []))
    for n in range(12)
]
KNOWN_ITEMS = GlobalTables(ITEMS)
SETTINGS = Settings(
    kafka=Kafka(partitions=1),
    time=Time(allowed_lateness_s=100.0, confirming_users=1, session_gap_s=1800.0),
    windows=(Window(name="5m", pane_s=60, panes=5), Window(name="1h", pane_s=300, panes=12)),
    targets=(
        Target(
            name="purchase",
            label="purchase",
            horizon_s=1000,
            sampling_rate=1.0,
            prior=0.05,
            models=("linear", "additive", "perceptron", "blend"),
        ),
        Target(name="cart", label="add_to_cart", horizon_s=500, sampling_rate=0.5, prior=0.1),
        Target(name="click", label="click", horizon_s=300, sampling_rate=1.0, prior=0.2),
    ),
    decisions=Decisions(impression_window_s=600),
)
"""Times of tests are in seconds since ``START_MS``; the watermark is 100 s behind."""


class Shop(Pipeline):
    """Sends what one shopper does, and folds it at once.

    Args:
        policy: Who decides.
        global_tables: Defaults to the twelve items and no models.
    """

    def __init__(
        self,
        policy: str = "random",
        settings: Settings = SETTINGS,
        global_tables: GlobalTables = KNOWN_ITEMS,
    ) -> None:
        shares = {"random": 0.0} | {policy: 1.0}
        decisions = msgspec.structs.replace(settings.decisions, shares=shares)
        super().__init__(msgspec.structs.replace(settings, decisions=decisions), global_tables)
        self._numbers = count()

    def send(self, kind: Any, at_s: float, **fields: Any) -> None:
        event_id = fields.pop("event_id", f"e{next(self._numbers)}")
        user_id = fields.pop("user_id", "anna")
        event = Event(
            event_id=event_id, timestamp_ms=START_MS + round(at_s * 1000), kind=kind, user_id=user_id, **fields
        )
        self.publish(event)
        self.fold()

    def fold(self) -> None:
        """Folds what is new, event by event."""
        self.behaviour.drain(1)

    def view(self, at_s: float, item_id: str, **fields: Any) -> Recommendation:
        """Has an item looked at and returns what is recommended at it."""
        self.send("view", at_s, item_id=item_id, **fields)
        return self.recommendations()[-1]

    def impression(self, at_s: float, decision_id: str, **fields: Any) -> None:
        self.send("impression", at_s, decision_id=decision_id, **fields)

    def click(self, at_s: float, decision_id: str, item_id: str, position: int) -> None:
        self.send("click", at_s, decision_id=decision_id, item_id=item_id, position=position)

    def tick(self, at_s: float) -> None:
        super().tick(START_MS + round(at_s * 1000))
        self.fold()

    def row(self, user_id: str = "anna") -> UserRow:
        row = self.behaviour.row(user_id.encode())
        assert row is not None
        return row

    def partition_row(self) -> PartitionRow:
        return self.behaviour.partition_rows()[0]

    def count(self, name: str) -> int:
        return self.partition_row().counts.get(name, 0)

    def labels(self, learner: str) -> list[float]:
        return [example.label for example in self.examples(learner)]

    def values(self, topic: str) -> list[bytes]:
        return self.topics.values(topic)
