import numpy as np
import pytest
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.ridge import PENALTY, Ridge, examination


def learned() -> tuple[Ridge, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X, y, w = random.normal(size=(300, 5)), random.normal(size=300) + 2.0, random.random(300) + 0.5
    X[:, 0] = 1.0
    slots = random.integers(0, 3, 300)
    ridge = Ridge(5, 3)
    ridge.learn_many(X, slots, y, w)
    return ridge, X, y, w, slots


@pytest.mark.parametrize("looked_at", [[1.0, 1.0, 1.0], [1.0, 0.5, 0.2]])
def test_coefficients_minimise_the_weighted_penalised_squares_at_any_examination(looked_at: list[float]) -> None:
    ridge, X, y, w, slots = learned()
    examined = np.array(looked_at)
    theta = ridge.coefficients(examined)
    seen = X * examined[slots][:, None]
    mean = (seen[:, 0] * w * y).sum() / (seen[:, 0] * w * seen[:, 0]).sum()
    slope = (seen * (w * (seen @ theta - y))[:, None]).sum(axis=0) + PENALTY * (theta - [mean, 0.0, 0.0, 0.0, 0.0])
    assert slope == pytest.approx(np.zeros(5), abs=1e-9)
    assert ridge.precision(examined) == pytest.approx((seen * w[:, None]).T @ seen + PENALTY * np.eye(5))


def test_the_factor_measures_how_unsure_an_estimate_is() -> None:
    ridge, X, *_ = learned()
    examined = np.array([1.0, 0.5, 0.2])
    inverse = np.linalg.inv(ridge.precision(examined))
    assert np.square(X @ ridge.factor(examined).T).sum(axis=1) == pytest.approx(((X @ inverse) * X).sum(axis=1))


def test_a_discount_weighs_every_example_by_its_age_and_leaves_the_penalty() -> None:
    random = np.random.default_rng(1)
    X, y = random.normal(size=(50, 4)), random.normal(size=50)
    X[:, 0] = 1.0
    ridge = Ridge(4, 1, discount=0.9)
    ridge.learn_many(X, np.zeros(50, np.int64), y, np.ones(50))
    age_weights = 0.9 ** np.arange(50)[::-1]
    precision = (X * age_weights[:, None]).T @ X + PENALTY * np.eye(4)
    assert ridge.precision(np.ones(1)) == pytest.approx(precision)
    moment = (X * age_weights[:, None]).T @ y
    moment[0] += PENALTY * np.average(y, weights=age_weights)
    assert ridge.coefficients(np.ones(1)) == pytest.approx(np.linalg.solve(precision, moment))
    assert ridge.weight == pytest.approx(age_weights.sum())


def test_a_restored_ridge_goes_on_with_the_same_bits() -> None:
    X = np.random.default_rng(0).normal(size=(40, 4))
    slots, responses, weights = np.arange(40) % 2, np.full(40, 0.3), np.full(40, 0.7)
    straight, stopped = Ridge(4, 2, 0.99), Ridge(4, 2, 0.99)
    straight.learn_many(X, slots, responses, weights)
    for number in range(40):
        one = slice(number, number + 1)
        resumed = Ridge(4, 2, 0.99)
        resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
        resumed.learn_many(X[one], slots[one], responses[one], weights[one])
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())


@pytest.mark.parametrize("discount", [1.0, 0.98])
def test_no_cut_into_batches_changes_a_bit(discount: float) -> None:
    random = np.random.default_rng(2)
    n = 1500
    X, slots, y, w = random.normal(size=(n, 7)), random.integers(0, 3, n), random.random(n), random.random(n)
    by_addition = Ridge(7, 3, discount)
    for vector, slot, response, weight in zip(X, slots, y, w, strict=True):
        by_addition._gram *= discount
        by_addition._moment *= discount
        by_addition.weight = by_addition.weight * discount + weight
        by_addition._gram[slot] += np.multiply.outer(vector * weight, vector)
        by_addition._moment[slot] += vector * weight * response
    for cuts in ([], [1], [700, 701, 900], list(range(0, n, 3))):
        ridge = Ridge(7, 3, discount)
        for rows in np.split(np.arange(n), cuts):
            ridge.learn_many(X[rows], slots[rows], y[rows], w[rows])
        assert pack_arrays(ridge.arrays()) == pack_arrays(by_addition.arrays())


def test_before_anything_was_learned_everything_is_worth_nothing() -> None:
    assert Ridge(3, 2).coefficients(np.ones(2)).tolist() == [0.0, 0.0, 0.0]


def test_examination_approaches_the_ratio_of_the_click_rates() -> None:
    looked_at: NDArray[np.float64] = np.linspace(1.0, 0.2, 20)
    shown = np.full(20, 1e6)
    clicked: NDArray[np.float64] = 80_000.0 * looked_at
    assert examination(shown, clicked) == pytest.approx(looked_at, abs=0.002)


def test_examination_starts_at_its_prior_and_stays_within_bounds() -> None:
    nothing = np.zeros(20)
    assert examination(nothing, nothing) == pytest.approx(1.0 / (1.0 + 0.1 * np.arange(20)))
    shown = np.full(20, 1e6)
    assert examination(shown, nothing)[1:].tolist() == [0.05] * 19
    assert examination(shown, np.linspace(0.0, 190_000.0, 20)).max() == 1.0
    assert examination(shown, nothing)[0] == 1.0
