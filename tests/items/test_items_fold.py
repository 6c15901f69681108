"""Each signal changes its item's row once, wherever batches are cut, workers die or records are sent again."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.contract.errors import RejectedRecord
from streams.contract.events import Event
from streams.contract.fold import PARTITION_KEY, PartitionRow, RowHeader
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, ItemSignal, ItemSignalBatch, ItemSummary, SignalKind, decode_item
from streams.contract.settings import Items, Kafka, Settings
from streams.contract.topics import ITEMS
from streams.core.behaviour.item_signals import ItemSignals
from streams.core.items.fold import MAX_BOUGHT, ItemsFold, render_item
from streams.core.retrieval.rules import SHARE_PRIOR, SequentialRules

SETTINGS = Settings(kafka=Kafka(partitions=2), items=Items(half_life_s=100.0, neighbours=2, publish_interval_s=5.0))
START_MS = 1_700_000_000_000
NAMES = tuple(name for name in "abcdefghijklmnopqrstuvwxyz" if partition_of(name.encode(), 2) == 0)[:7]
"""Items of the one partition that is folded here."""
WEIGHTS = {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}

signals = st.builds(
    ItemSignal,
    offset=st.just(0),
    index=st.just(0),
    timestamp_ms=st.integers(START_MS, START_MS + 300_000),
    item_id=st.sampled_from(NAMES[:3]),
    kind=st.sampled_from(["view", "add_to_cart", "purchase", "impression", "click", "covisit", "copurchase"]),
    category=st.sampled_from([None, "shoes", "hats"]),
    price=st.sampled_from([None, 1.0, 25.0]),
    related=st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
    distance=st.integers(0, 2),
)


class Record(NamedTuple):
    offset: int
    value: bytes
    timestamp: int = START_MS
    key: bytes | None = None
    timestamp_type: int = 0


class Disk:
    """What outlives a worker: the rows and the partition's row."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.outputs: list[Output] = []

    def work(self, records: Sequence[Record], sizes: Iterator[int], dies_with: int | None = None) -> None:
        """Opens the partition and folds the records in batches; may die with only some rows of the last one logged."""
        fold = ItemsFold(SETTINGS)
        row = msgspec.msgpack.decode(self.rows.get(PARTITION_KEY, MSGPACK.encode(PartitionRow())), type=PartitionRow)
        state = fold.open(row, 0, [])
        left = iter([record for record in records if record.offset > row.applied_offset])
        while batch := list(islice(left, next(sizes))):
            events = [(record.offset, fold.decode(record, 0)) for record in batch]
            rows = {
                key: fold.decode_row(self.rows[key]) if key in self.rows else None for key in fold.keys(state, events)
            }
            outputs, changed, _ = fold.fold(state, events, rows)
            state.row.applied_offset = batch[-1].offset
            self.outputs += outputs
            encoded = {key: fold.encode_row(item) for key, item in changed.items()}
            is_last = batch[-1] is records[-1]
            if dies_with is not None and is_last:
                self.rows.update(islice(encoded.items(), dies_with))
                return
            self.rows |= encoded
            self.rows[PARTITION_KEY] = MSGPACK.encode(state.row)

    @property
    def partition(self) -> PartitionRow:
        return msgspec.msgpack.decode(self.rows[PARTITION_KEY], type=PartitionRow)

    @property
    def items(self) -> dict[bytes, dict[str, Any]]:
        return {key: render_item(key, value) for key, value in self.rows.items() if key != PARTITION_KEY}


def every(size: int) -> Iterator[int]:
    while True:
        yield size


