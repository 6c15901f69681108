"""Sliding windows as rings of panes: every instant is in exactly one pane, a window is the last ``n`` panes.

A ring keeps only the panes in which something happened, oldest first, so that an idle shopper costs nothing.

References:
    Li et al. (2005), "No pane, no gain: efficient evaluation of sliding-window aggregates over data streams", SIGMOD
    Record 34(1).
"""

from collections.abc import Sequence
from operator import add
from typing import Final, NamedTuple

import msgspec

from streams.contract.event_kinds import Kind
from streams.contract.settings import Window
from streams.core.features.feature import Feature


class WindowSum(NamedTuple):
    """A sum over each window.

    Attributes:
        group: Of its features.
        words: A phrase to display, to be followed by the window.
        counted: Kind of events that it counts; ``None`` for the cost of purchases, in the shop's currency.
    """

    name: str
    group: str
    words: str
    counted: Kind | None


WINDOWED: Final = (
    WindowSum("views", "views", "views", "view"),
    WindowSum("searches", "searches", "searches", "search"),
    WindowSum("carts", "cart", "additions to the cart", "add_to_cart"),
    WindowSum("purchases", "purchases", "purchases", "purchase"),
    WindowSum("spend", "purchases", "money spent", None),
)
N_SUMS: Final = len(WINDOWED)
COLUMNS: Final = {each.counted: column for column, each in enumerate(WINDOWED)}
"""Column of a sum, by the kind of events that it counts."""
SPEND: Final = COLUMNS[None]
_UNITS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def windowed_features(window: Window) -> list[Feature]:
    """Lists the features of one window, in the order of :data:`WINDOWED`."""
    seconds = window.pane_s * window.panes
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    span = unit if seconds == size else f"{seconds // size} {unit}s"
    return [
        Feature(windowed_name(each, window.name), "number", each.group, f"{each.words} in the last {span}")
        for each in WINDOWED
    ]


def windowed_name(summed: WindowSum, window: str) -> str:
    """Names the feature of a sum over a window."""
    return f"{summed.name}_{window}"


class Ring(msgspec.Struct, array_like=True):
    """The panes of one window.

    Attributes:
        panes: ``[pane number, *sums]`` in time order; pane number ``p`` covers ``[p, p + 1) * pane_ms``. Integers stay
            integers, so that a ring that was stored meanwhile encodes to the same bytes.
        totals: Sums over ``panes``, in the order of :data:`WINDOWED`.
        name: Of the window.
    """

    panes: list[list[int | float]] = msgspec.field(default_factory=list)
    totals: list[int | float] = msgspec.field(default_factory=lambda: [0] * N_SUMS)
    name: str = ""

    def slide(self, first: int) -> None:
        """Drops the panes before the one of number ``first``."""
        self.panes = panes = [pane for pane in self.panes if pane[0] >= first]
        # Summed anew rather than subtracted, so that money does not drift.
        totals: list[int | float] = [0] * N_SUMS
        for _, *sums in panes:
            totals = list(map(add, totals, sums))
        self.totals = totals

    def add(self, number: int, column: int, amount: float) -> None:
        """Adds ``amount`` to a sum of the pane of that number."""
        panes = self.panes
        pane = panes[-1] if panes and panes[-1][0] == number else self._pane(number)
        pane[1 + column] += amount
        self.totals[column] += amount

    def _pane(self, number: int) -> list[int | float]:
        panes = self.panes
        place = len(panes)
        while place and panes[place - 1][0] > number:
            place -= 1
        if place and panes[place - 1][0] == number:
            return panes[place - 1]
        pane: list[int | float] = [number, *[0] * N_SUMS]
        panes.insert(place, pane)
        return pane


class Windows:
    """The declared windows, applied to one shopper's rings, which are in the same order."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._names = tuple(window.name for window in windows)
        self._layout = tuple((window.pane_s * 1000, window.panes) for window in windows)

    def empty(self) -> list[Ring]:
        """Makes the rings of a new shopper."""
        return [Ring(name=name) for name in self._names]

    def slide(self, rings: list[Ring], now_ms: int) -> None:
        """Moves all windows to ``now_ms``."""
        for ring, (pane_ms, n_panes) in zip(rings, self._layout, strict=True):
            first = now_ms // pane_ms - n_panes + 1
            if ring.panes and ring.panes[0][0] < first:
                ring.slide(first)

    def add(self, rings: list[Ring], at_ms: int, now_ms: int, column: int, amount: float) -> None:
        """Moves all windows to ``now_ms`` and adds ``amount`` at ``at_ms`` to those that still hold that instant."""
        for ring, (pane_ms, n_panes) in zip(rings, self._layout, strict=True):
            newest, panes = now_ms // pane_ms, ring.panes
            first = newest - n_panes + 1
            if panes and panes[0][0] < first:
                ring.slide(first)
            number = newest if at_ms == now_ms else at_ms // pane_ms
            if number >= first:
                ring.add(number, column, amount)
