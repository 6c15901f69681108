"""A worker with the smallest fold that keeps a row: counts events and sums prices by user, one JSON out an event.

python -m benchmarks.counting
"""

import os
from collections.abc import Iterable, Sequence

import faust
import msgspec
import orjson

from streams.contract.events import Event, decode_event
from streams.contract.fold import FoldResult, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.records import event_ref
from streams.contract.settings import Settings, load_settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, USERS_CHANGELOG
from streams.engine.app import BatchApp
from streams.engine.worker import add_fold


class Count(msgspec.Struct, array_like=True):
    applied_offset: int = -1
    deadline_ms: int = 0
    events: int = 0
    sum: float = 0.0


class State:
    def __init__(self, row: PartitionRow, partition: int) -> None:
        self.row = row
        self.partition = partition


class CountingFold:
    source, changelog, schema, oldest_schema = CLICKSTREAM, USERS_CHANGELOG, 1, 1
    encode_row = staticmethod(msgspec.msgpack.Encoder().encode)
    decode_row = staticmethod(msgspec.msgpack.Decoder(Count).decode)

    def decode(self, record: SourceRecord, partition: int) -> Event:
        return decode_event(record.value)

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> State:
        return State(row, partition)

    def keys(self, state: State, events: Sequence[tuple[int, Event]]) -> Iterable[bytes]:
        return {(event.user_id or "").encode() for _, event in events}

    def fold(
        self, state: State, events: Sequence[tuple[int, Event]], rows: dict[bytes, Count | None]
    ) -> FoldResult[Count]:
        outputs: list[Output] = []
        counts = {key: row or Count() for key, row in rows.items()}
        for offset, event in events:
            key = (event.user_id or "").encode()
            count = counts[key]
            if offset <= count.applied_offset:
                continue
            count.applied_offset = offset
            count.events += 1
            count.sum += event.price or 0.0
            ref = event_ref(CLICKSTREAM, state.partition, offset)
            value = {"event_ref": ref, "events": count.events, "sum": count.sum}
            outputs.append(Output(PREDICTIONS, key, orjson.dumps(value)))
        return FoldResult(outputs, counts)


def build_counting_app(settings: Settings) -> BatchApp:
    app = BatchApp(settings)
    add_fold(app, CountingFold(), settings.kafka.partitions, table="users")
    return app


def main() -> None:
    app = build_counting_app(load_settings(environment=os.environ))
    app.finalize()
    faust.Worker(app, loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main()
