"""Whatever shoppers, producers and machines do, in any order, the rows are those of a quiet run of the same log."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from streams.contract.events import MAX_RETRIED_EVENTS, Event
from streams.contract.fold import PartitionRow
from streams.contract.outputs import Output
from streams.contract.records import decode_recommendation
from streams.contract.settings import Engine
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS
from streams.core.behaviour.fold import _Batch
from streams.engine.protocol import STEPS, Step
from streams.testing import Crash, Crashed, Pipeline
from tests.fuzzing import AT_LENGTH
from tests.pipeline.shop_log import SETTINGS, START_MS, differing

PARTITIONS = st.integers(0, 1)
BATCH_RECORDS = st.sampled_from((1, 3, 8, 50))
KINDS = st.sampled_from(("view", "view", "view", "search", "add_to_cart", "remove_from_cart", "purchase", "rating"))
GAPS_S = st.sampled_from((0, 1, 20, 250, 600, 2000))


class InterruptedShop(RuleBasedStateMachine):
    """Shoppers act and answer, producers repeat and garble, the worker is cut off, restored and sent back."""

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = Pipeline(SETTINGS)
        self.now_ms = START_MS
        self.events: list[Event] = []
        self.may_count_twice = False

    @initialize(due_rows=st.sampled_from((1, 2, 2000)))
    def choose_slices(self, due_rows: int) -> None:
        """Chooses how many users' labels one batch makes final; in the quiet run it is all."""
        self.pipeline = Pipeline(replace(SETTINGS, engine=Engine(batch_due_rows=due_rows)))

    @rule(user=st.integers(0, 4), kind=KINDS, item=st.integers(0, 5), gap_s=GAPS_S, price=st.none() | st.floats(1, 99))
    def act(self, user: int, kind: Any, item: int, gap_s: int, price: float | None) -> None:
        self.now_ms += 1000 * gap_s
        self._publish(kind, user, 0, item_id=f"item-{item}", category=f"category-{item % 3}", price=price)

    @rule(user=st.integers(0, 1), kinds=st.lists(KINDS, min_size=8, max_size=20), again=st.booleans())
    def storm(self, user: int, kinds: list[Any], again: bool) -> None:
        """One user makes half of the traffic, and perhaps all of it comes twice."""
        for number, kind in enumerate(kinds):
            self.now_ms += 500
            self._publish(kind, user, 0, item_id=f"item-{number % 6}", price=9.0)
        for event in self.events[-len(kinds) :] if again else ():
            self.pipeline.publish(event)

    @rule(user=st.integers(0, 4), kind=KINDS, behind_s=st.integers(200, 8000))
    def act_late(self, user: int, kind: Any, behind_s: int) -> None:
        self._publish(kind, user, behind_s, item_id="item-0")

    @precondition(lambda self: self.events)
    @rule(back=st.integers(1, 12))
    def send_again(self, back: int) -> None:
        self.pipeline.publish(self.events[-min(back, len(self.events))])

    @rule(partition=PARTITIONS, value=st.binary(max_size=40))
    def garble(self, partition: int, value: bytes) -> None:
        self.pipeline.topics.append(Output(CLICKSTREAM, b"somebody", value, partition))

    @rule(partition=PARTITIONS, back=st.integers(1, 4), clicks=st.booleans(), gap_s=GAPS_S)
    def answer(self, partition: int, back: int, clicks: bool, gap_s: int) -> None:
        """Answers one of the last decisions: shows it, or clicks on it, shown or not."""
        recommended = self.pipeline.topics.records[RECOMMENDATIONS, partition]
        if not recommended:
            return
        decision = decode_recommendation(recommended[-min(back, len(recommended))].value or b"")
        self.now_ms += 1000 * gap_s
        fields: dict[str, Any] = {"decision_id": decision.decision_id}
        if clicks and decision.items:
            fields |= {"item_id": decision.items[0].item_id, "position": 0}
        kind = "click" if "position" in fields else "impression"
        self._publish(kind, int(decision.user_id[-1]), 0, **fields)

    @rule(hours=st.sampled_from((0, 1, 30)))
    def tick(self, hours: int) -> None:
        self.now_ms += hours * 3_600_000
        self.pipeline.tick(self.now_ms)

    @rule(partition=PARTITIONS, batch_records=BATCH_RECORDS)
    def work(self, partition: int, batch_records: int) -> None:
        self.pipeline.behaviour.step(partition, batch_records)

    @rule(
        partition=PARTITIONS,
        batch_records=BATCH_RECORDS,
        step=st.sampled_from(STEPS),
        disk=st.booleans(),
    )
    def is_cut_off_after_a_step(self, partition: int, batch_records: int, step: Step, disk: bool) -> None:
        self._work_or_crash(partition, batch_records, Crash(step), disk)

    @rule(partition=PARTITIONS, batch_records=BATCH_RECORDS, deliveries=st.integers(0, 200), disk=st.booleans())
    def is_cut_off_within_a_delivery(self, partition: int, batch_records: int, deliveries: int, disk: bool) -> None:
        self._work_or_crash(partition, batch_records, Crash("fold", deliveries), disk)

    @rule(partition=PARTITIONS, batch_records=BATCH_RECORDS, rows=st.integers(0, 3), disk=st.booleans())
    def is_cut_off_among_the_rows(self, partition: int, batch_records: int, rows: int, disk: bool) -> None:
        """Some of a batch's rows are in the changelog, and the partition's is not."""
        self._work_or_crash(partition, batch_records, Crash("emit", rows), disk)

    @rule(disk=st.booleans())
    def is_restored(self, disk: bool) -> None:
        self.pipeline.behaviour.restart(empty_table=not disk)

    @rule(partition=PARTITIONS, back=st.integers(1, 30))
    def is_sent_back(self, partition: int, back: int) -> None:
        """The broker knows an older offset than the last that was acknowledged; the worker begins there."""
        committed = self.pipeline.behaviour.committed
        committed[partition] = max(0, committed[partition] - back)
        self.pipeline.behaviour.restart()

    def teardown(self) -> None:
        self.pipeline.behaviour.drain(7)
        quiet = Pipeline(SETTINGS, log=self.pipeline.log)
        quiet.behaviour.drain(1)
        assert not differing(self.pipeline.behaviour.rows(), quiet.behaviour.rows())
        if not all(self.pipeline.log.values()):
            return  # a partition without a record has no row
        worker = self.pipeline.behaviour
        for row, expected in zip(worker.partition_rows(), quiet.behaviour.partition_rows(), strict=True):
            assert (row.applied_offset, row.watermark_ms) == (expected.applied_offset, expected.watermark_ms)
            assert ended(row) == row.applied_offset + 1
            if not self.may_count_twice:
                assert row == expected

    def _publish(self, kind: Any, user: int, behind_s: int, **fields: Any) -> None:
        if kind == "search":
            fields = {"query": "shoes"}
        if kind == "rating":
            fields["rating"] = 4.0
        event = Event(
            event_id=f"e{len(self.events)}",
            timestamp_ms=self.now_ms - 1000 * behind_s,
            kind=kind,
            user_id=f"user-{user}",
            **fields,
        )
        self.events.append(event)
        self.pipeline.publish(event)

    def _work_or_crash(self, partition: int, batch_records: int, crash: Crash, disk: bool) -> None:
        try:
            self.pipeline.behaviour.step(partition, batch_records, crash)
        except Crashed:
            # An event whose row was logged while its partition's was not is counted as applied, and nowhere else.
            self.may_count_twice = True
            self.pipeline.behaviour.restart(empty_table=not disk)


