"""The Items fold: decayed statistics of each item from its signals, published to the items global table.

An item is published when enough has changed, by event time alone: the result does not depend on batch boundaries.

References:
    Cormode, Shkapenyuk, Srivastava and Xu (2009), "Forward decay: a practical time decay model for streaming systems",
    ICDE: a weight grows with its time instead of the past shrinking with each event, so that order does not matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp2
from typing import Any, Final, Literal

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.fold import FoldResult, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, ItemSignal, ItemSignalBatch, ItemSummary, decode_item_signals
from streams.contract.row_format import RowFormat, VersionedRow
from streams.contract.settings import Settings
from streams.contract.source_epoch import AppliedPositions
from streams.contract.topics import ITEM_ROWS_CHANGELOG, ITEM_SIGNALS, ITEMS
from streams.core.retrieval.rules import BACKWARDS, NEARNESS, strengthen, strongest

_DESCRIBING: Final = frozenset({"view", "add_to_cart", "purchase", "click"})
"""Events whose category and price are the item's; those of an impression may belong to the page around it."""
_POPULARITY: Final = {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
MAX_BOUGHT: Final = 8
"""Items bought together with an item that are published with it."""
_MOST_HALF_LIVES: Final = 500.0
NEVER_MS: Final = -(1 << 62)
_MIN_SIGNALS: Final = 8.0
"""Up to so many signals of an item, each further one is published."""
_MAX_UNPUBLISHED_MS: Final = 3_600_000
"""Time after which any change is published."""
_READER: Final = "items"
_BEFORE_ALL: Final = (-1, -1)


class ItemRow(VersionedRow):
    """One item; its sums are inflated: each weight is 2 to the number of half-lives since ``landmark_ms``.

    Attributes:
        applied_offset: Highest offset of the item-signals topic applied to this row.
        half_life_ms: Half-life of the inflated sums; they are restated when the settings change it.
        landmark_ms: Time at which a weight is 1.
        updated_ms: Latest event time.
        published_ms: Event time of the last record to the global table, :data:`NEVER_MS` before the first.
        n_observations: Signals of any kind; inflated, as the other sums are.
        n_observations_published: Those of them in the last record to the global table; 0 if that record is outdated.
        neighbours: Item to inflated weight of the rule that leads to it.
        bought: Item to inflated weight of purchases in the same session.
    """

    schema: Literal[1] = 1
    half_life_ms: float = 0.0
    landmark_ms: int = 0
    first_seen_ms: int = 0
    updated_ms: int = 0
    published_ms: int = NEVER_MS
    category: str | None = None
    price: float | None = None
    popularity: float = 0.0
    impressions: float = 0.0
    clicks: float = 0.0
    neighbours: dict[str, float] = msgspec.field(default_factory=dict)
    bought: dict[str, float] = msgspec.field(default_factory=dict)
    n_observations: float = 0.0
    n_observations_published: float = 0.0

    def deflation(self) -> float:
        """Returns the factor that turns an inflated sum into its value at ``updated_ms``."""
        return exp2((self.landmark_ms - self.updated_ms) / self.half_life_ms)

    def restate(self, half_life_ms: float) -> None:
        """Moves the landmark to ``updated_ms`` and changes the half-life from then on."""
        deflation = self.deflation()
        self.popularity *= deflation
        self.impressions *= deflation
        self.clicks *= deflation
        self.n_observations *= deflation
        self.n_observations_published *= deflation
        self.neighbours = {other: strength * deflation for other, strength in self.neighbours.items()}
        self.bought = {other: strength * deflation for other, strength in self.bought.items()}
        self.landmark_ms = self.updated_ms
        self.half_life_ms = half_life_ms

    def should_publish(self, weight: float) -> bool:
        """Returns whether enough has changed since the last record to the global table.

        Enough is as many new signals as the standard error of the count of all signals, its square root: a smaller
        change is within noise.

        Args:
            weight: Weight of one signal now.
        """
        new = self.n_observations - self.n_observations_published
        if new * new >= self.n_observations * weight or self.n_observations <= _MIN_SIGNALS * weight:
            return True
        return self.updated_ms - self.published_ms >= _MAX_UNPUBLISHED_MS


ITEM_ROWS: Final = RowFormat(ItemRow, "an item's row")


@dataclass
class ItemsState:
    """State of a signals partition in memory: its partition row alone."""

    row: PartitionRow


class ItemsFold:
    """``(item rows, item signals) -> (item rows, records of the items global table)``."""

    source = ITEM_SIGNALS
    changelog = ITEM_ROWS_CHANGELOG
    schema, oldest_schema = ITEM_ROWS.schema, ITEM_ROWS.oldest

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.kafka.partitions
        self._half_life_ms = settings.items.half_life_s * 1000
        self._n_neighbours = settings.items.neighbours
        self._most_inflated_ms = _MOST_HALF_LIVES * self._half_life_ms
        self._publish_ms = settings.items.publish_interval_s * 1000

    def decode(self, record: SourceRecord, partition: int) -> ItemSignalBatch:
        """Decodes one record.

        Raises:
            RejectedRecord: with reason ``malformed``: not of the format, a number out of range, a partition that the
                source does not have, or not sorted by source position; or ``wrong-partition`` for an item of another
                partition.
        """
        try:
            batch = decode_item_signals(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RejectedRecord("malformed", str(error)) from error
        if batch.partition >= self._partitions:
            raise RejectedRecord("malformed", f"there is no source partition {batch.partition}")
        offsets = [signal.offset for signal in batch.signals]
        if offsets != sorted(offsets):
            raise RejectedRecord("malformed", "the signals are not sorted by source offset")
        for item_id in {signal.item_id for signal in batch.signals}:
            # The partition row's reserved key begins with NUL.
            if "\0" in item_id:
                raise RejectedRecord("malformed", "an item_id may not contain NUL")
            if (owner := partition_of(item_id.encode(), self._partitions)) != partition:
                raise RejectedRecord("wrong-partition", f"item {item_id!r} belongs to partition {owner}")
        return batch

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> ItemsState:
        return ItemsState(row)

    def keys(self, state: ItemsState, events: Sequence[tuple[int, ItemSignalBatch]]) -> Iterable[bytes]:
        item_ids = {signal.item_id for _, batch in events for signal in batch.signals}
        return [item_id.encode() for item_id in item_ids]

    def fold(
        self, state: ItemsState, events: Sequence[tuple[int, ItemSignalBatch]], rows: dict[bytes, ItemRow | None]
    ) -> FoldResult[ItemRow]:
        touched: dict[str, ItemRow] = {}
        ahead: dict[str, int] = {}
        summaries: dict[str, Output] = {}
        applied_offset, apply, publish_ms = state.row.applied_offset, self._apply, self._publish_ms
        for offset, batch in events:
            for signal in self._not_applied(state.row, batch):
                item_id = signal.item_id
                row = touched.get(item_id)
                if row is None:
                    row = touched[item_id] = rows[item_id.encode()] or self._new_row(signal)
                    if row.applied_offset > applied_offset:
                        ahead[item_id] = row.applied_offset
                # One record may hold several signals of an item: compare with the row's offset before the batch.
                if ahead and offset <= ahead.get(item_id, -1):
                    continue
                weight = apply(row, signal)
                row.applied_offset = offset
                if row.updated_ms - row.published_ms >= publish_ms and row.should_publish(weight):
                    # As of this signal, not of the batch's end: independent of batch boundaries. The last one counts.
                    summaries[item_id] = self._published(item_id, row)
        changed = {id_.encode(): row for id_, row in touched.items() if row.applied_offset > ahead.get(id_, -1)}
        return FoldResult(list(summaries.values()), changed)

    def decode_row(self, value: bytes) -> ItemRow:
        return ITEM_ROWS.decode(value)

    def encode_row(self, row: ItemRow) -> bytes:
        return ITEM_ROWS.encode(row)

    def _not_applied(self, row: PartitionRow, batch: ItemSignalBatch) -> list[ItemSignal]:
        """Returns the signals above the applied source position, and advances it; the others are duplicates."""
        signals = batch.signals
        positions = row.applied_positions.setdefault(_READER, AppliedPositions())
        applied = positions.applied(batch.source_id, batch.partition) or _BEFORE_ALL
        if signals and _position(signals[0]) > applied:
            new = signals
        else:
            new = [signal for signal in signals if _position(signal) > applied]
        if new:
            positions.advance(batch.source_id, batch.partition, _position(new[-1]))
            row.count("applied", len(new))
        if duplicates := len(signals) - len(new):
            row.count("duplicates", duplicates)
        return new

    def _new_row(self, signal: ItemSignal) -> ItemRow:
        at_ms = signal.timestamp_ms
        return ItemRow(half_life_ms=self._half_life_ms, landmark_ms=at_ms, first_seen_ms=at_ms, updated_ms=at_ms)

    def _apply(self, row: ItemRow, signal: ItemSignal) -> float:
        """Applies a signal to the row; returns the weight of a signal at that time."""
        at_ms, kind, related = signal.timestamp_ms, signal.kind, signal.related
        row.updated_ms = max(row.updated_ms, at_ms)
        # Restated long before floats could overflow.
        if row.half_life_ms != self._half_life_ms or row.updated_ms - row.landmark_ms > self._most_inflated_ms:
            row.restate(self._half_life_ms)
        weight = exp2((at_ms - row.landmark_ms) / self._half_life_ms)
        row.n_observations += weight
        if kind == "covisit":
            for other in related:
                strengthen(row.neighbours, other, weight * NEARNESS[signal.distance], self._n_neighbours)
            return weight
        if kind == "impression":
            row.impressions += weight
        else:
            row.popularity += weight * _POPULARITY.get(kind, 0.0)
            if kind == "click":
                row.clicks += weight
            if kind in _DESCRIBING:
                self._describe(row, signal)
        if kind == "view":
            for nearness, other in zip(NEARNESS, related, strict=False):
                strengthen(row.neighbours, other, weight * nearness * BACKWARDS, self._n_neighbours)
        else:
            for other in related:
                strengthen(row.bought, other, weight, MAX_BOUGHT)
        return weight

    def _describe(self, row: ItemRow, signal: ItemSignal) -> None:
        """Sets category and price; a change of either makes the published record outdated."""
        category = signal.category or row.category
        price = row.price if signal.price is None else signal.price
        if category != row.category or price != row.price:
            row.category, row.price = category, price
            row.n_observations_published = 0.0

    def _published(self, item_id: str, row: ItemRow) -> Output:
        row.published_ms = row.updated_ms
        row.n_observations_published = row.n_observations
        now = row.deflation()
        neighbours = strongest(row.neighbours, self._n_neighbours)
        bought = strongest(row.bought, MAX_BOUGHT)
        summary = ItemSummary(
            item_id,
            row.category,
            row.price,
            row.first_seen_ms,
            row.updated_ms,
            row.popularity * now,
            row.impressions * now,
            row.clicks * now,
            neighbours,
            [row.neighbours[other] * now for other in neighbours],
            bought,
            [row.bought[other] * now for other in bought],
        )
        return Output(ITEMS, item_id.encode(), MSGPACK.encode(summary))


def _position(signal: ItemSignal) -> tuple[int, int]:
    return signal.offset, signal.index


def render_item(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values to display; sums are as of ``updated_ms``, neighbours strongest first."""
    row = ITEM_ROWS.decode(value)
    row.restate(row.half_life_ms)
    row.neighbours = {other: row.neighbours[other] for other in strongest(row.neighbours, len(row.neighbours))}
    row.bought = {other: row.bought[other] for other in strongest(row.bought, len(row.bought))}
    return {"item_id": key.decode(), **msgspec.structs.asdict(row)}
