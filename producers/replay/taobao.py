"""Alibaba's UserBehavior: ``user_id,item_id,category_id,behavior,timestamp``, with or without that header."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streams.contract.errors import UnreadableSource
from streams.contract.events import LATEST_TIMESTAMP_MS, Event, Kind

HEADER: Final = b"user_id,item_id,category_id,behavior,timestamp"

_KINDS: Final[dict[str, Kind]] = {"pv": "view", "cart": "add_to_cart", "buy": "purchase", "fav": "rating"}
_FAVOURITE_RATING: Final = 5.0
_LONGEST_IDENTIFIER: Final = 128


def read_taobao(path: Path) -> Iterator[Event]:
    """Reads the file lazily, in its own order, which need not be the order of time.

    ``pv`` is a view, ``cart`` an add_to_cart, ``buy`` a purchase. There is no kind for ``fav``: it becomes a ``rating``
    of 5.0, so that no line is lost. Event ids are the line numbers, ``taobao-<line>``, the same at every reading.

    Raises:
        UnreadableSource: The file cannot be opened, or a line is not of the format; the message names it.

    References:
        Tianchi dataset 649, "User Behavior Data from Taobao for Recommendation".
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number > 1 or line.rstrip() != HEADER:
                    yield _read_line(path, number, line)
    except OSError as error:
        raise UnreadableSource(f"{path}: {error.strerror}") from error


def _read_line(path: Path, number: int, line: bytes) -> Event:
    try:
        user, item, category, behavior, seconds = line.decode("ascii").rstrip("\r\n").split(",")
        timestamp_ms = int(seconds) * 1000
        kind = _KINDS[behavior]
    except (ValueError, KeyError) as error:
        shown = line[:80].decode("ascii", "replace").rstrip()
        raise UnreadableSource(f"{path}, line {number}: not {HEADER.decode()}: {shown!r}") from error
    if not 0 <= timestamp_ms <= LATEST_TIMESTAMP_MS:
        raise UnreadableSource(f"{path}, line {number}: {seconds} is not a time between 1970 and 2100")
    for identifier in (user, item, category):
        if not 0 < len(identifier) <= _LONGEST_IDENTIFIER:
            raise UnreadableSource(f"{path}, line {number}: an identifier has 1 to {_LONGEST_IDENTIFIER} characters")
    return Event(
        event_id=f"taobao-{number}",
        timestamp_ms=timestamp_ms,
        kind=kind,
        user_id=user,
        item_id=item,
        category=category,
        rating=_FAVOURITE_RATING if kind == "rating" else None,
    )