def cycling(sizes: Sequence[int]) -> Iterator[int]:
    while True:
        yield from sizes


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Records of two source partitions; now and then one dies and sends its last signals again, cut elsewhere."""
    sent: dict[int, list[ItemSignal]] = {0: [], 1: []}
    again = {0: 0, 1: 0}
    position = {0: (0, 0), 1: (0, 0)}
    batches: list[ItemSignalBatch] = []
    for _ in range(draw(st.integers(1, 8))):
        source = draw(st.sampled_from([0, 1]))
        fresh = []
        for signal in draw(st.lists(signals, min_size=1, max_size=5)):
            offset, index = position[source]
            position[source] = (offset, index + 1) if draw(st.booleans()) else (offset + draw(st.integers(1, 9)), 0)
            offset, index = position[source]
            fresh.append(msgspec.structs.replace(signal, offset=offset, index=index))
        repeated = sent[source][len(sent[source]) - again[source] :]
        batches.append(ItemSignalBatch(source, repeated + fresh))
        sent[source] += fresh
        again[source] = draw(st.integers(0, min(4, len(sent[source])))) if draw(st.booleans()) else 0
    return [Record(offset, MSGPACK.encode(batch)) for offset, batch in enumerate(batches)]


def uninterrupted(log: Sequence[Record]) -> Disk:
    disk = Disk()
    disk.work(log, every(1))
    return disk


def once(log: Sequence[Record]) -> list[ItemSignal]:
    """The distinct signals of a log."""
    found: dict[tuple[int, int, int], ItemSignal] = {}
    for record in log:
        batch = msgspec.msgpack.decode(record.value, type=ItemSignalBatch)
        found |= {(batch.partition, signal.offset, signal.index): signal for signal in batch.signals}
    return list(found.values())


@given(logs(), st.lists(st.integers(1, 5), min_size=1))
def test_rows_have_the_same_bytes_wherever_batches_are_cut(log: list[Record], sizes: list[int]) -> None:
    disk = Disk()
    disk.work(log, cycling(sizes))
    assert disk.rows == uninterrupted(log).rows


@given(logs(), st.data())
def test_a_worker_that_dies_while_it_logs_rows_changes_nothing(log: list[Record], data: st.DataObject) -> None:
    disk = Disk()
    for _ in range(data.draw(st.integers(1, 3))):
        until = data.draw(st.integers(1, len(log)))
        sizes = data.draw(st.lists(st.integers(1, 5), min_size=1))
        disk.work(log[:until], cycling(sizes), dies_with=data.draw(st.integers(0, 3)))
    disk.work(log, cycling(data.draw(st.lists(st.integers(1, 5), min_size=1))))
    assert disk.rows == uninterrupted(log).rows


def test_a_relation_sent_again_after_a_crash_between_its_two_records_is_applied_once() -> None:
    """The row was logged, the partition's row was not; then the same source position comes at a new offset."""
    view = ItemSignal(5, 0, START_MS, "a", "view", None, None, [])
    log = [Record(offset, MSGPACK.encode(ItemSignalBatch(0, [view]))) for offset in (0, 1)]
    disk = Disk()
    disk.work(log[:1], every(1), dies_with=1)
    disk.work(log, every(1))
    assert disk.items[b"a"]["popularity"] == 1.0
    assert disk.partition.counts == {"applied": 1, "duplicates": 1}


@given(logs())
def test_every_entry_is_counted_as_applied_or_as_a_duplicate(log: list[Record]) -> None:
    counts = uninterrupted(log).partition.counts
    assert counts["applied"] == len(once(log))
    entries = sum(len(msgspec.msgpack.decode(record.value, type=ItemSignalBatch).signals) for record in log)
    assert counts["applied"] + counts.get("duplicates", 0) == entries


@given(logs())
def test_sums_are_those_of_a_plain_loop_over_all_distinct_relations(log: list[Record]) -> None:
    items = uninterrupted(log).items
    for key, item in items.items():
        own = [signal for signal in once(log) if signal.item_id.encode() == key]
        assert item["updated_ms"] == max(signal.timestamp_ms for signal in own)
        faded = [(signal, 2.0 ** ((signal.timestamp_ms - item["updated_ms"]) / 100_000.0)) for signal in own]
        popularity = sum(weight * WEIGHTS.get(signal.kind, 0.0) for signal, weight in faded)
        assert item["popularity"] == pytest.approx(popularity)
        for name, kind in (("impressions", "impression"), ("clicks", "click")):
            assert item[name] == pytest.approx(sum(weight for signal, weight in faded if signal.kind == kind))