def ended(row: PartitionRow) -> int:
    """How many records were applied, dropped as duplicates, or rejected."""
    counts = row.counts
    letters = sum(count for name, count in counts.items() if name.startswith("dead_letters."))
    return counts.get("applied", 0) + counts.get("duplicates", 0) + letters


FORM = settings(
    max_examples=1000 if AT_LENGTH else 25,
    stateful_step_count=200 if AT_LENGTH else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_an_interrupted_shop_ends_where_a_quiet_one_does() -> None:
    run_state_machine_as_test(InterruptedShop, settings=FORM)


def cut_off_among_the_rows_of_a_storm() -> None:
    """A user's row with more events than it knows by their ids is in the changelog, and the partition's is not."""
    shop = InterruptedShop()
    shop.storm(0, ["view"] * (MAX_RETRIED_EVENTS + 20), again=False)
    [partition] = [number for number, records in shop.pipeline.log.items() if records]
    shop.is_cut_off_among_the_rows(partition, 200, 1, disk=True)
    assert shop.may_count_twice
    shop.teardown()


def test_a_row_that_came_out_before_its_partitions_is_not_folded_again() -> None:
    cut_off_among_the_rows_of_a_storm()


def test_the_law_misses_the_guard_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Batch, "_is_applied", lambda self, offset, row: False)
    with pytest.raises(AssertionError, match="differing"):
        cut_off_among_the_rows_of_a_storm()
