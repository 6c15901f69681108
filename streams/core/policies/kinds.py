"""Every kind of policy, made from its configuration."""

from typing import assert_never

from streams.contract import policies as configured
from streams.core.policies.greedy import EpsilonGreedyPolicy
from streams.core.policies.linucb import LinUCBPolicy
from streams.core.policies.policy import Policy
from streams.core.policies.squarecb import SquareCBPolicy
from streams.core.policies.thompson import ThompsonPolicy
from streams.core.policies.uniform import UniformPolicy


def new_policy(configuration: configured.Policy) -> Policy:
    """Builds a policy of the configured kind."""
    match configuration:
        case configured.Uniform(floor=floor):
            return UniformPolicy(floor)
        case configured.Greedy(floor=floor):
            return EpsilonGreedyPolicy(0.0, floor)
        case configured.EpsilonGreedy(epsilon=epsilon, floor=floor):
            return EpsilonGreedyPolicy(epsilon, floor)
        case configured.LinUCB(alpha=alpha, floor=floor):
            return LinUCBPolicy(alpha, floor)
        case configured.SquareCB(exploration=exploration, floor=floor):
            return SquareCBPolicy(exploration, floor)
        case configured.Thompson(scale=scale, floor=floor):
            return ThompsonPolicy(scale, floor)
        case _:
            assert_never(configuration)
