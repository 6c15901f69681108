"""LinUCB: the item that could be the best, as far as the model cannot rule it out.

References:
    Li, Chu, Langford and Schapire (2010), "A contextual-bandit approach to personalized news article recommendation",
    WWW, algorithm 1.
"""

from streams.core.policies.policy import Estimates, Policy, all_on_the_highest
from streams.core.policies.slates import BoolArray, Float64Array


class LinUCBPolicy(Policy):
    """Optimism: the estimate and ``alpha`` deviations of it. Only the floor makes it random."""

    needs_deviations = True

    def __init__(self, alpha: float, floor: float) -> None:
        super().__init__(floor)
        self._alpha = alpha

    def own_chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return all_on_the_highest(estimates.means + self._alpha * estimates.deviations, eligible)
