"""Each feature is in exactly one group, and a group's contribution is the sum of its features'."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.settings import Settings
from streams.core.features.groups import ITEM_GROUPS, SHOPPER_GROUPS, Grouping
from streams.core.features.schema import shopper_features
from streams.core.policies.slate_features import FEATURES, GROUPING
from streams.core.retrieval.shortlist import SOURCE_NAMES

SHOPPER = [feature.group for feature in shopper_features(Settings().windows)]
LAYOUTS = st.one_of(
    st.just(SHOPPER),
    st.just([feature.group for feature in FEATURES]),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60),
)


def test_every_feature_has_a_group_with_words_and_every_group_a_feature() -> None:
    assert set(SHOPPER) == SHOPPER_GROUPS.keys()
    assert {feature.group for feature in FEATURES} == ITEM_GROUPS.keys() == set(GROUPING.names)
    for groups in (SHOPPER_GROUPS, ITEM_GROUPS):
        assert len(set(groups.values())) == len(groups)


def test_windows_of_one_sum_are_one_reason() -> None:
    groups = {feature.name: feature.group for feature in shopper_features(Settings().windows)}
    assert {groups[f"views_{window.name}"] for window in Settings().windows} == {"views"}


def test_every_candidate_source_is_a_group_in_which_its_flag_is() -> None:
    groups = {feature.name: feature.group for feature in FEATURES}
    assert {source: groups[f"source_{source}"] for source in SOURCE_NAMES} == {each: each for each in SOURCE_NAMES}


@given(groups=LAYOUTS, n_rows=st.integers(0, 40), seed=st.integers(0, 99))
def test_the_groups_sum_to_the_whole_and_each_to_its_features(groups: list[str], n_rows: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n_rows, len(groups)))
    grouping = Grouping(groups)
    sums = grouping.sums(rows)
    np.testing.assert_allclose(sums.sum(axis=1), rows.sum(axis=1), atol=1e-12)
    for column, name in enumerate(grouping.names):
        own = rows[:, [group == name for group in groups]]
        np.testing.assert_allclose(sums[:, column], own.sum(axis=1), atol=1e-12)


@given(groups=LAYOUTS, n_rows=st.integers(1, 200), seed=st.integers(0, 99))
def test_a_row_has_the_same_bits_in_any_batch(groups: list[str], n_rows: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n_rows, len(groups)))
    grouping = Grouping(groups)
    together = grouping.sums(rows)
    alone = [grouping.sums(rows[place : place + 1]) for place in range(n_rows)]
    assert together.tobytes() == b"".join(each.tobytes() for each in alone)
