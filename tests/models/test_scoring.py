from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.contract.arrays import pack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import DEFAULT_WINDOWS, Target, Window
from streams.core.features.groups import Grouping
from streams.core.features.schema import feature_schema
from streams.core.models.linear_learner import LinearLearner
from streams.core.models.logistic import probabilities
from streams.core.models.perceptron import perceptron_contributions
from streams.core.models.scoring import Scorers, _strongest
from streams.core.models.target_models import TargetModels
from tests.models.plain import predict_one

SCHEMA = feature_schema(DEFAULT_WINDOWS)
PURCHASE = Target(
    name="purchase", label="purchase", horizon_s=1800, sampling_rate=0.5, prior=0.05, models=("linear", "perceptron")
)
CART = Target(name="cart", label="add_to_cart", horizon_s=600, sampling_rate=0.5, prior=0.1)


WEIGHTS = {"linear": 0.75, "perceptron": 0.25}


def vectors(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.lognormal(1.0, 1.5, (n, len(SCHEMA.names)))
    rows[:, ~np.array(SCHEMA.scaled)] = rows[:, ~np.array(SCHEMA.scaled)] > 3.0
    return rows.astype(np.float32)


def learned() -> TargetModels:
    family = TargetModels(PURCHASE, SCHEMA, seed=0)
    rows = vectors(400)
    labels = (rows[:, 0] > rows[:, 1] * 3).astype(np.float64)
    family.learn_many(rows, labels, np.ones(400))
    return family


FAMILY = learned()


def exported(family: TargetModels, version: int = 4, schema: int = SCHEMA.fingerprint) -> list[Parameters]:
    return [
        Parameters("purchase", model, model == "linear", version, schema, 400, pack_arrays(arrays), WEIGHTS)
        for model, arrays in family.parameters().items()
    ]


def trained() -> Scorers:
    scorers = Scorers([PURCHASE, CART], SCHEMA)
    assert all(scorers.apply(parameters) for parameters in exported(FAMILY))
    return scorers


def test_before_anything_was_learned_every_declared_member_says_the_prior() -> None:
    scorers = Scorers([PURCHASE, CART], SCHEMA)
    assert scorers.score("purchase", vectors(3)).tolist() == [[0.05, 0.05, 0.05]] * 3
    assert scorers.score("cart", vectors(2)).tolist() == [[0.1]] * 2
    assert (scorers.version("purchase"), scorers.models("purchase")) == (0, ["mixture", "linear", "perceptron"])
    assert (scorers.mixture("purchase"), scorers.untrained("purchase")) == ({}, [0, 1, 2])
    assert scorers.reasons("purchase", vectors(2)) == [[], []]


@given(st.lists(st.integers(0, 130), max_size=12))
@settings(deadline=None, max_examples=30)
def test_a_score_has_the_same_bits_in_any_batch(inner: list[int]) -> None:
    scorers, rows = trained(), vectors(130, seed=1)
    cuts = [0, *sorted(inner), 130]
    parts = [scorers.score("purchase", rows[start:end]) for start, end in pairwise(cuts)]
    assert np.concatenate(parts).tobytes() == scorers.score("purchase", rows).tobytes()
    reasons = [reason for start, end in pairwise(cuts) for reason in scorers.reasons("purchase", rows[start:end])]
    assert reasons == scorers.reasons("purchase", rows)


def test_one_row_scores_as_among_two_thousand() -> None:
    scorers, rows = trained(), vectors(2000, seed=2)
    whole = scorers.score("purchase", rows)
    for size in (1, 7):
        parts = [scorers.score("purchase", rows[start : start + size]) for start in range(0, 2000, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_it_serves_what_the_learner_itself_would_say() -> None:
    rows = vectors(50, seed=3)
    served = trained().score("purchase", rows)
    scaled = FAMILY._scale.scale().apply(rows)
    linear = FAMILY._models["linear"]
    assert isinstance(linear, LinearLearner)
    assert served[:, 1] == pytest.approx([predict_one(linear, row) for row in scaled], abs=1e-12)
    layers = FAMILY._models["perceptron"].parameters()
    hidden = np.maximum(scaled @ layers["weights_1"] + layers["bias_1"], 0)
    hidden = np.maximum(hidden @ layers["weights_2"] + layers["bias_2"], 0)
    assert served[:, 2] == pytest.approx(
        probabilities((hidden @ layers["weights_3"] + layers["bias_3"])[:, 0]), abs=1e-5
    )
    assert served[:, 0].tolist() == (served[:, 1] * 0.75 + served[:, 2] * 0.25).tolist()
    assert np.ptp(served[:, 1]) > 0.1
    assert np.ptp(served[:, 2]) > 0.01


def test_parameters_of_another_schema_target_or_member_are_refused_and_change_nothing() -> None:
    scorers, rows = trained(), vectors(5)
    before = scorers.score("purchase", rows)
    other = feature_schema([Window(name="2h", pane_s=60, panes=120)])
    linear, perceptron = exported(FAMILY, version=9, schema=other.fingerprint)
    assert not scorers.apply(linear)
    assert not scorers.apply(perceptron)
    for learner, model in (("churn", "linear"), ("bandit", "ridge"), ("cart", "perceptron")):
        strange = Parameters(learner, model, True, 9, SCHEMA.fingerprint, 1, linear.arrays)
        assert not scorers.apply(strange)
    assert scorers.version("purchase") == 4
    assert scorers.score("purchase", rows).tobytes() == before.tobytes()


def test_a_version_is_the_newest_and_members_may_be_of_two() -> None:
    scorers, rows = trained(), vectors(20)
    before = scorers.score("purchase", rows)
    family = learned()
    family.learn_many(vectors(64, seed=9) * 3, np.ones(64), np.ones(64))
    linear, perceptron = exported(family, version=5)
    scorers.apply(linear)
    half = scorers.score("purchase", rows)
    assert scorers.version("purchase") == 5
    assert (half[:, 1] != before[:, 1]).any()
    assert half[:, 2].tobytes() == before[:, 2].tobytes()
    scorers.apply(perceptron)
    assert (scorers.score("purchase", rows)[:, 2] != half[:, 2]).any()


def test_reasons_are_the_largest_moves_of_the_linear_members_score() -> None:
    rows = vectors(40, seed=4)
    scaled = FAMILY._scale.scale().apply(rows)
    weights = FAMILY.parameters()["linear"]["weights"]
    scorers = trained()
    for parameters in exported(FAMILY):
        scorers.apply(replace(parameters, weights={"linear": 1.0}))
    for row, reasons in zip(scaled, scorers.reasons("purchase", rows, k=4), strict=True):
        moved = dict.fromkeys(SCHEMA.groups, 0.0)
        for group, amount in zip(SCHEMA.groups, (row * weights).tolist(), strict=True):
            moved[group] += amount
        expected = sorted(moved, key=lambda name: -abs(moved[name]))[:4]
        assert [reason.group for reason in reasons] == expected
        assert [reason.contribution for reason in reasons] == pytest.approx([moved[name] for name in expected])


def test_an_average_shopper_has_no_reasons() -> None:
    scale = FAMILY._scale.scale()
    average = np.zeros((1, len(SCHEMA.names)), np.float32)
    average[0, np.flatnonzero(SCHEMA.scaled)] = np.expm1(scale.mean)
    assert all(abs(reason.contribution) < 1e-4 for reason in trained().reasons("purchase", average)[0])


@pytest.mark.parametrize(
    "poison",
    [
        {"mean": np.zeros(3)},
        {"weights": np.zeros(2)},
        {"weights": np.full(len(SCHEMA.names), np.nan)},
        {"intercept": np.zeros(0)},
        {"inverse_std": np.array(["a"])},
        {"weights": None},
    ],
    ids=["short mean", "short weights", "NaN", "no intercept", "text", "no weights"],
)
def test_weights_that_cannot_score_are_refused_and_the_last_good_ones_serve(
    poison: dict[str, np.ndarray | None],
) -> None:
    scorers, rows = trained(), vectors(5)
    before = scorers.score("purchase", rows).tobytes()
    sent: dict[str, np.ndarray | None] = {**FAMILY.parameters()["linear"], **poison}
    arrays = pack_arrays({name: array for name, array in sent.items() if array is not None})
    assert not scorers.apply(Parameters("purchase", "linear", True, 9, SCHEMA.fingerprint, 400, arrays))
    assert not scorers.apply(
        Parameters("purchase", "linear", True, 9, SCHEMA.fingerprint, 400, {"mean": ["<f8", [], b""]})
    )
    assert scorers.version("purchase") == 4
    assert scorers.score("purchase", rows).tobytes() == before


def test_a_record_without_weights_has_its_champion_serve_alone() -> None:
    scorers, rows = trained(), vectors(30, seed=5)
    for parameters in exported(FAMILY, version=7):
        scorers.apply(replace(parameters, champion=parameters.model == "perceptron", weights={}))
    assert (scorers.champion("purchase"), scorers.mixture("purchase")) == ("perceptron", {"perceptron": 1.0})
    after = scorers.score("purchase", rows)
    assert after[:, 0].tobytes() == after[:, 2].tobytes()


@pytest.mark.parametrize("weights", [{"linear": -1.0}, {"linear": np.nan}, {"linear": np.inf}, {"linear": 0.0}])
def test_numbers_that_cannot_weigh_models_are_refused(weights: dict[str, float]) -> None:
    scorers = trained()
    assert not scorers.apply(replace(exported(FAMILY, version=7)[0], weights=weights))
    assert scorers.mixture("purchase") == WEIGHTS


def test_the_newest_weights_serve_among_the_models_that_are_there() -> None:
    scorers = Scorers([PURCHASE], SCHEMA)
    linear, perceptron = exported(FAMILY, version=7)
    scorers.apply(linear)
    assert (scorers.mixture("purchase"), scorers.untrained("purchase")) == ({"linear": 1.0}, [2])
    scorers.apply(replace(perceptron, weights={"linear": 0.5, "perceptron": 0.5}))
    assert scorers.mixture("purchase") == {"linear": 0.5, "perceptron": 0.5}
    scorers.apply(replace(linear, version=6))
    assert scorers.mixture("purchase") == {"linear": 0.5, "perceptron": 0.5}


def test_the_reasons_of_a_mixture_are_its_members_by_weight() -> None:
    scorers, rows = trained(), vectors(30, seed=5)
    scaled = FAMILY._scale.scale().apply(rows)
    grouping = Grouping(SCHEMA.groups)
    parameters = FAMILY.parameters()
    linear = scaled * parameters["linear"]["weights"]
    moved = grouping.sums(linear * 0.75 + perceptron_contributions(scaled, parameters["perceptron"]) * 0.25)
    for row, reasons in zip(moved, scorers.reasons("purchase", rows), strict=True):
        strongest = np.argsort(-np.abs(row), kind="stable")[:3]
        assert [reason.group for reason in reasons] == [grouping.names[group] for group in strongest]
        assert [reason.contribution for reason in reasons] == pytest.approx(row[strongest].tolist())


def test_the_reasons_of_a_blend_sum_to_the_difference_in_its_score() -> None:
    target = replace(PURCHASE, models=("blend", "linear", "ftrl", "additive", "perceptron"))
    family, scorers, rows = TargetModels(target, SCHEMA, seed=0), Scorers([target], SCHEMA), vectors(700)
    labels = (rows[:, 0] > rows[:, 1] * 3).astype(np.float64)
    family.learn_many(rows, labels, np.ones(700))
    for model, arrays in family.parameters().items():
        own, schema, packed = model == "blend", SCHEMA.fingerprint, pack_arrays(arrays)
        assert scorers.apply(Parameters("purchase", model, own, 1, schema, 700, packed, {"blend": 1.0}))
    average = np.zeros((1, len(SCHEMA.names)), np.float32)
    average[0, np.flatnonzero(SCHEMA.scaled)] = np.sign(family._scale.scale().mean) * np.expm1(
        np.abs(family._scale.scale().mean)
    )
    log_odds_of = np.log(scorers.score("purchase", rows) / (1 - scorers.score("purchase", rows)))[:, 0]
    base = scorers.score("purchase", average)[0, 0]
    sums = [sum(reason.contribution for reason in reasons) for reasons in scorers.reasons("purchase", rows, k=99)]
    assert sums == pytest.approx(log_odds_of - np.log(base / (1 - base)), abs=2e-3)
    assert np.ptp(sums) > 1.0


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=width, max_size=width), min_size=1)
    ),
    st.integers(1, 7),
)
def test_the_strongest_are_those_that_sorting_puts_first(rows: list[list[float]], k: int) -> None:
    strengths = np.array(rows)
    expected = np.argsort(-strengths, axis=1, kind="stable")[:, :k]
    assert _strongest(strengths.copy(), k).tolist() == expected.tolist()
