"""Nothing is lost and nothing is applied twice, wherever the worker is cut off: the commit protocol in memory."""

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from streams.contract.errors import BrokenInvariant
from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, decode_partition_row
from streams.contract.settings import Engine
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, PREDICTIONS, USERS_CHANGELOG
from streams.engine.protocol import STEPS, Step
from streams.testing import Crashed
from tests.engine.counting import Count, CountingFold
from tests.engine.memory import Broker, Disk, Record, Worker, guard_of
from tests.engine.mutants import MUTANTS, mutated
from tests.fuzzing import AT_LENGTH

USERS = st.integers(0, 3)
BATCH_RECORDS = st.integers(1, 6)


class InterruptedWork(RuleBasedStateMachine):
    """Publishes, works, and is cut off, in any order; when all work is done, all must be as if nothing had been."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.next_offset = 0
        self.broker, self.disk = Broker(), Disk()
        self.committed = 0
        self.worker: Worker | None = None
        self.crash: tuple[Step, int] | None = None

    @rule(users=st.lists(st.none() | USERS, min_size=1, max_size=8))
    def publish(self, users: list[int | None]) -> None:
        """Publishes an event for each user, and a record without a value for each ``None``."""
        for user in users:
            self.records.append(Record(self.next_offset, None if user is None else self._event(user)))
            self.next_offset += 1

    @rule(offsets=st.integers(1, 3))
    def skip(self, offsets: int) -> None:
        """Leaves offsets without a record, as retention and transaction markers do."""
        self.next_offset += offsets

    @rule(batch_records=BATCH_RECORDS, commit=st.booleans())
    def work(self, batch_records: int, commit: bool) -> None:
        """Does all there is to do; the broker may not yet know how far that is."""
        self._fold_all(batch_records)
        if commit and self.records:
            self.committed = self.records[-1].offset + 1
        self.check()

    @rule(step=st.sampled_from(STEPS), passes=st.integers(1, 3), batch_records=BATCH_RECORDS, disk=st.booleans())
    def is_cut_off_after_a_step(self, step: Step, passes: int, batch_records: int, disk: bool) -> None:
        """Cuts the worker off when it has passed a step so many times."""
        self.crash = step, passes
        self._fold_all_or_crash(batch_records, disk)
        self.crash = None

    @rule(deliveries=st.integers(0, 25), batch_records=BATCH_RECORDS, disk=st.booleans())
    def is_cut_off_within_a_delivery(self, deliveries: int, batch_records: int, disk: bool) -> None:
        self.broker.budget = deliveries
        self._fold_all_or_crash(batch_records, disk)
        self.broker.budget = None

    @precondition(lambda self: self.worker is not None)
    @rule(disk=st.booleans())
    def starts_again(self, disk: bool) -> None:
        self._end(disk)

    @rule()
    def compact(self) -> None:
        self.broker.compact()

    def teardown(self) -> None:
        self._fold_all(batch_records=4)
        self.check()

    def check(self) -> None:
        """Compares with a count by plain Python."""
        assert self._rows() == self._expected_rows()
        if self.records:
            row = decode_partition_row(self.disk.rows[PARTITION_KEY])
            assert row.applied_offset == self.records[-1].offset
            assert row.counts == self._expected_counts()
        refs = {
            orjson.loads(output.value)["event_ref"] for output in self.broker.delivered if output.topic == PREDICTIONS
        }
        assert refs == {f"{CLICKSTREAM}-0-{record.offset}" for record in self.records if record.value}
        dead = {dict(output.headers)["offset"] for output in self.broker.delivered if output.topic == DEAD_LETTERS}
        assert dead == {str(record.offset).encode() for record in self.records if not record.value}
        self._check_order()

    def _check_order(self) -> None:
        """Every row came after the output of the last event that it covers."""
        out: set[str] = set()
        for output in self.broker.delivered:
            if output.topic == PREDICTIONS:
                out.add(orjson.loads(output.value)["event_ref"])
            elif output.topic == USERS_CHANGELOG and output.key != PARTITION_KEY:
                assert f"{CLICKSTREAM}-0-{guard_of(output.value)}" in out

    def _fold_all(self, batch_records: int) -> None:
        if self.worker is None:
            self.worker = Worker(self.broker, self.disk, after_step=self._passed)
            self.position = self.committed
        unread = [record for record in self.records if record.offset >= self.position]
        for first in range(0, len(unread), batch_records):
            batch = unread[first : first + batch_records]
            assert self.worker.fold(batch)
            self.position = batch[-1].offset + 1

    def _passed(self, source: str, step: Step) -> None:
        if self.crash is not None and step == self.crash[0]:
            self.crash = step, self.crash[1] - 1
            if not self.crash[1]:
                raise Crashed

    def _fold_all_or_crash(self, batch_records: int, disk: bool) -> None:
        try:
            self._fold_all(batch_records)
        except Crashed:
            self._end(disk)

    def _end(self, disk: bool) -> None:
        self.worker = None
        if not disk:
            self.disk = Disk()

    def _event(self, user: int) -> bytes:
        return encode_event(
            Event(
                event_id="e",
                timestamp_ms=10**12,
                kind="view",
                user_id=f"u{user}",
                item_id="i",
                price=self.next_offset / 100,
            )
        )

    def _rows(self) -> dict[bytes, Count]:
        decode = CountingFold().decode_row
        return {key: decode(row) for key, row in self.disk.scan(0)}

    def _expected_rows(self) -> dict[bytes, Count]:
        fold = CountingFold()
        rows: dict[bytes, Count] = {}
        for record in self.records:
            if record.value:
                event = fold.decode(record, 0)
                fold.apply(rows.setdefault(fold.key(event), Count()), record.offset, event)
        return rows

    def _expected_counts(self) -> dict[str, int]:
        dead = sum(not record.value for record in self.records)
        counts = {
            "applied": len(self.records) - dead,
            "dead_letters.empty": dead,
            "skipped_offsets": self.records[-1].offset + 1 - len(self.records),
        }
        return {name: count for name, count in counts.items() if count}


QUICK = settings(
    max_examples=1000 if AT_LENGTH else 150,
    stateful_step_count=200 if AT_LENGTH else 20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_an_interrupted_worker_ends_where_an_uninterrupted_one_does() -> None:
    run_state_machine_as_test(InterruptedWork, settings=QUICK)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_law_misses_every_mechanism_that_is_taken_away(mutant: str) -> None:
    quick = settings(
        QUICK,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        max_examples=1000,
        stateful_step_count=20,
        print_blob=False,
    )
    with mutated(mutant), pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(InterruptedWork, settings=quick)


@pytest.mark.parametrize(
    ("limits", "what"),
    [(Engine(max_row_bytes=3), "the row of"), (Engine(max_output_bytes=20), "a record for predictions")],
    ids=["row", "output"],
)
def test_what_is_too_large_ends_the_worker_before_anything_is_out(limits: Engine, what: str) -> None:
    broker = Broker()
    worker = Worker(broker, Disk(), limits)
    event = Event(event_id="e", timestamp_ms=10**12, kind="view", user_id="u" * 100, item_id="i")
    with pytest.raises(BrokenInvariant, match=what):
        worker.fold([Record(0, encode_event(event))])
    assert broker.delivered == []


def test_no_more_rows_stay_in_memory_than_are_declared_and_those_that_changed_last_do() -> None:
    users = [f"user-{number}" for number in range(200)]
    worker = Worker(Broker(), Disk(), Engine(row_cache_bytes=20_000))
    for offset, user in enumerate(["user-0", *users]):
        event = Event(event_id="e", timestamp_ms=10**12, kind="view", user_id=user, item_id="i")
        worker.fold([Record(offset, encode_event(event))])
    keys = [user.encode() for user in users]
    hot = worker.hot(keys)
    assert hot == keys[-len(hot) :]
    assert 20 < len(hot) < 200


def test_no_row_stays_in_memory_where_none_may() -> None:
    worker = Worker(Broker(), Disk(), Engine(row_cache_bytes=0))
    event = Event(event_id="e", timestamp_ms=10**12, kind="view", user_id="u", item_id="i")
    worker.fold([Record(0, encode_event(event))])
    assert worker.hot([b"u"]) == []
