"""Rules say what comes next by what came next before: nearer, later and oftener counts more."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.features.session import Session
from streams.core.retrieval.popularity import Popularity
from streams.core.retrieval.rules import BACKWARDS, NEARNESS, SHARE_PRIOR, SequentialRules, rank

DAY_MS = 86_400_000
visits = st.lists(
    st.tuples(st.sampled_from("abcde"), st.lists(st.sampled_from("vwxyz"), max_size=3, unique=True), st.integers(0, 9)),
    max_size=40,
)


def learned(*sessions: Sequence[str], days: int = 0, half_life_days: float = 7.0) -> SequentialRules:
    rules = SequentialRules(half_life_days * 86_400.0, 24)
    for number, session in enumerate(sessions):
        items = Session()
        for item in session:
            rules.learn(item, items.record_view(item), number * days * DAY_MS)
    return rules


def test_what_came_next_is_before_what_came_later_and_that_before_what_came_earlier() -> None:
    assert learned("abcd").related(["b"]) == ["c", "d", "a"]


def test_a_rule_reaches_over_two_items_and_no_further() -> None:
    assert learned("abcde").related(["a"]) == ["b", "c", "d"]


def test_a_page_that_is_loaded_again_teaches_nothing() -> None:
    assert learned("ab", "ab", "acccc").related(["a"]) == ["b", "c"]


def test_what_was_learned_of_late_counts_more() -> None:
    assert learned("ab", "ab", "ac", days=7, half_life_days=3.0).related(["a"]) == ["c", "b"]
    assert learned("ab", "ab", "ac", days=7, half_life_days=300.0).related(["a"]) == ["b", "c"]


def test_rules_outlive_any_number_of_half_lives() -> None:
    rules = learned("ab", "ab", "ac", "ad", days=1000, half_life_days=1.0)
    assert rules.related(["a"])[:2] == ["d", "c"]


@given(visits)
def test_the_sums_are_those_of_a_plain_loop(log: list[tuple[str, list[str], int]]) -> None:
    rules = SequentialRules(86_400.0, 1000)
    for item, before, day in log:
        rules.learn(item, before, day * DAY_MS)
    sums: dict[tuple[str, str], float] = {}
    last: dict[str, int] = {}
    for item, before, day in log:
        for nearness, other in zip(NEARNESS, before, strict=False):
            sums[other, item] = sums.get((other, item), 0.0) + nearness * 2.0**day
            sums[item, other] = sums.get((item, other), 0.0) + nearness * BACKWARDS * 2.0**day
            last |= {item: day, other: day}
    for source in "abcdevwxyz":
        own = {other: strength for (item, other), strength in sums.items() if item == source}
        total = sum(own.values()) + SHARE_PRIOR * 2.0 ** last.get(source, 0)
        for other, share in rules._closest(source):
            assert share == pytest.approx(own.pop(other) / total)
        assert not own


def test_the_last_item_counts_most_and_a_return_is_possible() -> None:
    closest = {"a": [("x", 0.5)], "b": [("y", 0.5), ("x", 0.1)], "c": [("z", 0.5)]}
    assert rank(["a", "b", "c"], closest.__getitem__) == ["x", "y", "z", "b", "c"]
    assert rank([], closest.__getitem__) == []


def test_the_current_item_is_never_proposed() -> None:
    assert "a" not in learned("aba", "ba").related(["a", "b"])


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 20)), max_size=60), st.integers(1, 5))
def test_the_most_popular_are_those_of_a_full_sort(log: list[tuple[str, int]], size: int) -> None:
    popularity = Popularity(86_400.0, size)
    for item, day in log:
        popularity.learn(item, day * DAY_MS)
    sums: dict[str, float] = {}
    for item, day in log:
        sums[item] = sums.get(item, 0.0) + 2.0**day
    assert popularity.top == sorted(sums, key=lambda item: (sums[item], item), reverse=True)[:size]


def test_popularity_outlives_any_number_of_half_lives() -> None:
    popularity = Popularity(86_400.0, 2)
    for item, day in (("a", 0), ("a", 1), ("b", 5000), ("c", 10_000)):
        popularity.learn(item, day * DAY_MS)
    assert popularity.top == ["c", "b"]
