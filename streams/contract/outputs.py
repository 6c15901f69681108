"""What a fold hands back: the records to produce, before anything is stored."""

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.topics import DEAD_LETTERS


class Output(msgspec.Struct, frozen=True, gc=False):
    """One record to produce.

    Attributes:
        partition: Explicit, or ``None`` to let the key decide by murmur2.
        headers: Kafka headers; used by dead letters only.
    """

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def dead_letter(
    topic: str, partition: int, offset: int, key: bytes | None, value: bytes, rejection: RejectedRecord
) -> Output:
    """Makes a dead letter of a record: its value, and in the headers what is wrong with it and where it was."""
    headers = {
        "reason": rejection.reason,
        "detail": rejection.detail[:512],
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
    }
    encoded = tuple((name, text.encode("utf-8", "replace")) for name, text in headers.items())
    return Output(DEAD_LETTERS, key and key[:128], value, 0, encoded)
