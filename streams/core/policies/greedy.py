"""Greedy and epsilon-greedy: the item of the highest estimate, and now and then any."""

from streams.core.policies.policy import Estimates, Policy, all_on_the_highest, equal_chances
from streams.core.policies.slates import BoolArray, Float64Array


class EpsilonGreedyPolicy(Policy):
    """Explores with probability ``epsilon``, uniformly; greedy where that is 0."""

    def __init__(self, epsilon: float, floor: float) -> None:
        super().__init__(floor)
        self._epsilon = epsilon

    def own_chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        greedy = all_on_the_highest(estimates.means, eligible)
        return (1.0 - self._epsilon) * greedy + self._epsilon * equal_chances(eligible)
