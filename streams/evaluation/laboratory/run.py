"""Run of one policy in all worlds at once: decide, receive the reward, learn at once or in batches."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streams.core.policies.policy import Policy
from streams.evaluation.laboratory.ridge import StackedRidge
from streams.evaluation.laboratory.worlds import BoolArray, Float64Array, Int64Array, World


class Played(NamedTuple):
    """What a policy did.

    Attributes:
        regret: Of each decision against the best policy, ``(n_worlds, n_decisions)``.
        effective: Size that the log has for an estimate of the uniform policy, as a share of its decisions: the squared
            sum of the importance weights by the sum of their squares, ``(n_worlds,)`` (Kish 1965).
    """

    regret: Float64Array
    effective: Float64Array


Progress = Callable[[int], None]
"""Called with the number of further decisions made."""


def run(world: World, policy: Policy, discount: float, seed: int, advance: Progress, delay: int = 0) -> Played:
    """Runs a policy in the worlds.

    Args:
        seed: Seed of the policy's draws.
        delay: Number of decisions that are made before their rewards are learned, all together; at 0 each decision is
            learned before the next one is made. What waits when an arm is replaced is learned before.
    """
    n_worlds, n_decisions = world.n_worlds, world.n_decisions
    model = StackedRidge(n_worlds, world.n_arms if world.disjoint else 1, world.n_features, discount)
    draws = np.random.default_rng([seed, 3]).random((n_decisions, n_worlds, 1))
    n_items, places = np.full(n_worlds, world.n_arms), np.arange(n_worlds)
    regret, weights = np.empty((n_worlds, n_decisions)), np.empty((n_worlds, n_decisions))
    waiting: list[tuple[Float64Array, Int64Array, Float64Array, BoolArray]] = []

    def learn_waiting() -> None:
        for example in waiting:
            model.learn(*example)
        waiting.clear()

    for number in range(n_decisions):
        if (arm := world.replaced(number)) is not None:
            learn_waiting()
            model.forget(arm)
        features, expected, there = world.features(number), world.expected(number), world.visited()
        estimates = model.estimate(features, deviations=policy.needs_deviations)
        drawn = policy.choose(estimates, n_items, draws[number])
        arms, weights[:, number] = drawn.slates[:, 0], 1.0 / (world.n_arms * drawn.propensities[:, 0])
        shown = expected[places, arms]
        regret[:, number] = world.best(expected) - shown * there
        waiting.append((features[places, arms], arms, world.rewards(number, shown), there))
        if len(waiting) >= max(delay, 1):
            learn_waiting()
        world.show(number, arms, expected)
        if number % 500 == 499:
            advance(500 * n_worlds)
    return Played(regret, weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1) / n_decisions)
