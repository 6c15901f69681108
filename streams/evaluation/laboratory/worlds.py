"""Simulated worlds with a known optimum, many in parallel: one for each seed, all at the same decision.

A decision shows one of :data:`N_ARMS` arms and is rewarded with probability ``expected``. Contexts, parameters and the
random numbers of rewards depend on the seed alone, so that every policy meets the same world.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

N_ARMS: Final = 20
N_FEATURES: Final = 16
Drift = Literal["none", "gradual", "abrupt", "seasonal", "churn"]
DRIFTS: Final[tuple[Drift, ...]] = get_args(Drift)
_SEASONS: Final = 4
_REPLACED: Final = 20
"""Number of arms that are replaced by new ones over a run, one by one."""
_RATE: Final = 0.3
_LEAST, _MOST = 0.02, 0.98
_NOISE: Final = 0.2
_LENGTH: Final = 10
"""Decisions of a visit, if the visitor does not leave early."""
_TIRES: Final = 0.3
_RECOVERS: Final = 0.95


class World(ABC):
    """Parallel worlds of one kind.

    Attributes:
        disjoint: Whether each arm has its own parameters, so that a model needs one block for each.
    """

    disjoint = False

    def __init__(self, n_worlds: int, n_decisions: int, n_arms: int, n_features: int) -> None:
        self.n_worlds = n_worlds
        self.n_decisions = n_decisions
        self.n_arms = n_arms
        self.n_features = n_features

    def replaced(self, number: int) -> int | None:
        """Replaces an arm by a new one if it is time; returns the arm."""
        return None

    @abstractmethod
    def features(self, number: int) -> Float64Array:
        """Returns the features of each arm, the first a constant 1, ``(n_worlds, n_arms, n_features)``."""

    @abstractmethod
    def expected(self, number: int) -> Float64Array:
        """Returns the expected reward of each arm, given the arms shown before, ``(n_worlds, n_arms)``."""

    @abstractmethod
    def rewards(self, number: int, shown: Float64Array) -> Float64Array:
        """Draws the rewards of the shown arms, given what is expected of them, ``(n_worlds,)``."""

    def visited(self) -> BoolArray:
        """Returns whether each world has a visitor, ``(n_worlds,)``; without one there is no reward and no example."""
        return np.ones(self.n_worlds, np.bool_)

    def best(self, expected: Float64Array) -> Float64Array:
        """Returns the expected reward of the best policy at this decision, ``(n_worlds,)``."""
        return np.asarray(expected.max(axis=1), np.float64)

    def show(self, number: int, arms: Int64Array, expected: Float64Array) -> None:  # noqa: B027 # mostly empty
        """Applies the effects of the shown arms on the world."""


class SimulatedWorld(World):
    """Worlds of 20 arms whose contexts and parameters are drawn.

    Args:
        seeds: One world for each.
        n_decisions: Decisions in each world.
        rate: Click rate that the expected rewards of a world of clicks are scaled to, about that of an arm by chance.
    """

    def __init__(self, seeds: Sequence[int], n_decisions: int, drift: Drift, rate: float = _RATE) -> None:
        super().__init__(len(seeds), n_decisions, N_ARMS, N_FEATURES)
        self._scale = rate / _RATE
        self._drift = drift
        self._generators = [np.random.default_rng([seed, 1]) for seed in seeds]
        self._contexts = self._drawn((n_decisions, N_FEATURES))
        self._contexts[:, :, 0] = 1.0
        self._luck = np.stack([np.random.default_rng([seed, 2]).random(n_decisions) for seed in seeds])
        self._items = self._drawn((N_ARMS, N_FEATURES))
        self._first, self._second = self._drawn((N_ARMS, N_FEATURES)), self._drawn((N_ARMS, N_FEATURES))

    def replaced(self, number: int) -> int | None:
        every = max(self.n_decisions // _REPLACED, 1)
        if self._drift != "churn" or number == 0 or number % every:
            return None
        arm = number // every % N_ARMS
        self._first[:, arm] = self._drawn((N_FEATURES,))
        self._items[:, arm] = self._drawn((N_FEATURES,))
        return arm

    def rewards(self, number: int, shown: Float64Array) -> Float64Array:
        """Draws a click with the expected probability of the shown arm."""
        return np.asarray(self._luck[:, number] < shown, np.float64)

    def _parameters(self, number: int) -> Float64Array:
        """Returns the parameters at a decision, ``(n_worlds, N_ARMS, N_FEATURES)``."""
        progress = number / self.n_decisions
        if self._drift == "abrupt":
            return self._first if progress < 0.5 else self._second
        if self._drift == "gradual":
            return self._turned(0.5 * np.pi * progress)
        if self._drift == "seasonal":
            return self._turned(2.0 * np.pi * _SEASONS * progress)
        return self._first

    def _turned(self, angle: float) -> Float64Array:
        return np.asarray(np.cos(angle) * self._first + np.sin(angle) * self._second, np.float64)

    def _drawn(self, shape: tuple[int, ...]) -> Float64Array:
        return np.stack([generator.normal(size=shape) for generator in self._generators])


class SharedLinear(SimulatedWorld):
    """Arms have features; the reward is linear in context times features, with shared parameters."""

    def features(self, number: int) -> Float64Array:
        features = self._contexts[:, number, None, :] * self._items
        features[:, :, 0] = 1.0
        return features

    def expected(self, number: int) -> Float64Array:
        theta = self._parameters(number)[:, 0, 1:] / np.sqrt(N_FEATURES - 1.0)
        appeal = (self.features(number)[:, :, 1:] * theta[:, None, :]).sum(axis=2)
        return self._clicks(0.3 + 0.15 * appeal)

    def _clicks(self, expected: Float64Array) -> Float64Array:
        return np.asarray(np.clip(expected * self._scale, _LEAST * self._scale, _MOST), np.float64)


class DisjointLinear(SimulatedWorld):
    """Each arm has its own parameters: an arm that was never shown has estimate 0, so greedy never tries it.

    Rewards are amounts around 1, whatever the rate.
    """

    disjoint = True

    def features(self, number: int) -> Float64Array:
        context = self._contexts[:, number] / np.sqrt(N_FEATURES)
        context[:, 0] = 1.0
        return np.repeat(context[:, None, :], N_ARMS, axis=1)

    def expected(self, number: int) -> Float64Array:
        parameters = self._parameters(number)
        appeal = (self.features(number)[:, :, 1:] * parameters[:, :, 1:]).sum(axis=2)
        return np.asarray(1.0 + 0.1 * parameters[:, :, 0] + 0.4 * appeal, np.float64)

    def rewards(self, number: int, shown: Float64Array) -> Float64Array:
        return np.asarray(shown + _NOISE * ndtri(self._luck[:, number]), np.float64)


class NonLinear(SharedLinear):
    """The reward is a non-linear function of the shared world's reward, which no linear model can fit."""

    def expected(self, number: int) -> Float64Array:
        linear = (super().expected(number) / self._scale - 0.3) / 0.15
        bent = 0.1 + 0.5 / (1.0 + np.exp(-3.0 * (linear - 1.0))) + 0.05 * np.sin(3.0 * linear)
        return self._clicks(bent)


