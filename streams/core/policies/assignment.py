"""Which policy decides for a shopper: always the same one, by keyed hash."""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate


def assign(user_id: str, shares: Mapping[str, float], salt: str) -> str:
    """Returns the shopper's policy.

    Args:
        shares: Policy to its share of the shoppers, summing to 1; their order does not matter.
        salt: Keys the hash; another one is another draw of all shoppers.

    >>> assign("user-1", {"control": 0.5, "bandit": 0.5}, "summer")
    'bandit'
    """
    digest = blake2b(f"{salt}\0{user_id}".encode(), digest_size=7).digest()
    point = int.from_bytes(digest, "big") / 2.0**56
    policies = sorted(policy for policy in shares if shares[policy] > 0.0)
    bounds = accumulate(shares[policy] for policy in policies)
    return next((policy for policy, bound in zip(policies, bounds, strict=True) if point < bound), policies[-1])
