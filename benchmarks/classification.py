"""Classification sets played as bandits: a context is a row, an arm is a class, the reward is 1 for the row's class.

References:
    Bietti, Agarwal and Langford (2021), "A contextual bandit bake-off", JMLR 22.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from sklearn import datasets

from streams.evaluation.laboratory.worlds import BoolArray, Float64Array, Int64Array, World

SETS: Final[dict[str, Callable[..., Any]]] = {
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "breast-cancer": datasets.load_breast_cancer,
    "iris": datasets.load_iris,
}
"""Name to the function that loads the set, all from scikit-learn's own files."""


class Classification(World):
    """A set whose rows come in random order, each anew as often as there are decisions for.

    Columns are standardised and divided by the root of their number, so that a row's length is about 1.

    Args:
        seeds: One order of the rows for each.
    """

    disjoint = True

    def __init__(self, name: str, seeds: Sequence[int], n_decisions: int) -> None:
        rows, self._labels = SETS[name](return_X_y=True)
        rows = rows[:, rows.std(axis=0) > 0.0]
        scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0) / np.sqrt(rows.shape[1])
        self._rows = np.concatenate([np.ones((len(rows), 1)), scaled], axis=1)
        super().__init__(len(seeds), n_decisions, len(np.unique(self._labels)), self._rows.shape[1])
        passes = n_decisions // len(rows) + 1
        self._order = np.stack([_orders(np.random.default_rng([seed, 1]), len(rows), passes) for seed in seeds])

    def features(self, number: int) -> Float64Array:
        return np.repeat(self._rows[self._order[:, number]][:, None, :], self.n_arms, axis=1)

    def expected(self, number: int) -> Float64Array:
        is_class: BoolArray = self._labels[self._order[:, number], None] == np.arange(self.n_arms)
        return is_class.astype(np.float64)

    def rewards(self, number: int, shown: Float64Array) -> Float64Array:
        return shown


def _orders(generator: np.random.Generator, n_rows: int, passes: int) -> Int64Array:
    return np.concatenate([generator.permutation(n_rows) for _ in range(passes)])
