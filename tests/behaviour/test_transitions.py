"""The Q agent's transitions: what begins one, what ends it, and which of them earns what happened."""

from typing import NamedTuple

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.records import LoggedDecision, Recommendation
from streams.contract.topics import CLICKSTREAM
from streams.core.policies.q_agent import NOTHING, action_masks, session_state
from streams.testing import GlobalTables
from tests.behaviour.small_shop import SETTINGS, Shop
from tests.pipeline.shop_log import differing

PAID = SETTINGS.decisions.q_rewards
TERMINAL = (-1, 0)
AT_RANDOM = msgspec.structs.replace(SETTINGS, decisions=msgspec.structs.replace(SETTINGS.decisions, q_epsilon=1.0))


class Step(NamedTuple):
    """One example of the Q agent; ``following`` is the next state and the actions that may be chosen there."""

    state: int
    action: int
    following: tuple[int, int]
    reward: float


def steps(shop: Shop) -> list[Step]:
    found = []
    for example in shop.examples("q"):
        state, action, next_state, mask = np.frombuffer(example.vector, np.float32).astype(int).tolist()
        found.append(Step(state, action, (next_state, mask), example.label))
    return found


def logged(shop: Shop) -> list[LoggedDecision]:
    return shop.decisions()


def at(decision: LoggedDecision) -> tuple[int, int]:
    return decision.state, decision.mask


def test_a_trajectory_computed_by_hand() -> None:
    shop = Shop("q")
    first = shop.view(0, "i1")
    shop.impression(1, first.decision_id)
    shop.click(2, first.decision_id, first.items[0].item_id, 0)
    shop.send("add_to_cart", 3, item_id="i1")
    shop.impression(5, shop.view(4, "i2").decision_id)
    shop.send("purchase", 6, item_id="i1")
    shop.tick(4000)
    one, two = logged(shop)
    session = type(shop.row().session)
    assert one.state == session_state(session(views=1), cart_not_empty=False)
    assert two.state == session_state(session(views=2, clicks=1), cart_not_empty=True)
    assert steps(shop) == [Step(one.state, one.source, at(two), 1.0 + 2.0), Step(two.state, two.source, TERMINAL, 5.0)]
    for decision in (one, two):
        assert decision.mask >> decision.source & 1
        assert decision.mask == action_masks(np.array([decision.sources]))[0]
        assert decision.epsilon == SETTINGS.decisions.q_epsilon


def test_what_happens_before_a_slate_is_seen_is_credited_to_the_one_before_it() -> None:
    shop = Shop("q")
    shop.impression(1, shop.view(0, "i1").decision_id)
    second = shop.view(2, "i2")
    shop.send("add_to_cart", 3, item_id="i2")
    shop.impression(4, second.decision_id)
    shop.send("purchase", 5, item_id="i2")
    shop.tick(4000)
    assert [step.reward for step in steps(shop)] == [PAID["add_to_cart"], PAID["purchase"]]


def test_a_decision_that_was_not_shown_begins_and_ends_nothing_and_earns_nothing() -> None:
    shop = Shop("q")
    shop.impression(1, shop.view(0, "i1").decision_id)
    shop.view(2, "i2")
    shop.send("purchase", 3, item_id="i2")
    last = shop.view(4, "i3")
    shop.send("add_to_cart", 5, item_id="i3")
    shop.impression(6, last.decision_id)
    shop.view(7, "i4")
    shop.send("purchase", 8, item_id="i4")
    shop.tick(4000)
    first, _, third, _ = logged(shop)
    assert steps(shop) == [
        Step(first.state, first.source, at(third), PAID["purchase"] + PAID["add_to_cart"]),
        Step(third.state, third.source, TERMINAL, PAID["purchase"]),
    ]


def test_without_anything_shown_there_is_nothing_to_learn() -> None:
    shop = Shop("q")
    shop.view(0, "i1")
    shop.send("purchase", 1, item_id="i1")
    shop.tick(4000)
    assert steps(shop) == []


def test_a_slate_that_is_seen_after_the_next_decision_is_too_late() -> None:
    shop = Shop("q")
    first, second = shop.view(0, "i1"), shop.view(1, "i2")
    shop.impression(2, first.decision_id)
    shop.impression(3, second.decision_id)
    shop.tick(4000)
    assert [step.state for step in steps(shop)] == [logged(shop)[1].state]


