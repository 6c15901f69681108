"""Label rules: what a target may be declared by. One more rule is one more entry of :data:`RULES`.

A rule says at which moments a prediction is opened, which later events of the same shopper answer it, and what is true
of one that nothing has answered when its horizon ends.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from streams.contract.events import Event, Kind

RuleName = Literal["event", "churn", "next_category", "rating", "spend"]
Moments = Literal["event", "view", "session_end"]


class Declared(Protocol):
    """What a rule reads of the target that is declared by it."""

    @property
    def label(self) -> str | None: ...
    @property
    def at_least(self) -> float: ...


class Rule(NamedTuple):
    """How the label of a target comes about.

    Attributes:
        opens_at: The moments that it is predicted at: every event that a shopper makes of their own accord, views of an
            item with a category, or the ends of sessions.
        unanswered: The label where nothing answered; ``None`` where there is none, and no example either.
        answer: ``(target, label so far, subject, event)`` to the label: called for each later event of the shopper
            within the horizon, in the order of their arrival; one of a kind that it does not heed may be left out.
        heeds: ``(target, kind)`` to whether an event of that kind can change a label.
        reads: Keys of a target, beside those that all have, that this rule needs or takes.
        corrects: Whether a target may learn a negative at once and correct it, as ``labels = "correct"`` says.
        is_amount: Whether a label is an amount, 0 or more, whose expectation is predicted; of the others it is 0 or 1,
            and its probability is.
    """

    opens_at: Moments
    unanswered: float | None
    answer: Callable[[Declared, float | None, str, Event], float | None]
    heeds: Callable[[Declared, Kind], bool]
    reads: frozenset[str] = frozenset()
    corrects: bool = False
    is_amount: bool = False


def _happened(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    return 1.0 if event.kind == target.label else label


def _is_its_label(target: Declared, kind: Kind) -> bool:
    return kind == target.label


def _came_back(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    return 0.0


def _stayed(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    """The first view of an item with a category decides."""
    if label is not None or event.kind != "view" or event.category is None:
        return label
    return float(event.category == subject)


def _rated(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    """The first rating decides."""
    if label is not None or event.kind != "rating" or event.rating is None:
        return label
    return float(event.rating >= target.at_least)


def _spent(target: Declared, label: float | None, subject: str, event: Event) -> float | None:
    """Every purchase adds to it; one without a price adds nothing that is known."""
    if event.kind != "purchase" or event.price is None:
        return label
    return (label or 0.0) + event.price * (event.quantity or 1)


RULES: Final[Mapping[RuleName, Rule]] = MappingProxyType(
    {
        "event": Rule("event", 0.0, _happened, _is_its_label, frozenset({"label"}), corrects=True),
        "churn": Rule("session_end", 1.0, _came_back, lambda target, kind: True),
        "next_category": Rule("view", None, _stayed, lambda target, kind: kind == "view"),
        "rating": Rule("event", None, _rated, lambda target, kind: kind == "rating", frozenset({"at_least"})),
        "spend": Rule("event", 0.0, _spent, lambda target, kind: kind == "purchase", is_amount=True),
    }
)
