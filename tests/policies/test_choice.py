"""A decision is the same, to the bit, in any batch, and its probabilities are those of the policy that made it."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.arrays import pack_arrays
from streams.contract.errors import BrokenInvariant
from streams.contract.records import NO_SOURCE, Parameters
from streams.contract.settings import Decisions
from streams.contract.settings.policies import CONTROLS, DEFAULT_POLICIES, SquareCB, Thompson, Uniform
from streams.core.policies.choice import Choices, decide, deciding_policies
from streams.core.policies.q_agent import N_ACTIONS, N_STATES, NOTHING, action_masks
from streams.core.policies.reward_models import UNTRAINED, PolicyModels
from streams.core.policies.slate_features import FINGERPRINT, N_FEATURES
from streams.core.policies.slates import CategoryLimit
from streams.core.retrieval.item_table import NO_CATEGORY
from streams.core.retrieval.shortlist import SOURCE_NAMES

WIDTH = 20
SETTINGS = Decisions(
    slate=5, q_epsilon=0.2, policies=DEFAULT_POLICIES | {"dice": Uniform(), "own": Thompson(learns_from="own")}
)
NO_FLOOR = msgspec.structs.replace(SETTINGS, policies={"bandit": SquareCB(floor=0.0)})
POLICIES = ("random", "ranked", "popular", "bandit", "q", "thompson", "epsilon", "linucb", "greedy", "dice", "own")


def bandit(
    version: int = 3, examples: int = 900, schema: int = FINGERPRINT, learner: str = "bandit", **arrays: Any
) -> Parameters:
    random = np.random.default_rng(8)
    arrays.setdefault("theta", random.normal(0.0, 0.1, N_FEATURES))
    arrays.setdefault("factor", np.tril(random.uniform(0.0, 0.05, (N_FEATURES, N_FEATURES))))
    arrays["examples"] = np.array([float(examples)])
    return Parameters(learner, "ridge", True, version, schema, examples, pack_arrays(arrays))


def q_agent(version: int = 2, **arrays: Any) -> Parameters:
    arrays.setdefault("table", np.random.default_rng(9).normal(size=(N_STATES, N_ACTIONS)))
    return Parameters("q", "table", True, version, 0, 50, pack_arrays(arrays))


def learned() -> PolicyModels:
    models = PolicyModels(SETTINGS)
    assert models.apply(bandit())
    assert models.apply(bandit(learner="own", theta=np.random.default_rng(10).normal(0.0, 0.1, N_FEATURES)))
    assert models.apply(q_agent())
    return models


def batch(n: int, seed: int, most: int = 0) -> dict[str, Any]:
    """Decisions as behaviour asks for them, with at most ``most`` items of one of four categories."""
    random = np.random.default_rng(seed)
    n_items = random.integers(0, WIDTH + 1, n)
    there = np.arange(WIDTH) < n_items[:, None]
    sources = np.where(there, random.integers(0, len(SOURCE_NAMES), (n, WIDTH)), -1)
    return {
        "deciders": random.choice(POLICIES, n).tolist(),
        "features": random.random((n, WIDTH, N_FEATURES)) * there[:, :, None],
        "n_items": n_items,
        "sources": sources,
        "states": random.integers(0, N_STATES, n),
        "masks": action_masks(sources),
        "uniforms": random.random((n, SETTINGS.slate + 2)),
        "limit": CategoryLimit(random.integers(NO_CATEGORY, 4, (n, WIDTH)), np.full(n, most)) if most else None,
    }


def cut(asked: dict[str, Any], part: slice) -> dict[str, Any]:
    limit = asked["limit"]
    columns = {name: column[part] for name, column in asked.items() if name != "limit"}
    return columns | {"limit": None if limit is None else limit.of(part)}


def made(asked: dict[str, Any], models: PolicyModels, settings: Decisions = SETTINGS) -> Choices:
    return decide(**asked, models=models, policies=deciding_policies(settings), settings=settings)


@given(st.integers(1, 80), st.integers(0, 1000), st.integers(0, 2), st.data())
def test_a_decision_has_the_same_bits_in_any_batch(n: int, seed: int, most: int, data: st.DataObject) -> None:
    asked, models = batch(n, seed, most), learned()
    together = made(asked, models)
    start = 0
    while start < n:
        end = data.draw(st.integers(start + 1, n))
        apart = made(cut(asked, slice(start, end)), models)
        for mine, theirs in zip(together, apart, strict=True):
            assert mine[start:end].tobytes() == theirs.tobytes()
        start = end


def test_before_anything_is_learned_every_slate_is_uniform() -> None:
    asked = batch(300, 1)
    asked["deciders"] = ["bandit"] * 300
    choices = made(asked, PolicyModels(SETTINGS))
    filled = choices.slates >= 0
    n_left = asked["n_items"][:, None] - np.arange(SETTINGS.slate)
    assert choices.propensities[filled] == pytest.approx(1.0 / n_left[filled])
    assert (choices.scores[filled] == 0.0).all()


def test_the_ranked_controls_show_the_shortlist_in_its_order_and_say_that_it_was_certain() -> None:
    asked = batch(300, 3)
    asked["deciders"] = ["ranked", "popular"] * 150
    slates, propensities, *_ = made(asked, learned())
    for slate, certain, n in zip(slates.tolist(), propensities.tolist(), asked["n_items"].tolist(), strict=True):
        filled = min(n, SETTINGS.slate)
        assert slate[:filled] == list(range(filled))
        assert certain[:filled] == [1.0] * filled


def test_what_learns_nothing_has_no_scores_and_only_the_q_agent_has_kinds() -> None:
    asked = batch(300, 2)
    choices = made(asked, learned())
    policy = np.array(asked["deciders"])
    filled = choices.slates >= 0
    learns = ~np.isin(policy, [*CONTROLS, "dice"])
    assert np.isnan(choices.scores[~learns]).all()
    assert not np.isnan(choices.scores[learns[:, None] & filled]).any()
    assert np.isnan(choices.scores[~filled]).all()
    assert (choices.sources[policy != "q"] == NO_SOURCE).all()
    assert (choices.source_probabilities[policy != "q"] == 1.0).all()
    assert (choices.sources[(policy == "q") & (asked["n_items"] > 0)] >= 0).all()


def test_scores_are_those_of_the_items_shown() -> None:
    asked, models = batch(200, 3), learned()
    choices = made(asked, models)
    for place, policy in enumerate(asked["deciders"]):
        for slot, item in enumerate(choices.slates[place]):
            if policy not in (*CONTROLS, "dice") and item >= 0:
                score = asked["features"][place, item] @ models.rewards["own" if policy == "own" else "bandit"].theta
                assert choices.scores[place, slot] == pytest.approx(score)


def test_the_q_agents_kind_fills_the_slate_first() -> None:
    asked = batch(300, 4)
    asked["deciders"] = ["q"] * 300
    choices = made(asked, learned())
    for slate, source, sources in zip(choices.slates, choices.sources, asked["sources"], strict=True):
        shown = sources[slate[slate >= 0]]
        assert len(shown) == (0 if source == NOTHING else min(SETTINGS.slate, int((sources >= 0).sum())))
        n_first = min(int((sources == source).sum()), len(shown))
        assert (shown[:n_first] == source).all()
        assert (shown[n_first:] != source).all()


@pytest.mark.parametrize("most", [1, 2])
def test_no_policy_shows_more_of_a_category_than_the_rule_allows_or_fewer_items_than_it_leaves(most: int) -> None:
    asked = batch(600, 8, most)
    choices, categories = made(asked, learned()), asked["limit"].categories
    n_short = 0
    for place, slate in enumerate(choices.slates.tolist()):
        own = categories[place].tolist()
        shown = [own[item] for item in slate if item >= 0]
        full = {category for category in range(4) if shown.count(category) >= most}
        assert max([0, *(shown.count(category) for category in range(4))]) <= most
        if len(shown) < len(slate) and choices.sources[place] != NOTHING:
            left = [item for item in range(asked["n_items"][place]) if item not in slate]
            assert {own[item] for item in left} <= full
            n_short += bool(left)
    assert n_short > 10


def test_what_the_q_agents_source_has_of_a_category_that_is_full_gives_way_to_other_sources() -> None:
    asked = batch(300, 4, 1)
    asked["deciders"] = ["q"] * 300
    choices, categories = made(asked, learned()), asked["limit"].categories
    gave_way = 0
    for place, (slate, source) in enumerate(zip(choices.slates, choices.sources, strict=True)):
        shown, sources = slate[slate >= 0], asked["sources"][place]
        of_source = set(categories[place][sources == source].tolist()) - {NO_CATEGORY}
        n_free = int(((sources == source) & (categories[place] == NO_CATEGORY)).sum())
        n_first = min(len(of_source) + n_free, len(shown))
        assert (sources[shown[:n_first]] == source).all()
        assert (sources[shown[n_first:]] != source).all()
        gave_way += int((sources == source).sum()) > n_first < len(shown)
    assert gave_way > 20


def test_the_q_agent_follows_its_table() -> None:
    asked = batch(300, 5)
    asked["deciders"] = ["q"] * 300
    models = learned()
    choices = made(asked, models, msgspec.structs.replace(SETTINGS, q_epsilon=0.0))
    for source, state, mask in zip(choices.sources.tolist(), asked["states"], asked["masks"].tolist(), strict=True):
        available = [other for other in range(N_ACTIONS) if mask >> other & 1]
        assert source == max(available, key=lambda other: models.table[state, other])


def test_what_was_learned_is_exploited_the_more_was_learned() -> None:
    asked = batch(2000, 6)
    asked["deciders"] = ["bandit"] * 2000
    means = []
    for examples in (0, 100, 10_000, 10**8):
        models = PolicyModels(SETTINGS)
        models.apply(bandit(examples=examples))
        means.append(float(np.nanmean(made(asked, models, NO_FLOOR).scores[:, 0])))
    assert means == sorted(means)
    best = (asked["features"] @ models.rewards["bandit"].theta)[asked["n_items"] > 0]
    there = np.arange(WIDTH) < asked["n_items"][asked["n_items"] > 0][:, None]
    assert means[-1] == pytest.approx(np.where(there, best, -np.inf).max(axis=1).mean(), abs=1e-3)


def test_a_bandit_that_learns_from_its_own_slates_comes_to_beat_the_control() -> None:
    """Clicks are drawn with probability phi · theta; what is compared is the true probability of what was shown."""
    random = np.random.default_rng(12)
    truth = np.where(random.random(N_FEATURES) < 0.3, 0.1, 0.0)
    precision, moment = np.eye(N_FEATURES), np.zeros(N_FEATURES)
    models, examples = PolicyModels(SETTINGS), 0
    shown: dict[str, list[float]] = {"random": [], "bandit": []}
    for number in range(12):
        asked = batch(400, 100 + number)
        asked["deciders"] = ["bandit", "random"] * 200
        choices = made(asked, models)
        filled = choices.slates >= 0
        vectors = asked["features"][np.nonzero(filled)[0], choices.slates[filled]]
        clicks = random.random(len(vectors)) < vectors @ truth
        is_control = (np.array(asked["deciders"]) == "random")[np.nonzero(filled)[0]]
        if number >= 6:
            shown["random"] += (vectors @ truth)[is_control].tolist()
            shown["bandit"] += (vectors @ truth)[~is_control].tolist()
        precision += vectors.T @ vectors
        moment += vectors.T @ clicks
        examples += len(vectors)
        models.apply(bandit(number + 1, examples, theta=np.linalg.solve(precision, moment)))
    deviation = np.sqrt(sum(np.var(values) / len(values) for values in shown.values()))
    assert np.mean(shown["bandit"]) - np.mean(shown["random"]) > 5.0 * deviation


def test_versions_follow_the_feed_and_older_decisions_keep_theirs() -> None:
    models = PolicyModels(SETTINGS)
    before = models.versions
    assert before == {"bandit": 0, "own": 0, "q": 0}
    assert models.apply(bandit(version=7))
    assert models.versions == {"bandit": 7, "own": 0, "q": 0}
    assert before == {"bandit": 0, "own": 0, "q": 0}
    assert models.rewards["bandit"].examples == 900.0


@pytest.mark.parametrize(
    "parameters",
    [
        bandit(schema=FINGERPRINT + 1),
        q_agent(table=np.zeros((N_STATES + 1, N_ACTIONS))),
        Parameters("purchase", "linear", True, 1, FINGERPRINT, 1, {}),
    ],
)
def test_parameters_of_other_features_states_or_learners_change_nothing(parameters: Parameters) -> None:
    models = PolicyModels(SETTINGS)
    assert not models.apply(parameters)
    assert models.versions == {"bandit": 0, "own": 0, "q": 0}
    assert all(model is UNTRAINED for model in models.rewards.values())
    assert not models.table.any()


def test_a_policy_that_does_not_exist_stops_the_worker() -> None:
    asked = batch(2, 7)
    asked["deciders"] = ["random", "oracle"]
    with pytest.raises(BrokenInvariant, match="oracle"):
        made(asked, PolicyModels(SETTINGS))


def test_no_decisions_are_none() -> None:
    assert made(cut(batch(1, 1), slice(0)), learned()).slates.shape == (0, SETTINGS.slate)


@pytest.mark.parametrize(
    "poison",
    [
        bandit(theta=np.zeros(3)),
        bandit(theta=np.full(N_FEATURES, np.inf)),
        q_agent(table=np.zeros((N_STATES, N_ACTIONS - 1))),
        q_agent(table=np.full((N_STATES, N_ACTIONS), np.nan)),
        Parameters("bandit", "ridge", True, 9, FINGERPRINT, 9, {}),
        Parameters("q", "table", True, 9, 0, 9, {"table": ["<f8", [2, 2], b"short"]}),
    ],
    ids=["short theta", "infinite theta", "narrow table", "NaN table", "nothing", "cut off"],
)
def test_weights_that_no_decision_could_use_are_refused(poison: Parameters) -> None:
    models, untouched = learned(), learned()
    assert not models.apply(poison)
    assert models.versions == untouched.versions
    theta, kept = (each.rewards["bandit"].theta for each in (models, untouched))
    assert theta.tobytes() == kept.tobytes()
    assert models.table.tobytes() == untouched.table.tobytes()
