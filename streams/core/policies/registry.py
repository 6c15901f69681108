"""Every kind of policy, made from its configuration."""

from typing import assert_never

from streams.contract.settings import policies as configured
from streams.core.policies.policy import EpsilonGreedyPolicy, LinUCBPolicy, Policy, RankedPolicy, UniformPolicy
from streams.core.policies.squarecb import SquareCBPolicy
from streams.core.policies.thompson import ThompsonPolicy


def new_policy(configuration: configured.Policy) -> Policy:
    """Builds a policy of the configured kind."""
    policy: Policy
    match configuration:
        case configured.Uniform(floor=floor):
            policy = UniformPolicy(floor)
        case configured.Ranked(floor=floor):
            policy = RankedPolicy(floor)
        case configured.Greedy(floor=floor):
            policy = EpsilonGreedyPolicy(0.0, floor)
        case configured.EpsilonGreedy(epsilon=epsilon, floor=floor):
            policy = EpsilonGreedyPolicy(epsilon, floor)
        case configured.LinUCB(alpha=alpha, floor=floor):
            policy = LinUCBPolicy(alpha, floor)
        case configured.SquareCB(exploration=exploration, floor=floor):
            policy = SquareCBPolicy(exploration, floor)
        case configured.Thompson(scale=scale, floor=floor):
            policy = ThompsonPolicy(scale, floor)
        case _:
            assert_never(configuration)
    return policy
