"""Partition of a key, as Kafka's default partitioner computes it."""

from functools import lru_cache
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """Hashes ``key`` as Kafka's default partitioner on the JVM does, to 32 bits, unsigned.

    References:
        Appleby (2008), MurmurHash2; ``org.apache.kafka.common.utils.Utils.murmur2`` fixes the seed.
    """
    size = len(key)
    tail = size & 3
    digest = _SEED ^ size
    for start in range(0, size - tail, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        digest = digest * _MULTIPLIER & _WORD ^ word
    if tail:
        digest = (digest ^ int.from_bytes(key[-tail:], "little")) * _MULTIPLIER & _WORD
    digest = (digest ^ digest >> 13) * _MULTIPLIER & _WORD
    return digest ^ digest >> 15


@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, partitions: int) -> int:
    """Returns the partition of ``key`` in a topic of ``partitions`` partitions.

    >>> partition_of(b"user-1", 4)
    0
    """
    return (murmur2(key) & _POSITIVE) % partitions
