"""Sequential rules: items viewed after and before an item, and the ranking of next items that follows from them.

References:
    Ludewig and Jannach (2018), "Evaluation of session-based recommendation algorithms", UMUAI 28, section 3.1.
    Cormode, Shkapenyuk, Srivastava and Xu (2009), "Forward decay", ICDE: a weight grows with its time.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import exp2
from typing import Final, TypeVar

from streams.core.sums import float_sum

NEARNESS: Final = (1.0, 0.6, 0.36)
"""Weight of a rule between two items of a session, by the number of items between them (at most two)."""
BACKWARDS: Final = 0.5
"""Weight of the rule from the later item to the earlier one, relative to the forward rule."""
SHARE_PRIOR: Final = 5.0
"""Prior weight of rules to other items, so that a single visit gives only a small share."""

RECENCY: Final = (1.0, 0.4, 0.16, 0.064, 0.0256)
"""Weight of the rules of each of the last items, the current one first."""
LAST_ITEMS: Final = len(RECENCY)
RETURN: Final = 0.05
"""Assumed share of sessions that return to the previous item; to the one before it a half, then a third, and so on."""
_MOST_HALF_LIVES: Final = 500.0

_ItemT = TypeVar("_ItemT", bound=Hashable)


def strengthen(strengths: dict[str, float], other: str, weight: float, kept: int) -> bool:
    """Adds to the weight of a rule; beyond ``2 * kept`` rules, keeps the strongest ``kept`` and returns ``True``."""
    strengths[other] = strengths.get(other, 0.0) + weight
    if len(strengths) <= 2 * kept:
        return False
    stay = {other: strengths[other] for other in strongest(strengths, kept)}
    strengths.clear()
    strengths.update(stay)
    return True


def strongest(strengths: dict[str, float], kept: int) -> list[str]:
    """Returns the targets of an item's rules, strongest first; ties in the order in which they were added."""
    return sorted(strengths, key=strengths.__getitem__, reverse=True)[:kept]


def rank(last_items: Sequence[_ItemT], closest: Callable[[_ItemT], Iterable[tuple[_ItemT, float]]]) -> list[_ItemT]:
    """Ranks the items that a session's last items lead to, most probable first, without the current item.

    Args:
        last_items: Distinct items, the current one first, then most recent first.
        closest: Returns an item's rules: the other items, each with its share in all of the item's rules.

    >>> rank(["hat", "cap"], {"hat": [("scarf", 0.2), ("cap", 0.1)], "cap": [("scarf", 0.1)]}.__getitem__)
    ['scarf', 'cap']
    """
    scores: dict[_ItemT, float] = {}
    score_of = scores.get
    for recency, source in zip(RECENCY, last_items, strict=False):
        for item, share in closest(source):
            scores[item] = score_of(item, 0.0) + recency * share
    for distance, item in enumerate(last_items[1:LAST_ITEMS], start=1):
        scores[item] = score_of(item, 0.0) + RETURN / distance
    if last_items:
        scores.pop(last_items[0], None)
    return sorted(scores, key=scores.__getitem__, reverse=True)


class _Rules:
    """Rules from one item.

    Attributes:
        strengths: Other item to inflated weight.
        total: Sum of the weights.
        inflation: Inflation at the time of the last addition.
    """

    __slots__ = ("inflation", "strengths", "total")

    def __init__(self) -> None:
        self.strengths: dict[str, float] = {}
        self.total = 0.0
        self.inflation = 1.0

    def add(self, other: str, weight: float, inflation: float, kept: int) -> None:
        has_lost = strengthen(self.strengths, other, weight, kept)
        self.total = float_sum(self.strengths.values()) if has_lost else self.total + weight
        self.inflation = inflation


class SequentialRules:
    """Rules of all items in one process; the Items fold keeps the same rules, one item a row.

    Args:
        half_life_s: Half-life of a visit's weight, seconds.
        kept: Rules kept of an item.
    """

    def __init__(self, half_life_s: float, kept: int) -> None:
        self._half_life_ms = half_life_s * 1000.0
        self._kept = kept
        self._landmark_ms: int | None = None
        self._items: dict[str, _Rules] = {}

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        """Learns from a visit; ``before`` are the other items of the session, distinct, most recent first."""
        if not before:
            return
        inflation = self._inflation(timestamp_ms)
        own = self._of(item)
        for nearness, other in zip(NEARNESS, before, strict=False):
            weight = inflation * nearness
            self._of(other).add(item, weight, inflation, self._kept)
            own.add(other, weight * BACKWARDS, inflation, self._kept)

    def related(self, last_items: Sequence[str]) -> list[str]:
        """Ranks the items that a session's last items lead to, see :func:`rank`."""
        return rank(last_items, self._closest)

    def _of(self, item: str) -> _Rules:
        rules = self._items.get(item)
        if rules is None:
            rules = self._items[item] = _Rules()
        return rules

    def _closest(self, item: str) -> Iterable[tuple[str, float]]:
        rules = self._items.get(item)
        if rules is None:
            return ()
        share = 1.0 / (rules.total + SHARE_PRIOR * rules.inflation)
        return [(other, strength * share) for other, strength in rules.strengths.items()]

    def _inflation(self, timestamp_ms: int) -> float:
        if self._landmark_ms is None:
            self._landmark_ms = timestamp_ms
        half_lives = (timestamp_ms - self._landmark_ms) / self._half_life_ms
        if half_lives > _MOST_HALF_LIVES:  # long before weights could overflow
            self._restate(exp2(-half_lives), timestamp_ms)
            half_lives = 0.0
        return exp2(max(half_lives, -_MOST_HALF_LIVES))

    def _restate(self, deflation: float, landmark_ms: int) -> None:
        self._landmark_ms = landmark_ms
        for rules in self._items.values():
            rules.strengths = {other: strength * deflation for other, strength in rules.strengths.items()}
            rules.total *= deflation
            rules.inflation *= deflation
