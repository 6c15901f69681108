"""What a fold hands back: the records to produce, before anything is stored."""

from typing import NamedTuple


class Output(NamedTuple):
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
