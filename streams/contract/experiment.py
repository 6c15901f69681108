"""Experiment: the value of the ``experiments`` topic, which changes the policies' shares without a restart."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.contract.errors import RejectedRecord

RUNNING: Final = b"running"
"""The only key of the topic: the experiment set last is in force."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of the policies.

    Attributes:
        shares: Policy to its share of the users; they sum to 1, and that of ``random`` is above 0.
        shadows: Policies that also decide every request, for the log only.
    """

    shares: dict[str, Share]
    shadows: tuple[str, ...] = ()


_decode: Final = msgspec.json.Decoder(Experiment).decode


def decode_experiment(value: bytes | None, policies: Sequence[str]) -> Experiment:
    """Decodes a record.

    Raises:
        RejectedRecord: with reason ``malformed``: it is not an experiment, or not one of the configured policies.
    """
    try:
        experiment = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", str(error)) from error
    if misfit := misfit_of(experiment.shares, experiment.shadows, policies):
        raise RejectedRecord("malformed", misfit)
    return experiment


def misfit_of(shares: Mapping[str, float], shadows: Sequence[str], policies: Sequence[str]) -> str | None:
    """Returns the error in an experiment, beginning with the key; ``None`` if there is none.

    >>> misfit_of({"random": 0.5, "bandit": 0.4}, (), ("random", "bandit"))
    'shares sum to 0.9; they must sum to 1'
    """
    known = ", ".join(policies)
    if abs(sum(shares.values()) - 1.0) > 1e-9:
        return f"shares sum to {sum(shares.values()):g}; they must sum to 1"
    if not shares.get("random"):
        return "shares has no random; it needs a share, for the examination of slots is learned from it alone"
    if unknown := sorted(set(shares) - set(policies)):
        return f"shares names unknown policies {unknown}; known: {known}"
    if unknown := sorted(set(shadows) - set(policies)):
        return f"shadows names unknown policies {unknown}; known: {known}"
    if len(set(shadows)) != len(shadows):
        return "shadows names a policy twice"
    return None
