"""What feedback echoes: the event that was answered, and a digest of the answer."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from streams.contract.records import MSGPACK


def decision_id(
    event_ref: str, policy: str, items: Sequence[str], propensities: Sequence[float], versions: Mapping[str, int]
) -> str:
    """Names a decision; one that is made again after a crash, and otherwise, has another name.

    >>> decision_id("clickstream-3-41", "bandit", ["a"], [1.0], {"bandit": 2}).rpartition(".")[0]
    'clickstream-3-41'
    """
    answer = MSGPACK.encode((policy, items, propensities, sorted(versions.items())))
    return f"{event_ref}.{blake2b(answer, digest_size=6).hexdigest()}"
