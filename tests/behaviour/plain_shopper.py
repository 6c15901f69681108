"""A shopper as a list of everything they did, with the plainest way to say what it amounts to."""

from math import cos, exp2, log, radians, sin
from typing import Any, NamedTuple

from streams.core.features.affinities import HALF_LIFE_MS
from tests.behaviour.small_shop import SETTINGS

GAP_MS = 1_800_000
WEIGHTS = {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


class Act(NamedTuple):
    """One event; ``gap_s`` after the one before, and ``behind_s`` before that prediction point."""

    kind: str
    gap_s: int
    behind_s: int
    item: int
    price: float | None
    quantity: int | None

    @property
    def fields(self) -> dict[str, Any]:
        if self.kind == "search":
            return {"query": "shoes"}
        item = {"item_id": f"i{self.item}", "category": f"c{self.item % 3}", "price": self.price}
        return item | ({"rating": 3.0} if self.kind == "rating" else {"quantity": self.quantity})


class PlainShopper:
    """Everything that happened, with the plainest way to say what it amounts to.

    Attributes:
        seen: ``(event time, latest event time by then, act)``, in the order in which they came.
        feedback: ``(events before it, impressions, clicks)``.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, Act]] = []
        self.feedback: list[tuple[int, int, int]] = []

    def add(self, at_ms: int, act: Act) -> None:
        self.seen.append((at_ms, max([at_ms, *(now for _, now, _ in self.seen)]), act))

    def answer(self, impressions: int, clicks: int) -> None:
        self.feedback.append((len(self.seen), impressions, clicks))

    @property
    def now_ms(self) -> int:
        return self.seen[-1][1]

    def window(self, pane_ms: int, n_panes: int) -> dict[str, float]:
        last = self.now_ms // pane_ms
        held = [act for at, _, act in self.seen if last - n_panes < at // pane_ms <= last]
        kinds = [act.kind for act in held]
        return {
            "views": kinds.count("view"),
            "searches": kinds.count("search"),
            "carts": kinds.count("add_to_cart"),
            "purchases": kinds.count("purchase"),
            "spend": sum((act.price or 0.0) * (act.quantity or 1) for act in held if act.kind == "purchase"),
        }

    def session(self) -> dict[str, Any]:
        started, last = 0, self.seen[0][0]
        for place, (at, _, _) in enumerate(self.seen):
            if at - last > GAP_MS:
                started, last = place, at
            last = max(last, at)
        held = self.seen[started:]
        kinds = [act.kind for _, _, act in held]
        looked_at = [f"i{act.item}" for _, _, act in held if act.kind == "view"]
        return {
            "start_ms": held[0][0],
            "last_ms": last,
            "events": len(held),
            "views": kinds.count("view"),
            "searches": kinds.count("search"),
            "carts": kinds.count("add_to_cart"),
            "removals": kinds.count("remove_from_cart"),
            "purchases": kinds.count("purchase"),
            "impressions": sum(impressions for place, impressions, _ in self.feedback if place > started),
            "clicks": sum(clicks for place, _, clicks in self.feedback if place > started),
            "items": by_last_look(looked_at),
            "last_kind": kinds[-1],
            "bought": list(dict.fromkeys(f"i{act.item}" for _, _, act in held if act.kind == "purchase")),
            "last_offset": len(self.seen) - 1,
            "ended": False,
        }

    def categories(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for weight, act in self._leanings():
            sums[f"c{act.item % 3}"] = sums.get(f"c{act.item % 3}", 0.0) + weight
        return sums

    def log_price(self) -> float | None:
        priced = [(weight, log(act.price)) for weight, act in self._leanings() if act.price]
        total = sum(weight for weight, _ in priced)
        return sum(weight * price for weight, price in priced) / total if priced else None

    def views(self) -> dict[str, int]:
        looked_at = [f"i{act.item}" for _, _, act in self.seen if act.kind == "view"]
        return {item: looked_at.count(item) for item in by_last_look(looked_at)}

    def cart(self) -> list[str]:
        cart: list[str] = []
        for _, _, act in self.seen:
            item = f"i{act.item}"
            if act.kind == "add_to_cart" and item not in cart:
                cart.append(item)
            elif act.kind in ("remove_from_cart", "purchase") and item in cart:
                cart.remove(item)
        return cart

    def last(self, kind: str) -> int:
        return max((now for _, now, act in self.seen if act.kind == kind), default=0)

    def features(self, slate_score: float | None) -> dict[str, float]:
        """Every feature by its name, as of the last act; the slate decided at it is the caller's knowledge."""
        now_ms, act, session = self.now_ms, self.seen[-1][2], self.session()
        previous_ms = self.seen[-2][1] if len(self.seen) > 1 else 0
        cart_ms, purchase_ms = self.last("add_to_cart"), self.last("purchase")
        price, usual, categories = act.fields.get("price"), self.log_price(), self.categories()
        angle = radians(360.0 * (now_ms / 86_400_000 % 1.0))
        windowed = {
            f"{name}_{window.name}": value
            for window in SETTINGS.windows
            for name, value in self.window(window.pane_s * 1000, window.panes).items()
        }
        features = windowed | {
            "session_events": session["events"],
            "session_views": session["views"],
            "session_searches": session["searches"],
            "session_carts": session["carts"],
            "session_removals": session["removals"],
            "session_items": len(session["items"]),
            "session_duration_s": (now_ms - session["start_ms"]) / 1000,
            "session_impressions": session["impressions"],
            "session_clicks": session["clicks"],
            "since_last_event_s": (now_ms - previous_ms) / 1000 if previous_ms else 0.0,
            "since_last_cart_s": (now_ms - cart_ms) / 1000 if cart_ms else 0.0,
            "since_last_purchase_s": (now_ms - purchase_ms) / 1000 if purchase_ms else 0.0,
            "item_views_before": self.views()[f"i{act.item}"] - 1 if act.kind == "view" else 0,
            "category_share": categories.get(act.fields.get("category", ""), 0.0) / (sum(categories.values()) or 1.0),
            "price": price or 0.0,
            "price_against_usual": abs(log(price) - usual) if price and usual is not None else 0.0,
            "first_event": len(self.seen) == 1,
            "no_cart_before": not cart_ms,
            "no_purchase_before": not purchase_ms,
            "price_missing": price is None,
            "usual_price_missing": usual is None,
            "is_view": act.kind == "view",
            "is_search": act.kind == "search",
            "is_cart": act.kind == "add_to_cart",
            "cart_not_empty": bool(self.cart()),
            "hour_sin": sin(angle),
            "hour_cos": cos(angle),
            "slate_score": slate_score or 0.0,
            "no_slate": slate_score is None,
        }
        return {name: float(value) for name, value in features.items()}

    def _leanings(self) -> list[tuple[float, Act]]:
        return [
            (WEIGHTS[act.kind] * exp2((now - self.now_ms) / HALF_LIFE_MS), act)
            for _, now, act in self.seen
            if act.kind in WEIGHTS
        ]


def by_last_look(items: list[str]) -> list[str]:
    return list(reversed(dict.fromkeys(reversed(items))))
