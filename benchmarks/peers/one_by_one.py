"""The three folds taken event by event, for engines that have no micro-batches: the same core, rows and outputs.

The engine around it keeps the rows and delivers the outputs. It imports the core and what crosses topics, nothing else,
so that it runs in a peer's own environment.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.fold import PARTITION_KEY, Fold, PartitionRow, record_digest
from streams.contract.outputs import Output
from streams.contract.records import decode_item, decode_parameters
from streams.contract.settings import Settings
from streams.core.behaviour.fold import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.items.fold import ItemsFold
from streams.core.learning import LearningFold
from streams.core.models.scoring import Scorers
from streams.core.policies.reward_models import PolicyModels
from streams.core.retrieval.item_table import ItemTable

REFRESH_S: Final = 0.1
"""Feeds are brought up to date that often, as a worker of the engine does with each batch."""

_encode: Final = msgspec.msgpack.Encoder().encode


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    timestamp_type: int = 0


class Rows(NamedTuple):
    """Where the engine keeps the rows of the partition at hand."""

    read: Callable[[bytes], bytes | None]
    write: Callable[[bytes, bytes], object]


class OneByOne:
    """All folds of one process, with their global tables."""

    def __init__(self, settings: Settings) -> None:
        self._item_table = ItemTable(settings)
        self._scorers = Scorers(settings.targets, feature_schema(settings.windows))
        self._policies = PolicyModels(settings.decisions)
        folds: list[Fold[Any, Any, Any]] = [
            BehaviourFold(settings, self._item_table, self._scorers, self._policies),
            ItemsFold(settings),
            LearningFold(settings),
        ]
        self.folds = {fold.source: fold for fold in folds}
        self._states: dict[tuple[str, int], Any] = {}
        self._items: list[bytes] = []
        self._models: list[bytes] = []
        self._refreshed_s = 0.0

    def take_item(self, value: bytes) -> None:
        self._items.append(value)

    def take_model(self, value: bytes) -> None:
        self._models.append(value)

    def fold(self, source: str, partition: int, record: Record, rows: Rows) -> list[Output]:
        """Takes one record through a fold: reads its rows, applies it, writes what changed, returns the outputs."""
        self._refresh()
        fold = self.folds[source]
        state = self._states.get((source, partition))
        if state is None:
            state = self._states[source, partition] = fold.open(PartitionRow(rows_schema=fold.schema), partition, ())
        try:
            events = [(record.offset, fold.decode(record, partition))]
        except RejectedRecord as rejection:
            raise RuntimeError(f"{source}[{partition}] has a bad record at {record.offset}") from rejection
        outputs: list[Output] = []
        while events:
            loaded = {key: rows.read(key) for key in fold.keys(state, events)}
            decoded = {key: None if value is None else fold.decode_row(value) for key, value in loaded.items()}
            folded = fold.fold(state, events, decoded)
            events = events[len(events) - folded.n_left :]
            if not events:
                state.row.applied_offset = record.offset
                state.row.last_record = record_digest(record.timestamp, record.key)
            for key, row in folded.rows.items():
                rows.write(key, fold.encode_row(row))
            rows.write(PARTITION_KEY, _encode(state.row))
            outputs += folded.outputs
        return outputs

    def _refresh(self) -> None:
        if (now_s := monotonic()) - self._refreshed_s < REFRESH_S:
            return
        self._refreshed_s = now_s
        if self._items:
            self._item_table.apply(map(decode_item, self._items))
            self._items.clear()
        for parameters in map(decode_parameters, self._models):
            taker = self._policies if parameters.learner in self._policies.versions else self._scorers
            taker.apply(parameters)
        self._models.clear()