def alone(*own: ItemSignal, settings: Settings = SETTINGS) -> tuple[dict[str, Any], list[ItemSummary]]:
    """One item's row and summaries when each of its signals is a batch of its own."""
    fold = ItemsFold(settings)
    state = fold.open(PartitionRow(), 0, [])
    rows: dict[bytes, Any] = {own[0].item_id.encode(): None}
    summaries = []
    for offset, signal in enumerate(own):
        batch = ItemSignalBatch(0, [msgspec.structs.replace(signal, offset=offset)])
        outputs, changed, _ = fold.fold(state, [(offset, batch)], rows)
        rows |= changed
        summaries += [decode_item(output.value) for output in outputs]
    [(key, row)] = rows.items()
    return render_item(key, fold.encode_row(row)), summaries


def signal(at_ms: int, kind: SignalKind = "view", related: Sequence[str] = (), **details: Any) -> ItemSignal:
    described: Mapping[str, Any] = {"category": None, "price": None, **details}
    return ItemSignal(0, 0, START_MS + at_ms, "a", kind, described["category"], described["price"], list(related))


@pytest.mark.parametrize("gap_ms", [50_000, 100_000, 5_000_000, 99_000_000, 10**12])
def test_sums_fade_by_half_in_each_half_life_however_long_it_was_quiet(gap_ms: int) -> None:
    item, _ = alone(signal(0, "purchase", ["b"]), signal(gap_ms))
    assert item["popularity"] == pytest.approx(1.0 + 5.0 * 2.0 ** (-gap_ms / 100_000))
    assert item["bought"]["b"] == pytest.approx(2.0 ** (-gap_ms / 100_000))


def test_the_order_of_events_does_not_matter_to_sums() -> None:
    views = [signal(at_ms) for at_ms in (0, 90_000, 7_000, 60_000_000, 59_950_000)]
    there, _ = alone(*views)
    back, _ = alone(*reversed(views))
    assert there["popularity"] == pytest.approx(back["popularity"])


def test_another_half_life_goes_on_from_the_sums_of_the_one_before() -> None:
    fold = ItemsFold(SETTINGS)
    slower = ItemsFold(msgspec.structs.replace(SETTINGS, items=Items(half_life_s=1000.0)))
    rows: dict[bytes, Any] = {b"a": None}
    row = PartitionRow()
    for offset, (folding, at_ms) in enumerate([(fold, 0), (fold, 100_000), (slower, 100_000), (slower, 1_100_000)]):
        batch = ItemSignalBatch(0, [msgspec.structs.replace(signal(at_ms), offset=offset)])
        rows |= folding.fold(folding.open(row, 0, []), [(offset, batch)], rows).rows
    assert render_item(b"a", fold.encode_row(rows[b"a"]))["popularity"] == pytest.approx((0.5 + 1 + 1) / 2 + 1)


def test_neighbours_are_few_and_the_strongest_stay() -> None:
    views = [signal(at_ms, related=["x"]) for at_ms in range(10)]
    views += [signal(10 + number, related=[f"passer-by-{number:03d}"]) for number in range(50)]
    item, [*_, summary] = alone(*views, signal(60_000, related=["y"]), signal(70_000, related=["y"]))
    assert len(item["neighbours"]) <= 2 * SETTINGS.items.neighbours
    assert summary.neighbours == ["x", "y"]
    assert summary.strengths == sorted(summary.strengths, reverse=True)


def test_the_nearest_related_item_counts_most_and_what_came_before_half() -> None:
    before, _ = alone(signal(0, related=["x", "y"]))
    assert before["neighbours"] == {"x": 0.5, "y": 0.3}
    after, _ = alone(*(replace(signal(0, "covisit", [other]), distance=n) for n, other in enumerate("xy")))
    assert after["neighbours"] == {"x": 1.0, "y": 0.6}


