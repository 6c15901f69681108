"""Output records of a fold, produced before its rows are stored."""

from typing import Final

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.topics import DEAD_LETTERS

ORIGINAL_TOPIC: Final = ("x-original-topic", "kafka_dlt-original-topic")
"""Headers of a dead letter by which the tools of others send a record back: its topic, as the cluster has it."""


class Output(msgspec.Struct, frozen=True, gc=False):
    """One record to produce.

    Attributes:
        partition: Target partition; ``None`` for the one of the key, by murmur2.
        headers: Kafka headers; used by dead letters only.
    """

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def rejection_reason(self) -> str | None:
        """The reason of a dead letter; ``None`` for any other record."""
        return self.headers[0][1].decode() if self.topic == DEAD_LETTERS else None


def dead_letter(
    topic: str, partition: int, offset: int, key: bytes | None, value: bytes, rejection: RejectedRecord
) -> Output:
    """Makes a dead letter: the record's value, with the reason and the record's origin in the headers."""
    headers = {
        "reason": rejection.reason,
        "detail": rejection.detail[:512],
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
    }
    encoded = tuple((name, text.encode("utf-8", "replace")) for name, text in headers.items())
    return Output(DEAD_LETTERS, key and key[:128], value, 0, encoded)
