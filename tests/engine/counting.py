"""The smallest fold that can lose or repeat something: events and prices per user, one output an event.

Run as a program it is a worker: ``python -m tests.engine.counting`` with HEADRACE_* in the environment; MUTANT names
the mechanism that is taken away.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import orjson

from streams.contract.events import Event, decode_event
from streams.contract.fold import FoldResult, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.records import event_ref
from streams.contract.settings import Settings, load_settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, USERS_CHANGELOG

if TYPE_CHECKING:
    from streams.engine.app import BatchApp


class Count(msgspec.Struct, array_like=True):
    applied_offset: int = -1
    deadline_ms: int = 0
    events: int = 0
    cents: int = 0
    digest: int = 0


@dataclass
class State:
    row: PartitionRow
    partition: int


class CountingFold:
    source = CLICKSTREAM
    changelog = USERS_CHANGELOG
    schema = oldest_schema = 1

    def decode(self, record: SourceRecord, partition: int) -> Event:
        return decode_event(record.value)

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> State:
        return State(row, partition)

    def keys(self, state: State, events: Sequence[tuple[int, Event]]) -> Iterable[bytes]:
        return {self.key(event) for _, event in events}

    def key(self, event: Event) -> bytes:
        return (event.user_id or "").encode()

    def fold(
        self, state: State, events: Sequence[tuple[int, Event]], rows: dict[bytes, Count | None]
    ) -> FoldResult[Count]:
        outputs: list[Output] = []
        changed: dict[bytes, Count] = {}
        for offset, event in events:
            key = self.key(event)
            row = changed.get(key) or rows.get(key) or Count()
            state.row.count("applied")
            if self.skips(offset, row):
                continue
            self.apply(row, offset, event)
            changed[key] = row
            value = {"event_ref": event_ref(CLICKSTREAM, state.partition, offset), "events": row.events}
            outputs.append(Output(PREDICTIONS, key, orjson.dumps(value)))
        return FoldResult(outputs, changed)

    def apply(self, row: Count, offset: int, event: Event) -> None:
        row.applied_offset = offset
        row.events += 1
        row.cents += round((event.price or 0.0) * 100)
        row.digest = (row.digest * 31 + offset) % (1 << 61)

    def skips(self, offset: int, row: Count) -> bool:
        return offset <= row.applied_offset

    def decode_row(self, value: bytes) -> Count:
        return msgspec.msgpack.decode(value, type=Count)

    def encode_row(self, row: Count) -> bytes:
        return msgspec.msgpack.encode(row)


def build(settings: Settings) -> "BatchApp":
    from streams.engine.app import BatchApp
    from streams.engine.worker import add_fold

    app = BatchApp(settings)
    add_fold(app, CountingFold(), settings.kafka.partitions, table="users")
    return app


def main() -> None:
    import faust

    from tests.engine.mutants import mutated

    with mutated(os.environ.get("MUTANT", "")):
        app = build(load_settings(environment=os.environ))
        app.finalize()
        faust.Worker(app, loglevel=os.environ.get("LOGLEVEL", "error")).execute_from_commandline()


if __name__ == "__main__":
    # The module that the mutants change is the imported one, not this program.
    from tests.engine import counting

    counting.main()