def test_a_mirrored_covisit_changes_neighbours_only() -> None:
    item, _ = alone(signal(0, "view", ["x"], category="hats"), signal(0, "covisit", ["x"]))
    assert (item["popularity"], item["neighbours"], item["category"]) == (1.0, {"x": 1.5}, "hats")


def test_what_is_bought_together_is_kept_apart_from_what_is_looked_at_together() -> None:
    item, [summary] = alone(signal(0, "copurchase", ["x"]))
    assert (item["popularity"], item["neighbours"], item["bought"]) == (0.0, {}, {"x": 1.0})
    assert (summary.bought, summary.bought_strengths) == (["x"], [1.0])


def test_items_bought_together_are_few_and_the_strongest_stay() -> None:
    buys = [signal(0, "purchase", [f"other-{number:02d}"]) for number in range(30)]
    item, [*_, summary] = alone(*buys, signal(5_000, "purchase", ["other-00"]), signal(10_000))
    assert len(item["bought"]) <= 2 * MAX_BOUGHT
    assert len(summary.bought) == MAX_BOUGHT


def test_rules_are_those_that_one_process_learns_alone() -> None:
    """The fold and the in-memory rules keep the same sums, whichever is asked."""
    visits = [("a", [], 0), ("b", ["a"], 1_000), ("c", ["b", "a"], 2_000), ("a", ["c", "b"], 60_000)]
    item_signals, rules = ItemSignals(0, 1, ""), SequentialRules(SETTINGS.items.half_life_s, 24)
    for offset, (item, before, at_ms) in enumerate(visits):
        event = Event(event_id="", timestamp_ms=START_MS + at_ms, kind="view", item_id=item)
        item_signals.add(offset, event, item, "view", list(before))
        rules.learn(item, before, START_MS + at_ms)
    disk = Disk()
    disk.work([Record(offset, output.value) for offset, output in enumerate(item_signals.outputs())], every(1))
    for key, row in disk.items.items():
        strengths = row["neighbours"]
        shares = {other: strength / (sum(strengths.values()) + SHARE_PRIOR) for other, strength in strengths.items()}
        assert rules.related([key.decode()]) == sorted(shares, key=shares.__getitem__, reverse=True)


def test_an_impression_does_not_say_what_an_item_is() -> None:
    item, _ = alone(
        signal(0, "view", category="hats", price=9.0), signal(1, "impression", category="the page's", price=1.0)
    )
    assert (item["category"], item["price"]) == ("hats", 9.0)


def test_a_summary_goes_out_at_once_and_then_when_the_interval_has_passed() -> None:
    _, summaries = alone(*(signal(at_ms) for at_ms in (0, 4_999, 5_000, 9_999, 10_000)))
    assert [summary.updated_ms - START_MS for summary in summaries] == [0, 5_000, 10_000]
    assert [round(summary.popularity) for summary in summaries] == [1, 3, 5]


@given(logs(), st.lists(st.integers(1, 5), min_size=1))
def test_the_feed_says_the_same_of_every_item_wherever_batches_are_cut(log: list[Record], sizes: list[int]) -> None:
    disk, last = Disk(), {output.key: output.value for output in uninterrupted(log).outputs}
    disk.work(log, cycling(sizes))
    assert {output.key: output.value for output in disk.outputs} == last


@given(logs())
def test_a_batch_sends_at_most_one_summary_of_an_item(log: list[Record]) -> None:
    disk = Disk()
    disk.work(log, every(len(log)))
    assert {output.topic for output in disk.outputs} == {ITEMS}
    assert sorted(output.key or b"" for output in disk.outputs) == sorted(disk.items)


