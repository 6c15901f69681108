"""Decisions meet those who want them, whichever comes first."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from producers.simulator.recommendation_reader import Claims
from streams.contract.records import Recommendation
from tests.timeouts import HANG_S


def decision(ref: str) -> Recommendation:
    return Recommendation(f"{ref}/d", ref, "u", 0, "random", [], {})


Moves = st.lists(st.tuples(st.sampled_from(["offer", "claim"]), st.integers(0, 6)), max_size=40)


@given(Moves)
def test_each_claim_is_met_once_and_repeats_are_dropped(moves: list[tuple[str, int]]) -> None:
    claims = Claims()
    offered: list[str] = []
    claimed: set[str] = set()
    met: list[str] = []
    for move, number in moves:
        ref = f"clickstream-0-{number}"
        if move == "offer":
            offered.append(ref)
            claims.offer([decision(ref)])
        elif ref not in claimed:
            claimed.add(ref)
            found = claims.claim(ref)
            met += [found.event_ref] if found is not None else []
        met += [each.event_ref for each in claims.arrived()]
    assert sorted(met) == sorted(claimed & set(offered))
    assert claims.repeats == len(offered) - len(set(offered))
    assert claims.arrived() == []


def test_the_first_of_two_decisions_at_one_event_holds() -> None:
    claims = Claims()
    first, second = (Recommendation(f"a/{digest}", "a", "u", 0, "random", [], {}) for digest in "12")
    claims.offer([first, second])
    assert claims.claim("a") == first
    claims.offer([second])
    assert (claims.arrived(), claims.repeats) == ([], 2)


def test_an_abandoned_claim_is_not_met() -> None:
    claims = Claims()
    assert claims.claim("a") is None
    claims.abandon("a")
    claims.offer([decision("a")])
    assert claims.arrived() == []


def test_what_nobody_claims_is_forgotten_and_repeats_of_it_are_still_known() -> None:
    claims = Claims(known=10, unclaimed=3)
    claims.offer([decision(str(number)) for number in range(5)])
    assert claims.claim("1") is None
    assert claims.claim("2") == decision("2")
    claims.offer([decision("0"), decision("4")])
    assert claims.repeats == 2
    claims.offer([decision(str(number)) for number in range(100, 120)])
    claims.offer([decision("0")])
    assert claims.repeats == 2


def test_waiting_ends_when_a_claimed_decision_comes() -> None:
    claims = Claims()
    claims.claim("a")
    thread = threading.Thread(target=lambda: claims.offer([decision("b"), decision("a")]))
    thread.start()
    while not (found := claims.arrived()):
        claims.wait(HANG_S)
    thread.join()
    assert [each.event_ref for each in found] == ["a"]
