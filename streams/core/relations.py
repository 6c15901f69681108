"""Relations: the fold per item. It keeps what events said of each item, decayed, and tells the items feed.

The feed hears of an item when there is news, by event time alone: it is the same wherever batches are cut.

References:
    Cormode, Shkapenyuk, Srivastava and Xu (2009), "Forward decay: a practical time decay model for streaming systems",
    ICDE: a weight grows with its time instead of the past shrinking with each event, so that order does not matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp2
from typing import Any, Final

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.fold import Folded, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, ItemSummary, Relation, RelationBatch, decode_relations
from streams.contract.settings import Settings
from streams.contract.topics import ITEM_ROWS_CHANGELOG, ITEMS, RELATIONS
from streams.core.retrieval.rules import BACKWARDS, NEARNESS, strengthen, strongest

ITEM_SCHEMA: Final = 2
_DESCRIBING: Final = frozenset({"view", "add_to_cart", "purchase", "click"})
"""Events that are about the item itself; an impression's category and price may be those of the page it is on."""
_POPULARITY: Final = {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
MAX_BOUGHT: Final = 8
"""Items bought together with it that are published of an item."""
_MOST_HALF_LIVES: Final = 500.0
NEVER_MS: Final = -(1 << 62)
_FEW: Final = 8.0
"""Relations up to which each further one is news."""
_LONGEST_UNPUBLISHED_MS: Final = 3_600_000
"""After which anything is news."""
_BEFORE_ALL: Final = (-1, -1)


class ItemRow(msgspec.Struct, array_like=True):
    """One item; its sums are inflated: each weight is 2 to the number of half-lives since ``landmark_ms``.

    Attributes:
        guard: Highest offset of the relations topic applied to this row.
        half_life_ms: That the sums are inflated by; under other settings they are restated.
        landmark_ms: What the inflated sums are relative to.
        updated_ms: Latest event time.
        published_ms: Event time of the last record to the feed, :data:`NEVER_MS` before the first.
        told: Relations, whatever their kind; inflated, as the other sums are.
        told_published: Of them, those that the last record to the feed knew of; 0 where it says what no longer holds.
        neighbours: Item to inflated weight of the rule that leads to it.
        bought: Item to inflated weight of having been bought in the same session.
    """

    guard: int = -1
    deadline_ms: int = 0
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
    told: float = 0.0
    told_published: float = 0.0

    def deflation(self) -> float:
        """Returns what a sum must be multiplied by to be as of ``updated_ms``."""
        return exp2((self.landmark_ms - self.updated_ms) / self.half_life_ms)

    def restate(self, half_life_ms: float) -> None:
        """Moves the landmark to ``updated_ms``; from there on sums fade by another half-life."""
        deflation = self.deflation()
        self.popularity *= deflation
        self.impressions *= deflation
        self.clicks *= deflation
        self.told *= deflation
        self.told_published *= deflation
        self.neighbours = {other: strength * deflation for other, strength in self.neighbours.items()}
        self.bought = {other: strength * deflation for other, strength in self.bought.items()}
        self.landmark_ms = self.updated_ms
        self.half_life_ms = half_life_ms

    def has_news(self, weight: float) -> bool:
        """Tells whether what the feed does not know is worth a record.

        It is where as many relations are new as the standard error of a count of all of them, which is its root: what
        is less could as well be chance.

        Args:
            weight: Of a relation now.
        """
        new = self.told - self.told_published
        if new * new >= self.told * weight or self.told <= _FEW * weight:
            return True
        return self.updated_ms - self.published_ms >= _LONGEST_UNPUBLISHED_MS


@dataclass
class RelationsState:
    """A partition of relations in memory: nothing beyond its row."""

    row: PartitionRow


class RelationsFold:
    """``(item rows, relations) -> (item rows, items feed)``."""

    source = RELATIONS
    changelog = ITEM_ROWS_CHANGELOG
    schema = ITEM_SCHEMA

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.kafka.partitions
        self._half_life_ms = settings.items.half_life_s * 1000
        self._n_neighbours = settings.items.neighbours
        self._most_inflated_ms = _MOST_HALF_LIVES * self._half_life_ms
        self._publish_ms = settings.items.publish_interval_s * 1000
        self._decoder = msgspec.msgpack.Decoder(ItemRow)

    def decode(self, record: SourceRecord, partition: int) -> RelationBatch:
        """Reads one record.

        Raises:
            RejectedRecord: with reason ``malformed``, or ``wrong-partition`` when it tells an item of another one.
        """
        try:
            batch = decode_relations(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RejectedRecord("malformed", str(error)) from error
        offsets = [relation.offset for relation in batch.relations]
        if offsets != sorted(offsets):
            raise RejectedRecord("malformed", "the triggers do not rise")
        for item_id in {relation.item_id for relation in batch.relations}:
            if partition_of(item_id.encode(), self._partitions) != partition:
                raise RejectedRecord("wrong-partition", f"item {item_id!r} belongs to another partition")
        return batch

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> RelationsState:
        return RelationsState(row)

    def keys(self, state: RelationsState, events: Sequence[tuple[int, RelationBatch]]) -> Iterable[bytes]:
        item_ids = {relation.item_id for _, batch in events for relation in batch.relations}
        return [item_id.encode() for item_id in item_ids]

    def fold(
        self,
        state: RelationsState,
        events: Sequence[tuple[int, RelationBatch]],
        rows: dict[bytes, ItemRow | None],
    ) -> Folded[ItemRow]:
        touched: dict[str, ItemRow] = {}
        ahead: dict[str, int] = {}
        summaries: dict[str, Output] = {}
        partition_guard, apply, publish_ms = state.row.guard, self._apply, self._publish_ms
        for offset, batch in events:
            for relation in self._fresh(state.row, batch):
                item_id = relation.item_id
                row = touched.get(item_id)
                if row is None:
                    row = touched[item_id] = rows[item_id.encode()] or self._new_row(relation)
                    if row.guard > partition_guard:
                        ahead[item_id] = row.guard
                # One record may hold several relations of an item: what counts is the guard before the batch.
                if ahead and offset <= ahead.get(item_id, -1):
                    continue
                weight = apply(row, relation)
                row.guard = offset
                if row.updated_ms - row.published_ms >= publish_ms and row.has_news(weight):
                    # As of now, and not of the batch's end, wherever that is; of several the last one is enough.
                    summaries[item_id] = self._published(item_id, row)
        changed = {id_.encode(): row for id_, row in touched.items() if row.guard > ahead.get(id_, -1)}
        return Folded(list(summaries.values()), changed)

    def decode_row(self, value: bytes) -> ItemRow:
        return self._decoder.decode(value)

    def encode_row(self, row: ItemRow) -> bytes:
        return MSGPACK.encode(row)

    def _fresh(self, row: PartitionRow, batch: RelationBatch) -> list[Relation]:
        """Advances the source partition's mark; what is not above it was applied from an earlier record."""
        relations, mark = batch.relations, row.marks.get(batch.partition, _BEFORE_ALL)
        if relations and _trigger(relations[0]) > mark:
            fresh = relations
        else:
            fresh = [relation for relation in relations if _trigger(relation) > mark]
        if fresh:
            row.marks[batch.partition] = _trigger(fresh[-1])
            row.count("applied", len(fresh))
        if duplicates := len(relations) - len(fresh):
            row.count("duplicates", duplicates)
        return fresh

    def _new_row(self, relation: Relation) -> ItemRow:
        at_ms = relation.timestamp_ms
        return ItemRow(half_life_ms=self._half_life_ms, landmark_ms=at_ms, first_seen_ms=at_ms, updated_ms=at_ms)

    def _apply(self, row: ItemRow, relation: Relation) -> float:
        """Changes the row by what is said of its item; returns the weight of a relation at that time."""
        at_ms, kind, related = relation.timestamp_ms, relation.kind, relation.related
        row.updated_ms = max(row.updated_ms, at_ms)
        # Long before floats could overflow.
        if row.half_life_ms != self._half_life_ms or row.updated_ms - row.landmark_ms > self._most_inflated_ms:
            row.restate(self._half_life_ms)
        weight = exp2((at_ms - row.landmark_ms) / self._half_life_ms)
        row.told += weight
        if kind == "covisit":
            for other in related:
                strengthen(row.neighbours, other, weight * NEARNESS[relation.distance], self._n_neighbours)
            return weight
        if kind == "impression":
            row.impressions += weight
        else:
            row.popularity += weight * _POPULARITY.get(kind, 0.0)
            if kind == "click":
                row.clicks += weight
            if kind in _DESCRIBING:
                self._describe(row, relation)
        if kind == "view":
            for nearness, other in zip(NEARNESS, related, strict=False):
                strengthen(row.neighbours, other, weight * nearness * BACKWARDS, self._n_neighbours)
        else:
            for other in related:
                strengthen(row.bought, other, weight, MAX_BOUGHT)
        return weight

    def _describe(self, row: ItemRow, relation: Relation) -> None:
        """Takes over category and price; another one is news, however much is known."""
        category = relation.category or row.category
        price = row.price if relation.price is None else relation.price
        if category != row.category or price != row.price:
            row.category, row.price = category, price
            row.told_published = 0.0

    def _published(self, item_id: str, row: ItemRow) -> Output:
        row.published_ms = row.updated_ms
        row.told_published = row.told
        return Output(ITEMS, item_id.encode(), MSGPACK.encode(self._summary(item_id, row)))

    def _summary(self, item_id: str, row: ItemRow) -> ItemSummary:
        now = row.deflation()
        neighbours = strongest(row.neighbours, self._n_neighbours)
        bought = strongest(row.bought, MAX_BOUGHT)
        return ItemSummary(
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


def _trigger(relation: Relation) -> tuple[int, int]:
    return relation.offset, relation.index


def render_item(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values, for people; sums are as of ``updated_ms``, neighbours strongest first."""
    row = msgspec.msgpack.decode(value, type=ItemRow)
    row.restate(row.half_life_ms)
    row.neighbours = {other: row.neighbours[other] for other in strongest(row.neighbours, len(row.neighbours))}
    row.bought = {other: row.bought[other] for other in strongest(row.bought, len(row.bought))}
    return {"item_id": key.decode(), **msgspec.structs.asdict(row)}