@given(st.lists(signals, min_size=1, max_size=8))
def test_a_summary_is_the_rows(own: list[ItemSignal]) -> None:
    at_times = [START_MS + 5_000 * number for number in range(len(own))]
    n_observations = [replace(each, item_id="a", timestamp_ms=at_ms) for each, at_ms in zip(own, at_times, strict=True)]
    item, summaries = alone(*n_observations)
    assert [summary.updated_ms for summary in summaries] == at_times
    summary = summaries[-1]
    for name in ("item_id", "category", "price", "first_seen_ms", "updated_ms"):
        assert getattr(summary, name) == item[name]
    assert summary.popularity == pytest.approx(item["popularity"])
    strongest = list(item["neighbours"].items())[: SETTINGS.items.neighbours]
    assert dict(zip(summary.neighbours, summary.strengths, strict=True)) == pytest.approx(dict(strongest))
    assert all(one >= other for one, other in pairwise(summary.strengths))


def publications(*own: ItemSignal, half_life_s: float = 1e9) -> list[int]:
    """The numbers of the signals at which an item is published, a minute apart."""
    settings = replace(SETTINGS, items=replace(SETTINGS.items, half_life_s=half_life_s, publish_interval_s=60.0))
    minutes = [replace(each, timestamp_ms=START_MS + 60_000 * number) for number, each in enumerate(own, start=1)]
    return [(summary.updated_ms - START_MS) // 60_000 for summary in alone(*minutes, settings=settings)[1]]


def test_news_is_as_many_relations_as_their_count_may_be_off_by() -> None:
    assert publications(*[signal(0)] * 50) == [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 21, 27, 33, 40, 47]


def test_another_price_is_news_and_the_same_one_is_not() -> None:
    views = [signal(0, price=9.0)] * 17
    assert publications(*views, signal(0, price=8.0), signal(0, price=8.0))[-2:] == [16, 18]


def test_after_an_hour_anything_is_news() -> None:
    views = [signal(0)] * 4000
    published = publications(*views)
    assert max(later - earlier for earlier, later in pairwise(published)) == 60


@given(logs())
def test_a_row_begins_as_recovery_expects(log: list[Record]) -> None:
    disk = uninterrupted(log)
    for value in disk.rows.values():
        header = msgspec.msgpack.decode(value, type=RowHeader)
        assert 0 <= header.applied_offset < len(log)
    for key in disk.items:
        assert ItemsFold(SETTINGS).encode_row(ItemsFold(SETTINGS).decode_row(disk.rows[key])) == disk.rows[key]


@pytest.mark.parametrize("spoil", [b"", b"\xc1", b"\x93", MSGPACK.encode(ItemSignalBatch(0, [signal(0)]))[:-2]])
def test_what_is_no_batch_of_relations_is_rejected(spoil: bytes) -> None:
    with pytest.raises(RejectedRecord) as caught:
        ItemsFold(SETTINGS).decode(Record(0, spoil), 0)
    assert caught.value.reason == "malformed"


def test_triggers_that_do_not_rise_are_rejected() -> None:
    falling = ItemSignalBatch(0, [replace(signal(0), offset=offset) for offset in (2, 1)])
    with pytest.raises(RejectedRecord, match="malformed"):
        ItemsFold(SETTINGS).decode(Record(0, MSGPACK.encode(falling)), 0)


def test_bytes_that_are_no_text_are_rejected() -> None:
    value = MSGPACK.encode(ItemSignalBatch(0, [signal(0)])).replace(b"view", b"vi\xff\xfe")
    with pytest.raises(RejectedRecord, match="malformed"):
        ItemsFold(SETTINGS).decode(Record(0, value), 0)


def test_an_item_of_another_partition_is_rejected() -> None:
    fold = ItemsFold(Settings(kafka=Kafka(partitions=4)))
    home = partition_of(b"a", 4)
    record = Record(0, MSGPACK.encode(ItemSignalBatch(0, [signal(0)])))
    assert fold.decode(record, home).signals == [signal(0)]
    with pytest.raises(RejectedRecord, match="wrong-partition"):
        fold.decode(record, (home + 1) % 4)
