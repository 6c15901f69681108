"""A shop in a closed loop, and the promises that must hold afterwards, whatever was killed meanwhile."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from streams.admin.inspection import scan_tables
from streams.contract.events import MAX_RETRIED_EVENTS, Event, decode_event
from streams.contract.outputs import Output
from streams.contract.records import (
    ExampleBatch,
    LoggedDecision,
    Recommendation,
    ServedBatch,
    decode_examples,
    decode_item_signals,
    decode_logged_decision,
    decode_recommendation,
)
from streams.contract.topics import (
    BANDIT,
    CLICKSTREAM,
    DECISIONS,
    EXAMPLES,
    ITEM_SIGNALS,
    RECOMMENDATIONS,
)
from streams.core.behaviour.recent_ids import ALWAYS_KEPT, hashes_of, id_hash
from streams.core.behaviour.row import UserRow
from streams.core.items.fold import ItemsFold
from streams.core.policies.slate_features import PACKING
from streams.testing import MemoryTopics, MemoryWorker
from tests.system import shoppers
from tests.system.cluster import Cluster, EmbeddedCluster

BEGIN_MS: Final = 1_700_000_000_000
TWO_HOURS_MS: Final = 7_200_000
_ITEMS: Final = 60


class ClosedLoop:
    """Publishes what shoppers do, and shows and clicks what is recommended to them, once for each decision_id."""

    def __init__(self, it: Cluster, users: int = 80) -> None:
        self._it = it
        self._users = users
        self._draw = random.Random(11)
        self._now_ms = BEGIN_MS
        self._number = 0
        self._read = 0
        self._answered: set[str] = set()

    def shop(self, n_events: int) -> None:
        """Publishes so many events of shoppers who come by themselves."""
        self._it.publish([self._organic() for _ in range(n_events)])

    def answer(self) -> None:
        """Publishes the feedback to every decision that came since; after a crash there may be two of one event."""
        feedback: list[Event] = []
        recommended = self._it.records(RECOMMENDATIONS)
        fresh, self._read = recommended[self._read :], len(recommended)
        for record in fresh:
            decision = decode_recommendation(record.value)
            if decision.items and decision.decision_id not in self._answered:
                self._answered.add(decision.decision_id)
                feedback += self._feedback(decision)
        if feedback:
            self._it.publish(feedback)

    def close(self) -> None:
        """Lets so much time pass that everything matures."""
        self._now_ms += TWO_HOURS_MS
        self._it.publish([Event(event_id=f"tick-{self._now_ms}", timestamp_ms=self._now_ms, kind="tick")])

    def _organic(self) -> Event:
        draw = self._draw
        self._number += 1
        self._now_ms += draw.randrange(60)
        kind: Any = draw.choices(["view", "search", "add_to_cart", "purchase"], [80, 8, 8, 4])[0]
        item = min(int(draw.expovariate(0.08)), _ITEMS - 1)
        return Event(
            event_id=f"e{self._number}",
            timestamp_ms=self._now_ms,
            kind=kind,
            user_id=f"user-{draw.randrange(self._users)}",
            item_id=None if kind == "search" else f"item-{item}",
            category=None if kind == "search" else f"category-{item % 5}",
            price=None if kind == "search" else 1.0 + item / 4,
            query="shoes" if kind == "search" else None,
        )

    def _feedback(self, decision: Recommendation) -> Iterator[Event]:
        shared: dict[str, Any] = {"user_id": decision.user_id, "decision_id": decision.decision_id}
        at_ms = decision.timestamp_ms + 100
        yield Event(event_id=f"i-{decision.decision_id}", timestamp_ms=at_ms, kind="impression", **shared)
        if self._draw.random() < 0.4:
            slot = self._draw.randrange(len(decision.items))
            item = decision.items[slot].item_id
            yield Event(
                event_id=f"c-{decision.decision_id}",
                timestamp_ms=at_ms + 200,
                kind="click",
                item_id=item,
                position=slot,
                **shared,
            )


def events(it: Cluster) -> list[Event]:
    """The clickstream, each partition in order."""
    return [decode_event(record.value) for record in it.records(CLICKSTREAM)]


def check_users(it: Cluster, disk: str) -> None:
    """Every event is in its user's row, once, in order."""
    rows = {
        key.decode(): msgspec.msgpack.decode(value, type=UserRow)
        for _, key, value in scan_tables(it.folder / disk, "users")
    }
    windows = {row["user_id"]: row["windows"] for row in it.inspect("users", disk)}
    users = shoppers.by_user(events(it))
    assert rows.keys() == users.keys()
    for user, own in users.items():
        kept = hashes_of(rows[user].recent_ids)
        assert min(len(own), ALWAYS_KEPT) <= len(kept) <= MAX_RETRIED_EVENTS
        assert kept == [id_hash(event.event_id) for event in own][-len(kept) :]
        assert windows[user] == approximately(shoppers.windows(own, it.settings)), user
    counts = totals(it)
    assert counts["applied"] == len(events(it))
    assert counts["duplicates"] == 0
    kinds = Counter(event.kind for event in events(it) if event.user_id)
    assert {kind: counts[f"kinds.{kind}"] for kind in kinds} == kinds


