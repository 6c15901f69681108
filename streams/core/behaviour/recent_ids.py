"""Ids of a shopper's last events, to drop what is sent again.

They are bytes, oldest id first, 12 an id: a hash of 8, then the partition's watermark when the event was applied, in
seconds, as uint32, little-endian.
"""

from hashlib import blake2b
from typing import Final

from streams.contract.events import MAX_RETRIED_EVENTS

ALWAYS_KEPT: Final = 8
"""Of so many last events the ids are kept however old they are."""
_HASH_BYTES: Final = 8
TIME_BYTES: Final = 4
_ENTRY_BYTES: Final = _HASH_BYTES + TIME_BYTES
_SHORT: Final = ALWAYS_KEPT * _ENTRY_BYTES
_LONGEST: Final = MAX_RETRIED_EVENTS * _ENTRY_BYTES


def id_hash(event_id: str) -> bytes:
    """Hashes an event id to 64 bits: of 64 ids, another one is among them with a probability of 3e-18."""
    return blake2b(event_id.encode(), digest_size=_HASH_BYTES).digest()


def hashes_of(ids: bytes) -> list[bytes]:
    """Lists the hashes, oldest first."""
    return [ids[begin : begin + _HASH_BYTES] for begin in range(0, len(ids), _ENTRY_BYTES)]


def is_recent(ids: bytes, hashed: bytes) -> bool:
    """Returns whether an id is remembered."""
    place = ids.find(hashed)
    while place > 0 and place % _ENTRY_BYTES:
        place = ids.find(hashed, place + 1)
    return place >= 0


def with_id(ids: bytes, hashed: bytes, watermark_ms: int, window_s: int) -> bytes:
    """Adds an id, and drops old ones."""
    watermark_s = max(watermark_ms, 0) // 1000
    ids += hashed + watermark_s.to_bytes(TIME_BYTES, "little")
    return ids if len(ids) <= _SHORT else without_old(ids, watermark_ms, window_s)


def without_old(ids: bytes, watermark_ms: int, window_s: int) -> bytes:
    """Drops ids that are older than ``window_s``, but the last few, and those that are too many."""
    since_s = watermark_ms // 1000 - window_s
    begin, end = max(len(ids) - _LONGEST, 0), len(ids) - _SHORT
    while begin < end and int.from_bytes(ids[begin + _HASH_BYTES : begin + _ENTRY_BYTES], "little") < since_s:
        begin += _ENTRY_BYTES
    return ids[begin:] if begin else ids
