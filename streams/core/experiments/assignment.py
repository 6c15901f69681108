"""Assignment of shoppers to policies by the running experiment.

That is the one of the settings, until the ``experiments`` global table holds another.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from hashlib import blake2b
from math import log
from typing import Final

from streams.contract.errors import RejectedRecord
from streams.contract.experiment import Experiment, decode_experiment
from streams.contract.settings import Decisions

_CACHED_SHOPPERS: Final = 20_000


class RunningExperiment:
    """The experiment in force; it changes between batches, never within one.

    Attributes:
        current: The experiment in force.
        refused: Error in the latest record of the global table; ``None`` if it is in force, or if there is none.
    """

    current: Experiment
    refused: str | None

    def __init__(self, settings: Decisions) -> None:
        self._policies = settings.policy_names
        self._salt = settings.salt
        self._put_in_force(Experiment(shares=settings.shares, shadows=settings.shadows))

    def apply(self, value: bytes) -> bool:
        """Applies a record of the global table; returns whether it is valid. A refused one changes nothing."""
        try:
            experiment = decode_experiment(value, self._policies)
        except RejectedRecord as rejection:
            self.refused = rejection.detail
            return False
        self._put_in_force(experiment)
        return True

    def policy_of(self, user_id: str) -> str:
        """Returns the policy that decides for a shopper."""
        return self._assigned(user_id)

    def _put_in_force(self, experiment: Experiment) -> None:
        self.current = experiment
        self.refused = None
        # A shopper has many decisions in a row, and each assignment costs a hash for every policy.
        self._assigned = lru_cache(_CACHED_SHOPPERS)(partial(assign, shares=experiment.shares, salt=self._salt))


def assign(user_id: str, shares: Mapping[str, float], salt: str) -> str:
    """Returns the shopper's policy.

    When shares change, a shopper moves only away from a policy whose share fell or to one whose share rose.

    Args:
        shares: Policy to its share of the shoppers, summing to 1; their order does not matter.
        salt: Key of the hash; another salt assigns all shoppers anew.

    References:
        Schindelhauer and Schomaker (2005), "Weighted distributed hash tables", SPAA: the logarithmic method.

    >>> assign("user-1", {"random": 0.5, "bandit": 0.5}, "summer")
    'bandit'
    """
    return min(
        (policy for policy in sorted(shares) if shares[policy] > 0.0),
        key=lambda policy: -log(_uniform(f"{salt}\0{policy}\0{user_id}")) / shares[policy],
    )


def _uniform(text: str) -> float:
    digest = blake2b(text.encode(), digest_size=7).digest()
    return ((int.from_bytes(digest, "big") >> 4) + 0.5) * 2.0**-52
