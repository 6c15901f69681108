"""Global tables: small compacted topics that every worker reads from the beginning and then keeps following."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings
from streams.engine.exit_codes import FAILED, end_process
from streams.engine.incidents import GLOBAL_TABLE_RECORD_REFUSED, RefusedRecords
from streams.engine.offsets import Offsets

ValueT = TypeVar("ValueT")

RecordDecoder = Callable[[bytes | None, bytes | None], ValueT | None]

_POLL_S: Final = 0.2
_MAX_RECORDS: Final = 1000
_CHECK_S: Final = 5.0
_WAIT_S: Final = 0.05
_MAX_QUEUED: Final = 2000
_ANSWER_S: Final = 1.0


def values_of(decode: Callable[[bytes], ValueT]) -> RecordDecoder[ValueT]:
    """Makes a decoder of values alone, for a table whose values name their key; tombstones are skipped."""
    return lambda _, value: None if value is None else decode(value)


class GlobalTableProgress(NamedTuple):
    """Progress of a reader; lag and stall are as of the last answer of the broker.

    Attributes:
        values: Number read since the start.
        lag: Offsets not yet read.
        stalled_for_s: How long the reader has had something to read and has not moved.
    """

    topic: str
    values: int
    lag: int
    stalled_for_s: float


class GlobalTableReader(Generic[ValueT]):
    """Reads all partitions of a global table from the beginning, without a consumer group, on a thread.

    Args:
        decode: Called with the key and the value of each record, on the reader's thread; ``None`` skips the record.
        apply: Called by :meth:`start` with the values read so far, so that they do not all wait in memory.
        frozen: Stop at the ends that the partitions had at the start; then the same log gives the same outputs.
    """

    def __init__(
        self,
        topic: str,
        settings: Settings,
        decode: RecordDecoder[ValueT],
        apply: Callable[[list[ValueT]], object] | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        self._topic = topic
        self._name = settings.names.topic(topic)
        self._settings = settings
        self._decode = decode
        self._apply = apply
        self._frozen = frozen
        self._values: deque[ValueT] = deque()
        self._values_read = 0
        self._refused = RefusedRecords(GLOBAL_TABLE_RECORD_REFUSED, topic)
        self._next: dict[int, int] = {}
        self._checked: dict[int, int] = {}
        self._lag = 0
        self._progress_s = monotonic()
        self._stalled_for_s = 0.0
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_or_end, name=f"global table-{topic}", daemon=True)

    def start(self, timeout_s: float = 60.0) -> None:
        """Starts to read, and returns at the ends that the partitions had at the start.

        Raises:
            RefusedStart: The topic is missing, or nothing was read for ``timeout_s``.
        """
        self._thread.start()
        read, since_s = 0, monotonic()
        while not self._caught_up.wait(_WAIT_S):
            if self._apply is not None:
                self._apply(self.take())
            if self._values_read > read:
                read, since_s = self._values_read, monotonic()
            elif monotonic() - since_s > timeout_s:
                raise RefusedStart(
                    f"the global table {self._topic} could not be read: no record came for {timeout_s:.0f} s"
                )

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def take(self) -> list[ValueT]:
        """Returns the values read since the last call, in order."""
        values = self._values
        return [values.popleft() for _ in range(len(values))]

    def progress(self) -> GlobalTableProgress:
        """Returns the progress; callable from any thread."""
        return GlobalTableProgress(self._topic, self._values_read, self._lag, self._stalled_for_s)

    def _read_or_end(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - a worker without its global tables would go on with old values unnoticed
            end_process(FAILED, f"the global table {self._topic} cannot be read: {error}")

    def _read(self) -> None:
        with Offsets(self._settings) as offsets:
            ends = [offsets.coverage(self._topic, number) for number in range(offsets.partitions(self._topic))]
        missing = {number: end for number, (first, end) in enumerate(ends) if end > first}
        consumer = Consumer(
            {
                **reader_configuration(self._settings),
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 1024,
            }
        )
        checked_s = monotonic()
        consumer.assign([TopicPartition(self._name, number, OFFSET_BEGINNING) for number in range(len(ends))])
        try:
            while not self._stopping.is_set() and not (self._frozen and not missing):
                if not missing:
                    self._caught_up.set()
                self._wait_for_room()
                for message in consumer.consume(_MAX_RECORDS, _POLL_S):
                    number, offset = message.partition(), message.offset()
                    if error := message.error():
                        if error.code() == KafkaError._PARTITION_EOF and number is not None and offset is not None:
                            # The marker of a transaction follows its last record and is no record itself.
                            self._next[number] = offset
                            missing.pop(number, None)
                        elif not error.retriable():
                            raise RefusedStart(error.str())
                        continue
                    self._take(message.key(), message.value(), f"{number}-{offset}")
                    if number is not None and offset is not None:
                        self._next[number] = offset + 1
                        if offset + 1 >= missing.get(number, offset + 2):
                            del missing[number]
                if monotonic() - checked_s > _CHECK_S:
                    self._check(consumer, len(ends))
                    checked_s = monotonic()
            self._caught_up.set()
        finally:
            consumer.close()

    def _wait_for_room(self) -> None:
        """Waits while :meth:`start` still has many values to apply."""
        while self._apply is not None and len(self._values) > _MAX_QUEUED and not self._caught_up.is_set():
            if self._stopping.wait(_WAIT_S):
                return

    def _take(self, key: bytes | None, value: bytes | None, place: str) -> None:
        try:
            if (decoded := self._decode(key, value)) is not None:
                self._values.append(decoded)
                self._values_read += 1
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refused.add("unreadable", f"{place}: {error}")

    def _check(self, consumer: Consumer, partitions: int) -> None:
        """Compares the position with the ends of the partitions; both count transaction markers."""
        try:
            ends = [
                consumer.get_watermark_offsets(TopicPartition(self._name, number), _ANSWER_S)[1]
                for number in range(partitions)
            ]
        except KafkaException:
            self._stalled_for_s = monotonic() - self._progress_s
            return
        self._lag = sum(max(0, end - self._next.get(number, 0)) for number, end in enumerate(ends))
        if not self._lag or self._next != self._checked:
            self._progress_s = monotonic()
        self._stalled_for_s = monotonic() - self._progress_s
        self._checked = dict(self._next)
