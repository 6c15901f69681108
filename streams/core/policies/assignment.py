"""Which policy decides for a shopper: the same one for as long as the shares stay, by keyed hash."""

from collections.abc import Mapping
from hashlib import blake2b
from math import log


def assign(user_id: str, shares: Mapping[str, float], salt: str) -> str:
    """Returns the shopper's policy.

    When shares change, nobody changes hands but from a policy whose share fell or to one whose share rose.

    Args:
        shares: Policy to its share of the shoppers, summing to 1; their order does not matter.
        salt: Keys the hash; another one is another draw of all shoppers.

    References:
        Schindelhauer and Schomaker (2005), "Weighted distributed hash tables", SPAA: the logarithmic method.

    >>> assign("user-1", {"control": 0.5, "bandit": 0.5}, "summer")
    'bandit'
    """
    return min(
        (policy for policy in sorted(shares) if shares[policy] > 0.0),
        key=lambda policy: -log(_uniform(f"{salt}\0{policy}\0{user_id}")) / shares[policy],
    )


def _uniform(text: str) -> float:
    """Hashes into (0, 1)."""
    digest = blake2b(text.encode(), digest_size=7).digest()
    return ((int.from_bytes(digest, "big") >> 4) + 0.5) * 2.0**-52
