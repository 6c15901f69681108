"""The control: uniform over the same shortlist, without replacement."""

from streams.core.policies.policy import Estimates, Policy, equal_chances
from streams.core.policies.slates import BoolArray, Float64Array


class UniformPolicy(Policy):
    """Every item that remains is as likely as any other."""

    def own_chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return equal_chances(eligible)

    def chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return equal_chances(eligible)
