"""``[decisions]``: slates, policies and their shares, rewards."""

from typing import Annotated

import msgspec
from msgspec import Meta

from streams.contract.errors import ConfigurationError
from streams.contract.event_kinds import ASKING, Kind
from streams.contract.events import MAX_SLATE
from streams.contract.experiment import misfit_of
from streams.contract.settings.policies import CONTROLS, DEFAULT_POLICIES, Learned, Policy, learner_of
from streams.contract.settings.rewards import Rewards
from streams.contract.settings.rules import Rules
from streams.contract.settings.sections import Positive, Section, Share
from streams.contract.topics import BANDIT, Q_AGENT, RANDOM, RANKED


class Decisions(Section, frozen=True):
    """Slates, policies and their shares, rewards.

    Attributes:
        at: Kinds of events at which a decision is made. A shop that asks with ``decide`` alone leaves ``view`` out: few
            decisions of a shopper stay open, and those that nobody shows take the places of others.
        shares: Policy to its share of the users, by keyed hash; they sum to 1 and ``random`` has one.
        shadows: Policies that decide everything besides, and log it, without being shown.
        salt: Key of that hash; another salt assigns all users anew.
        impression_window_s: A decision that was not shown within it is dropped; it is not learned as a reward of 0.
        log_rate: Share of the decisions that are logged for evaluation.
        policies: Name to policy; controls and ``q`` need no entry. A table in the file replaces all defaults.
        q_filled_by: Policy that draws the items of the candidate source that the Q agent has chosen.
        q_rewards: Kind of event to its reward for the Q agent, between one decision and the next.
    """

    at: tuple[Kind, ...] = ("view", "decide")
    slate: Annotated[int, Meta(gt=0, le=MAX_SLATE)] = 5
    shortlist: Annotated[int, Meta(gt=0, le=20)] = 20
    shares: dict[str, Share] = msgspec.field(
        default_factory=lambda: {RANDOM: 0.05, RANKED: 0.05, BANDIT: 0.5, Q_AGENT: 0.2, "thompson": 0.1, "epsilon": 0.1}
    )
    shadows: tuple[str, ...] = ()
    salt: str = "headrace"
    rewards: Rewards = Rewards()
    rules: Rules = Rules()
    impression_window_s: Positive = 600
    log_rate: Share = 1.0
    policies: dict[str, Policy] = msgspec.field(default_factory=lambda: dict(DEFAULT_POLICIES))
    q_filled_by: str = BANDIT
    q_gamma: Share = 0.9
    q_epsilon: Share = 0.1
    q_learning_rate: Share = 0.1
    q_rewards: dict[Kind, float] = msgspec.field(
        default_factory=lambda: {"click": 1.0, "add_to_cart": 2.0, "purchase": 5.0}
    )

    @property
    def policy_names(self) -> tuple[str, ...]:
        """Names of all policies: the controls, the Q agent, then the configured ones."""
        return *CONTROLS, Q_AGENT, *self.policies

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of the policies' learners, the Q agent's first, then the others' in the order of their table."""
        names = [learner_of(name, self.policies) for name in self.policies]
        return Q_AGENT, *dict.fromkeys(name for name in names if name is not None)

    def learners_from(self, policy: str) -> list[str]:
        """Names the learners that learn from a policy's slates; all learn the slots' examination from ``random``."""
        return [
            name
            for name in self.learners
            if name != Q_AGENT and (policy in (name, RANDOM) or not self.learns_from_own(name))
        ]

    def learns_from_own(self, learner: str) -> bool:
        """Tells a policy's own learner from a pooled one."""
        policy = self.policies[learner]
        return isinstance(policy, Learned) and policy.learns_from == "own"

    def discount(self, learner: str) -> float:
        """Returns the factor on the weight of a learner's past examples when it learns the next one."""
        policy = self.policies[learner]
        return policy.discount if isinstance(policy, Learned) else 1.0


def check_decisions(decisions: Decisions) -> None:
    """Raises a ConfigurationError where keys do not fit together."""
    _check_policies(decisions)
    if misfit := misfit_of(decisions.shares, decisions.shadows, decisions.policy_names):
        raise ConfigurationError(f"decisions.{misfit}")
    if not any(reward.weight for reward in decisions.rewards.by_type):
        raise ConfigurationError(
            "decisions.rewards weigh nothing: give one a weight, so that there is something to learn"
        )
    if wrong := [kind for kind in decisions.at if kind not in ASKING]:
        raise ConfigurationError(f"decisions.at has {wrong[0]}: choose of {', '.join(ASKING)}")
    if decisions.slate > decisions.shortlist:
        raise ConfigurationError("decisions.slate is larger than decisions.shortlist")


def _check_policies(decisions: Decisions) -> None:
    policies = decisions.policies
    if reserved := {*CONTROLS, Q_AGENT} & set(policies):
        raise ConfigurationError(f"decisions.policies.{min(reserved)}: the name is taken; choose another")
    filling = policies.get(decisions.q_filled_by)
    if not isinstance(filling, Learned):
        learning = [name for name, policy in policies.items() if isinstance(policy, Learned)]
        raise ConfigurationError(
            f"decisions.q_filled_by is {decisions.q_filled_by!r}; it is one of decisions.policies that learns: "
            f"{', '.join(learning) or 'there is none'}"
        )
