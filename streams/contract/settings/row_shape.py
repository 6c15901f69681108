"""Settings that shape stored rows: written into each partition's row, and compared when a worker opens it.

Each entry of :data:`SHAPING` is one decision about one setting. All other settings may change at any time: rows keep
nothing of them, or keep what they need to follow (``items.half_life_s`` is in each item's row, deadlines are set anew
when they fall due).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from streams.contract.settings.rewards import REWARD_TYPES
from streams.contract.settings.targets import Target
from streams.contract.settings.tree import Settings


class Shaping(NamedTuple):
    """A setting that shapes the rows of some folds.

    Attributes:
        key: Of the setting.
        folds: The folds whose rows it shapes.
        described: Describes what rows depend on, by a suffix of the key: several where each is compared alone.
        consequence: What a change does to rows that are there.
        is_refused: Whether such rows are of no use. Otherwise the worker takes them and says so.
    """

    key: str
    folds: frozenset[str]
    described: Callable[[Settings], dict[str, str]]
    consequence: str
    is_refused: bool = False


class RowShape(NamedTuple):
    """What the settings make of rows, by key and number.

    Attributes:
        fixed: Rows that were made with another value are refused.
        followed: Rows that were made with another value are taken; a change is said.
    """

    fixed: dict[str, str]
    followed: dict[str, str]


NO_SHAPE: Final = RowShape({}, {})


def row_shape(settings: Settings, fold: str) -> RowShape:
    """Describes the settings that shape the rows of a fold. What is added to the fixed ones later changes no row.

    >>> row_shape(Settings(), "behaviour").followed["time.confirming_users"]
    '3'
    >>> row_shape(Settings(), "items")
    RowShape(fixed={}, followed={})
    """
    shape = RowShape({}, {})
    for each in SHAPING:
        if fold in each.folds:
            place = shape.fixed if each.is_refused else shape.followed
            place.update({each.key + suffix: words for suffix, words in each.described(settings).items()})
    return shape


def consequence_of(key: str) -> str:
    """Returns what a change of a key of a :class:`RowShape` does to rows that are there."""
    unknown = "this version does not know the setting: use the one that wrote the rows, or a later one"
    return next((each.consequence for each in SHAPING if each.key == key.partition("[")[0]), unknown)


def _windows(settings: Settings) -> dict[str, str]:
    return {"": ", ".join(f"{window.name} = {window.panes} x {window.pane_s} s" for window in settings.windows)}


def _targets(settings: Settings) -> dict[str, str]:
    return {f"[{number}]": _quantity(target) for number, target in enumerate(settings.targets)}


def _quantity(target: Target) -> str:
    what = f"{target.rule} {target.label or ''}".strip()
    if target.rule == "rating":
        what = f"{what} >= {target.at_least:g}"
    return f"{target.name}: {what} within {target.horizon_s} s, labels {target.labels}"


def _of_targets(described: Callable[[Target], object]) -> Callable[[Settings], dict[str, str]]:
    return lambda settings: {"": ", ".join(f"{target.name} {described(target)}" for target in settings.targets)}


def _rewards(settings: Settings) -> dict[str, str]:
    rewards = settings.decisions.rewards
    types = zip(REWARD_TYPES, rewards.by_type, strict=True)
    by_type = [f"{name} {each.weight:g} x {each.aggregation} in {each.window_s} s" for name, each in types]
    return {"": ", ".join([*by_type, f"margin_rate {rewards.margin_rate:g}"])}


def _q_rewards(settings: Settings) -> dict[str, str]:
    rewards = sorted(settings.decisions.q_rewards.items())
    return {"": ", ".join(f"{kind} {reward:g}" for kind, reward in rewards)}


_BEHAVIOUR: Final = frozenset({"behaviour"})
_LEARNING: Final = frozenset({"learning"})

SHAPING: Final = (
    Shaping(
        "windows",
        _BEHAVIOUR | _LEARNING,
        _windows,
        "sums of the old windows would be taken for those of the new ones, and models would learn from both",
        is_refused=True,
    ),
    Shaping(
        "targets",
        _BEHAVIOUR | _LEARNING,
        _targets,
        "open predictions and learners know a target by its place, and would get labels of another quantity",
        is_refused=True,
    ),
    Shaping(
        "targets.sampling_rate",
        _BEHAVIOUR,
        _of_targets(lambda target: f"{target.sampling_rate:g}"),
        "examples of predictions that are open now get the new weight",
    ),
    Shaping(
        "targets.prior",
        _LEARNING,
        _of_targets(lambda target: f"{target.prior:g}"),
        "models stay as they are; comparisons of models of amounts go on in another unit",
    ),
    Shaping(
        "targets.models",
        _LEARNING,
        _of_targets(lambda target: " + ".join(target.models)),
        "added models begin at the prior, removed ones are forgotten, and a blend of others learns its weights again",
    ),
    Shaping(
        "time.confirming_users",
        _BEHAVIOUR,
        lambda settings: {"": str(settings.time.confirming_users)},
        "the watermark waits until so many users have come",
    ),
    Shaping(
        "decisions.rewards",
        _BEHAVIOUR | _LEARNING,
        _rewards,
        "policies go on from what they learned with the old rewards; decisions that are open now mix both",
    ),
    Shaping(
        "decisions.q_rewards",
        _BEHAVIOUR | _LEARNING,
        _q_rewards,
        "the Q agent goes on from the values that it learned with the old rewards",
    ),
)
