"""Shares of the policies in the demo: every control gets enough shoppers to say something after a few minutes."""

from typing import Final

from msgspec.structs import replace

from streams.contract.settings import Decisions, Settings
from streams.contract.topics import BANDIT, POPULAR, Q_AGENT, RANDOM, RANKED

DEMO_SHARES: Final = {
    RANDOM: 0.1,
    RANKED: 0.1,
    POPULAR: 0.1,
    BANDIT: 0.4,
    Q_AGENT: 0.1,
    "thompson": 0.1,
    "epsilon": 0.1,
}


def with_demo_shares(settings: Settings) -> Settings:
    """Replaces the default shares, which are for a shop with many shoppers; others that are configured stay."""
    if settings.decisions.shares != Decisions().shares:
        return settings
    return replace(settings, decisions=replace(settings.decisions, shares=DEMO_SHARES))