def test_showing_nothing_is_an_action_whose_transition_closes_the_same_way() -> None:
    """Without items nothing else can be chosen."""
    shop = Shop("q", global_tables=GlobalTables())
    shop.view(0, "i1")
    shop.send("add_to_cart", 1, item_id="i1")
    shop.view(2, "i2")
    shop.send("purchase", 3, item_id="i1")
    shop.tick(4000)
    one, two = logged(shop)
    assert (one.source, one.source_probability, one.slate) == (NOTHING, 1.0, [])
    assert steps(shop) == [
        Step(one.state, NOTHING, at(two), PAID["add_to_cart"]),
        Step(two.state, NOTHING, TERMINAL, PAID["purchase"]),
    ]


def test_the_end_of_the_session_ends_the_last_step_however_it_is_noticed() -> None:
    for notice in ("tick", "return"):
        shop = Shop("q")
        shop.impression(1, shop.view(0, "i1").decision_id)
        shop.send("purchase", 10, item_id="i1")
        if notice == "tick":
            shop.tick(1909)
            assert steps(shop) == []
            shop.tick(1910)
        else:
            shop.view(1811, "i1")
        assert [(step.following, step.reward) for step in steps(shop)] == [(TERMINAL, 5.0)]


def test_a_return_within_the_gap_goes_on_with_the_session() -> None:
    shop = Shop("q")
    shop.impression(1, shop.view(0, "i1").decision_id)
    shop.impression(1801, shop.view(1800, "i2").decision_id)
    assert shop.row().session.views == 2
    assert [step.following for step in steps(shop)] == [at(logged(shop)[1])]


def test_steps_are_in_the_order_of_what_finished_them_though_nothing_is_known_to_be_shown_only_later() -> None:
    one_by_one, at_once = Shop("q", global_tables=GlobalTables()), Shop("q", global_tables=GlobalTables())
    for at_s, user_id in ((0, "anna"), (1000, "ben"), (1899, "ben"), (1900, "ben")):
        one_by_one.view(at_s, "i1", user_id=user_id)
    at_once.topics.records[CLICKSTREAM, 0] = list(one_by_one.log[0])
    at_once.behaviour.drain(500)
    assert [example.position for example in at_once.examples("q")] == [(2, 0), (3, 0), (3, 1)]
    assert at_once.examples("q") == one_by_one.examples("q")


# The law, against a plain reading of the whole session afterwards

ACTS = st.sampled_from(["view", "view", "show", "show_older", "add_to_cart", "purchase", "away"])


@given(st.lists(ACTS, max_size=14))
def test_sessions_give_the_transitions_that_a_plain_reading_finds_in_any_batches(acts: list[str]) -> None:
    shop = Shop("q", settings=AT_RANDOM)
    decisions: list[Recommendation] = []
    history: list[tuple[str, int]] = []
    now_s = 0
    for act in acts:
        now_s += 5000 if act == "away" else 1
        if act == "view":
            decisions.append(shop.view(now_s, f"i{now_s % 7}"))
            history.append((act, len(decisions) - 1))
        elif act.startswith("show"):
            number = len(decisions) - (1 if act == "show" else 2)
            if number >= 0 and decisions[number].items:
                shop.impression(now_s, decisions[number].decision_id)
                history.append(("show", number))
        elif act == "away":
            shop.tick(now_s)
            history.append((act, 0))
        else:
            shop.send(act, now_s, item_id="i3")
            history.append((act, 0))
    shop.tick(now_s + 10_000)
    assert steps(shop) == plainly(history, logged(shop))
    again = Shop("q", settings=AT_RANDOM)
    again.topics.records[CLICKSTREAM, 0] = list(shop.log[0])
    again.behaviour.drain(500)
    assert again.examples("q") == shop.examples("q")
    assert not differing(again.behaviour.rows(), shop.behaviour.rows())


def plainly(history: list[tuple[str, int]], decided: list[LoggedDecision]) -> list[Step]:
    """Cuts the history at the decisions that took effect; what lies between two of them is the first one's reward."""
    found: list[Step] = []
    current: LoggedDecision | None = None
    latest, reward, effective = -1, 0.0, set[int]()
    for act, number in [*history, ("away", 0)]:
        took_effect = None
        if act == "view":
            latest = number
            took_effect = number if decided[number].source == NOTHING else None
        elif act == "show" and number == latest and number not in effective:
            took_effect = number
        if current is not None and (took_effect is not None or act == "away"):
            following = TERMINAL if took_effect is None else at(decided[took_effect])
            found.append(Step(current.state, current.source, following, reward))
        if took_effect is not None:
            current, reward = decided[took_effect], 0.0
            effective.add(took_effect)
        elif act == "away":
            current, latest = None, -1
        else:
            reward += PAID.get(act, 0.0)  # type: ignore[call-overload]  # what was shown pays nothing
    return found