def approximately(sums: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {name: pytest.approx(values, rel=1e-12) for name, values in sums.items()}


def totals(it: Cluster) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in it.rows_of_partitions(CLICKSTREAM).values():
        found.update(row.counts)
    return found


def check_learners(it: Cluster, disk: str) -> None:
    """Every learner has learned from each source position once, in the order of the positions.

    Without transactions a batch that a crash undid has left its examples. If it is decided otherwise the second time,
    it may have examples at positions that it had none at before, below some that were learned from: those are late.
    """
    learned_from: dict[str, set[tuple[int, int, int]]] = defaultdict(set)
    late: dict[str, set[tuple[int, int, int]]] = defaultdict(set)
    reached: dict[tuple[str, int], tuple[int, int]] = {}
    for record in it.records(EXAMPLES):
        batch = decode_examples(record.value)
        place, examples = (batch.learner, batch.partition), _positions(batch)
        after = reached.get(place, (-1, -1))
        known = learned_from[batch.learner]
        known |= {(batch.partition, *each) for each in examples if each > after}
        late[batch.learner] |= {(batch.partition, *each) for each in examples} - known
        served = [] if batch.outcomes is None else _positions(batch.outcomes)
        reached[place] = max([after, *examples, *served])
    assert isinstance(it, EmbeddedCluster) or not any(late.values())
    assert {row["learner"]: row["examples"] for row in it.inspect("models", disk)} == {
        learner: len(known) for learner, known in learned_from.items()
    }
    assert learned_from.keys() == set(it.settings.learners)


def _positions(columns: ExampleBatch | ServedBatch) -> list[tuple[int, int]]:
    offsets, indices = np.frombuffer(columns.offsets, np.int64), np.frombuffer(columns.indices, np.int32)
    return list(zip(offsets.tolist(), indices.tolist(), strict=True))


def check_items(it: Cluster, disk: str) -> None:
    """Item rows are those of a run without interruption over the same item signals, each source position taken once."""
    known: set[tuple[int, int, int, int]] = set()
    topics = MemoryTopics({topic.name: topic.partitions for topic in it.settings.topics})
    for record in it.records(ITEM_SIGNALS):
        batch = decode_item_signals(record.value)
        once = []
        for signal in batch.signals:
            position = (record.partition, batch.partition, signal.offset, signal.index)
            if position not in known:
                known.add(position)
                once.append(signal)
        value = msgspec.msgpack.encode(msgspec.structs.replace(batch, signals=once))
        topics.append(Output(ITEM_SIGNALS, record.key, value, record.partition))
    worker = MemoryWorker(ItemsFold(it.settings), topics, it.settings.engine)
    worker.drain(100)
    assert {(number, key): row for number, key, row in scan_tables(it.folder / disk, "items")} == worker.rows()


def check_decisions(it: Cluster) -> None:
    """Every view is answered; what is learned of a slate is what that slate, and no other, was drawn with."""
    views = {
        f"{CLICKSTREAM}-{record.partition}-{record.offset}"
        for record in it.records(CLICKSTREAM)
        if decode_event(record.value).kind == "view"
    }
    recommended = [decode_recommendation(record.value) for record in it.records(RECOMMENDATIONS)]
    assert {each.event_ref for each in recommended} == views
    logged: dict[str, list[LoggedDecision]] = defaultdict(list)
    for record in it.records(DECISIONS):
        decision = decode_logged_decision(record.value)
        logged[decision.decision_id].append(decision)
    # A kill within emit may leave a recommendation without its decision; it is made again, and logged, by event_ref.
    whole = [each for each in recommended if each.decision_id in logged]
    assert {each.event_ref for each in whole} == views
    for each in whole:
        for decision in logged[each.decision_id]:
            assert [item.item_id for item in each.items] == [decision.shortlist[place] for place in decision.slate]
            assert [item.propensity for item in each.items] == decision.propensities
    answered = {event.decision_id for event in events(it) if event.kind == "impression"}
    # One that was made again alike is logged again, perhaps with what the items global table has said of its items
    # since.
    shown = {vector for name in answered if name in logged for each in logged[name] for vector in shown_vectors(each)}
    learned = set(bandit_vectors(it))
    assert learned
    assert learned <= shown


def check_rewards(it: Cluster) -> None:
    """A slot earns a click if and only if it was clicked; a cart or a purchase is earned by one slot that showed it."""
    happened = events(it)
    clicked = {(event.decision_id, event.position) for event in happened if event.kind == "click"}
    earned = earned_slots(it)
    assert earned["click"] == earned["any"] & clicked
    assert earned["click"]
    for type_, kind in (("cart", "add_to_cart"), ("purchase", "purchase")):
        assert earned[type_] <= showed_before(it, kind)
        assert len(earned[type_]) <= sum(event.kind == kind for event in happened)
    credited = totals(it)
    assert sum(credited[f"rewards.{type_}"] for type_ in ("click", "cart", "purchase")) > 0


def earned_slots(it: Cluster) -> dict[str, set[tuple[str | None, int | None]]]:
    """Decision and position of every slot that anything was learned of, by the types of reward that it earned."""
    earned: dict[str, set[tuple[str | None, int | None]]] = defaultdict(set)
    for record in it.records(EXAMPLES):
        batch = decode_examples(record.value)
        if batch.reward_types:
            rewards = np.frombuffer(batch.rewards).reshape(-1, len(batch.reward_types)).tolist()
            vectors = np.frombuffer(batch.vectors, np.float32).reshape(-1, batch.columns)
            for decision_id, vector, values in zip(batch.decision_ids, vectors, rewards, strict=True):
                slot = decision_id, int(vector[-2])
                earned["any"].add(slot)
                for type_, value in zip(batch.reward_types, values, strict=True):
                    if value:
                        earned[type_].add(slot)
    return earned


def showed_before(it: Cluster, kind: str) -> set[tuple[str | None, int | None]]:
    """The slots whose item the shopper put into the cart, or bought, after they had seen it there."""
    slates = {each.decision_id: each for each in (decode_recommendation(r.value) for r in it.records(RECOMMENDATIONS))}
    seen: dict[str | None, list[Event]] = defaultdict(list)
    found: set[tuple[str | None, int | None]] = set()
    for event in events(it):
        if event.kind == "impression":
            seen[event.user_id].append(event)
        elif event.kind == kind:
            found |= {
                (impression.decision_id, slot)
                for impression in seen[event.user_id]
                if impression.timestamp_ms <= event.timestamp_ms
                for slot, item in enumerate(slates[impression.decision_id or ""].items)
                if item.item_id == event.item_id
            }
    return found


def shown_vectors(decision: LoggedDecision) -> list[bytes]:
    """What the bandit learns from each slot: the features that were logged, position, whether `random` chose."""
    features = PACKING.unpack(decision.features)[decision.slate]
    is_control = decision.policy == "random"
    return [np.array([*slot, position, is_control], np.float32).tobytes() for position, slot in enumerate(features)]


def bandit_vectors(it: Cluster) -> Iterator[bytes]:
    """What the bandit was given to learn from."""
    for record in it.records(EXAMPLES):
        if record.key == BANDIT.encode():
            batch = decode_examples(record.value)
            width = 4 * batch.columns
            yield from (batch.vectors[begin : begin + width] for begin in range(0, len(batch.vectors), width))


def repeats(it: Cluster) -> int:
    """How many decisions were made again, after a crash, and came out otherwise."""
    recommended = [decode_recommendation(record.value) for record in it.records(RECOMMENDATIONS)]
    return len({each.decision_id for each in recommended}) - len({each.event_ref for each in recommended})
