"""The experiment in force: what the settings say, until the ``experiments`` feed says otherwise."""

from streams.contract.errors import RejectedRecord
from streams.contract.experiment import Experiment, decode_experiment
from streams.contract.settings import Decisions
from streams.core.policies.assignment import assign


class RunningExperiment:
    """Who decides for whom, as of the feed; it changes between batches, never within one.

    Attributes:
        current: In force.
        refused: Why the latest record of the feed is not in force; ``None`` where it is, or where there is none.
    """

    def __init__(self, settings: Decisions) -> None:
        self._policies = settings.policy_names
        self._salt = settings.salt
        self.current = Experiment(shares=settings.shares, shadows=settings.shadows)
        self.refused: str | None = None

    def apply(self, value: bytes) -> bool:
        """Takes a record of the feed; one that is refused leaves what was in force."""
        try:
            self.current = decode_experiment(value, self._policies)
        except RejectedRecord as rejection:
            self.refused = rejection.detail
            return False
        self.refused = None
        return True

    def policy_of(self, user_id: str) -> str:
        """Returns who decides for a shopper."""
        return assign(user_id, self.current.shares, self._salt)
