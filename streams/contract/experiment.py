"""What is tried on whom: the value of the ``experiments`` topic, by which shares change without a restart."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.contract.errors import RejectedRecord

RUNNING: Final = b"running"
"""The only key: what was set last is in force."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who decides for whom.

    Attributes:
        shares: Policy to its share of the users, by keyed hash; they sum to 1 and the control has one.
        shadows: Policies that decide everything besides, and log it, without being shown.
    """

    shares: dict[str, Share]
    shadows: tuple[str, ...] = ()


_decode: Final = msgspec.json.Decoder(Experiment).decode


def decode_experiment(value: bytes | None, policies: Sequence[str]) -> Experiment:
    """Reads a record.

    Args:
        policies: Known ones.

    Raises:
        RejectedRecord: with reason ``malformed``: it is no experiment, or not one of these policies.
    """
    try:
        experiment = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", str(error)) from error
    if misfit := misfit_of(experiment.shares, experiment.shadows, policies):
        raise RejectedRecord("malformed", misfit)
    return experiment


def misfit_of(shares: Mapping[str, float], shadows: Sequence[str], policies: Sequence[str]) -> str | None:
    """Says what is wrong with an experiment, beginning with the key; ``None`` where nothing is.

    >>> misfit_of({"control": 0.5, "bandit": 0.4}, (), ("control", "bandit"))
    'shares sum to 0.9; they must sum to 1'
    """
    known = ", ".join(policies)
    if abs(sum(shares.values()) - 1.0) > 1e-9:
        return f"shares sum to {sum(shares.values()):g}; they must sum to 1"
    if not shares.get("control"):
        return "shares has no control; lift cannot be measured without one"
    if unknown := sorted(set(shares) - set(policies)):
        return f"shares names unknown policies {unknown}; known: {known}"
    if unknown := sorted(set(shadows) - set(policies)):
        return f"shadows names unknown policies {unknown}; known: {known}"
    if len(set(shadows)) != len(shadows):
        return "shadows names a policy twice"
    return None