class Fatigue(SharedLinear):
    """A shown arm is less attractive for a while; the best policy shows the most attractive arm at each decision."""

    def __init__(self, seeds: Sequence[int], n_decisions: int, drift: Drift, rate: float = _RATE) -> None:
        super().__init__(seeds, n_decisions, drift, rate)
        self._tired = np.zeros((self.n_worlds, N_ARMS))

    def features(self, number: int) -> Float64Array:
        features = super().features(number)
        features[:, :, -1] = self._tired
        return features

    def expected(self, number: int) -> Float64Array:
        rested = super().expected(number)
        return np.asarray(np.maximum(rested * (1.0 - self._tired), _LEAST * self._scale), np.float64)

    def show(self, number: int, arms: Int64Array, expected: Float64Array) -> None:
        self._tired *= _RECOVERS
        self._tired[np.arange(self.n_worlds), arms] += _TIRES * (1.0 - self._tired[np.arange(self.n_worlds), arms])


class Leaving(SharedLinear):
    """A visit is ten decisions, but after a bad one the visitor may leave."""

    def __init__(self, seeds: Sequence[int], n_decisions: int, drift: Drift, rate: float = _RATE) -> None:
        super().__init__(seeds, n_decisions, drift, rate)
        self._there = np.ones(self.n_worlds, np.bool_)
        self._kept = np.ones(self.n_worlds)
        self._leaves = np.stack([generator.random(n_decisions) for generator in self._generators])

    def visited(self) -> BoolArray:
        return self._there

    def best(self, expected: Float64Array) -> Float64Array:
        return np.asarray(self._kept * expected.max(axis=1), np.float64)

    def show(self, number: int, arms: Int64Array, expected: Float64Array) -> None:
        if (number + 1) % _LENGTH == 0:
            self._there, self._kept = np.ones(self.n_worlds, np.bool_), np.ones(self.n_worlds)
            return
        shown = expected[np.arange(self.n_worlds), arms]
        self._there = self._there & (self._leaves[:, number] >= _leave_probability(shown))
        self._kept = self._kept * (1.0 - _leave_probability(expected.max(axis=1)))


def _leave_probability(shown: Float64Array) -> Float64Array:
    return np.asarray(np.clip(0.5 - shown, 0.0, 0.5), np.float64)


WORLDS: Final[dict[str, type[SimulatedWorld]]] = {
    "shared-linear": SharedLinear,
    "disjoint-linear": DisjointLinear,
    "non-linear": NonLinear,
    "fatigue": Fatigue,
    "leaving": Leaving,
}
