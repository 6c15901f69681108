"""Label rules of the targets. One more rule is one more entry of :data:`RULES`.

A rule determines when a prediction is opened, which later events of the same shopper change its label, and the label of
a prediction without such an event when its horizon ends.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from streams.contract.event_kinds import Kind
from streams.contract.events import Event

RuleName = Literal["event", "churn", "next_category", "rating", "spend"]
OpensAt = Literal["event", "view", "session_end"]


class Declared(Protocol):
    """The fields of a target that its rule reads."""

    @property
    def label(self) -> str | None: ...
    @property
    def at_least(self) -> float: ...


class Rule(NamedTuple):
    """Rule of a target's label.

    Attributes:
        opens_at: Times of prediction: every event of the shopper's own, views of an item with a category, or the ends
            of sessions.
        unanswered: Label if no event changes it; ``None`` for no label, and no example.
        answer: ``(target, label so far, subject, event)`` to the label, called for each later event of the shopper
            within the horizon, in the order of their arrival; events of kinds not in ``heeds`` may be left out.
        heeds: ``(target, kind)`` to whether an event of that kind can change a label.
        reads: Keys of a target that only this rule needs or allows.
        corrects: Whether a target may learn a negative at once and correct it, as ``labels = "correct"`` says.
        is_amount: Whether a label is an amount, 0 or more, whose expectation is predicted; other labels are 0 or 1, and
            the probability of 1 is predicted.
    """

    opens_at: OpensAt
    unanswered: float | None
    answer: Callable[[Declared, float | None, str, Event], float | None]
    heeds: Callable[[Declared, Kind], bool]
    reads: frozenset[str] = frozenset()
    corrects: bool = False
    is_amount: bool = False


def _happened(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    return 1.0 if event.kind == target.label else label


def _stayed(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    # The first view of an item with a category decides.
    if label is not None or event.kind != "view" or event.category is None:
        return label
    return float(event.category == subject)


def _rated(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    # The first rating decides.
    if label is not None or event.kind != "rating" or event.rating is None:
        return label
    return float(event.rating >= target.at_least)


def _spent(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    # Every purchase adds its price; one without a price adds nothing.
    if event.kind != "purchase" or event.price is None:
        return label
    return (label or 0.0) + event.price * (event.quantity or 1)


RULES: Final[Mapping[RuleName, Rule]] = MappingProxyType(
    {
        "event": Rule(
            "event", 0.0, _happened, lambda target, kind: kind == target.label, frozenset({"label"}), corrects=True
        ),
        "churn": Rule("session_end", 1.0, lambda target, label, subject, event: 0.0, lambda target, kind: True),
        "next_category": Rule("view", None, _stayed, lambda target, kind: kind == "view"),
        "rating": Rule("event", None, _rated, lambda target, kind: kind == "rating", frozenset({"at_least"})),
        "spend": Rule("event", 0.0, _spent, lambda target, kind: kind == "purchase", is_amount=True),
    }
)
