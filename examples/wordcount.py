"""The engine alone: counts words in micro-batches; kill it whenever you like, the counts stay right.

It reads the topic ``words`` (one word a record, which is its key, too) and writes ``word-counts``. Create both, and
``word-counts-changelog`` (compacted), with 4 partitions each; then, with a broker at KAFKA_BOOTSTRAP_SERVERS::

    python examples/wordcount.py

Its fold runs in memory, too, crashes included: docs/how-to/test-a-fold.md shows how.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import faust
import msgspec

from streams.contract.fold import FoldResult, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.settings import load_settings
from streams.engine.app import BatchApp
from streams.engine.worker import add_fold


class Count(msgspec.Struct, array_like=True):
    applied_offset: int = -1  # the highest offset that is counted: how a repeat is known
    deadline_ms: int = 0
    times: int = 0


@dataclass
class State:
    row: PartitionRow


class WordCount:
    """``(rows, events) -> (rows, outputs)``: all that is about words is here."""

    source, changelog, schema, oldest_schema = "words", "word-counts-changelog", 1, 1
    decode_row = staticmethod(msgspec.msgpack.Decoder(Count).decode)
    encode_row = staticmethod(msgspec.msgpack.Encoder().encode)

    def decode(self, record: SourceRecord, partition: int) -> bytes:
        return record.value or b""

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> State:
        return State(row)

    def keys(self, state: State, events: Sequence[tuple[int, bytes]]) -> Iterable[bytes]:
        return {word for _, word in events}

    def fold(
        self, state: State, events: Sequence[tuple[int, bytes]], rows: dict[bytes, Count | None]
    ) -> FoldResult[Count]:
        counts = {word: row or Count() for word, row in rows.items()}
        for offset, word in events:
            if offset > counts[word].applied_offset:
                counts[word].applied_offset = offset
                counts[word].times += 1
        return FoldResult([Output("word-counts", word, b"%d" % count.times) for word, count in counts.items()], counts)


def main() -> None:
    own = {"HEADRACE_ENGINE__APP_ID": "wordcount", "HEADRACE_KAFKA__TOPIC_PREFIX": ""}
    settings = load_settings(environment={**own, **os.environ})
    app = BatchApp(settings)
    add_fold(app, WordCount(), settings.kafka.partitions, table="words")
    app.finalize()
    faust.Worker(app, loglevel="warn").execute_from_commandline()


if __name__ == "__main__":
    main()
