"""Retrieval of the pipeline without a broker: item signals, the Items fold, the global table, and the shortlist."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from streams.contract.events import Event
from streams.contract.fold import PartitionRow
from streams.contract.outputs import Output
from streams.contract.records import decode_item, decode_item_signals
from streams.contract.settings import Settings
from streams.core.behaviour.item_signals import ItemSignals
from streams.core.items.fold import ItemRow, ItemsFold
from streams.core.retrieval.context import ShopperContext, decision_context
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import shortlists
from streams.evaluation.retrieval.next_item import LIST_SIZE

_BATCH: Final = 1000


class PipelineRecommender:
    """The shortlist of a worker that has read every record before the next decision."""

    def __init__(self, settings: Settings) -> None:
        settings = replace(settings, kafka=replace(settings.kafka, partitions=1))
        self._item_table = ItemTable(settings)
        self._fold = ItemsFold(settings)
        self._state = self._fold.open(PartitionRow(), 0, [])
        self._rows: dict[bytes, ItemRow | None] = {}
        self._events: list[tuple[int, Event, Sequence[str]]] = []
        self._offset = 0
        self._batch = 0

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        event = Event(event_id="", timestamp_ms=timestamp_ms, kind="view", item_id=item)
        self._events.append((self._offset, event, before))
        self._offset += 1
        if len(self._events) == _BATCH:
            self.settle()

    def settle(self) -> None:
        item_signals = ItemSignals(0, 1, "")
        for offset, event, before in self._events:
            item_signals.add(offset, event, event.item_id or "", event.kind, list(before))
        self._events.clear()
        self._item_table.apply(decode_item(summary.value) for summary in self._folded(item_signals.outputs()))

    def recommend(self, last_items: Sequence[str], timestamp_ms: int) -> Sequence[str]:
        context = ShopperContext(
            item_id=last_items[0],
            category=None,
            views=dict.fromkeys(reversed(last_items), 1),
            cart_items=(),
            session_items=last_items,
            category_shares={},
            usual_log_price=None,
            timestamp_ms=timestamp_ms,
        )
        (shortlist,) = shortlists(self._item_table, [decision_context(self._item_table, context)], LIST_SIZE)
        return [self._item_table.ids[item] for item in shortlist.items]

    def _folded(self, outputs: Sequence[Output]) -> list[Output]:
        events = []
        for output in outputs:
            events.append((self._batch, decode_item_signals(output.value)))
            self._batch += 1
        for key in self._fold.keys(self._state, events):
            self._rows.setdefault(key, None)
        result = self._fold.fold(self._state, events, self._rows)
        self._rows |= result.rows
        return list(result.outputs)
