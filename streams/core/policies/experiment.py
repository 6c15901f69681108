"""The experiment in force: what the settings say, until the ``experiments`` feed says otherwise."""

from functools import lru_cache, partial
from typing import Final

from streams.contract.errors import RejectedRecord
from streams.contract.experiment import Experiment, decode_experiment
from streams.contract.settings import Decisions
from streams.core.policies.assignment import assign

_REMEMBERED: Final = 20_000
"""Shoppers whose policy need not be hashed again."""


class RunningExperiment:
    """Who decides for whom, as of the feed; it changes between batches, never within one.

    Attributes:
        current: In force.
        refused: Why the latest record of the feed is not in force; ``None`` where it is, or where there is none.
    """

    current: Experiment
    refused: str | None

    def __init__(self, settings: Decisions) -> None:
        self._policies = settings.policy_names
        self._salt = settings.salt
        self._put_in_force(Experiment(shares=settings.shares, shadows=settings.shadows))

    def apply(self, value: bytes) -> bool:
        """Takes a record of the feed; one that is refused leaves what was in force."""
        try:
            experiment = decode_experiment(value, self._policies)
        except RejectedRecord as rejection:
            self.refused = rejection.detail
            return False
        self._put_in_force(experiment)
        return True

    def policy_of(self, user_id: str) -> str:
        """Returns who decides for a shopper."""
        return self._assigned(user_id)

    def _put_in_force(self, experiment: Experiment) -> None:
        self.current = experiment
        self.refused = None
        # Many decisions are made for a shopper in a row, and each would cost a hash for every policy.
        self._assigned = lru_cache(_REMEMBERED)(partial(assign, shares=experiment.shares, salt=self._salt))
