"""``[targets.NAME]`` or ``[[targets]]``: predicted quantities, each with its label rule and its models."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from streams.contract.errors import ConfigurationError
from streams.contract.event_kinds import Kind
from streams.contract.label_rules import RULES, RuleName
from streams.contract.settings.sections import Positive, Section


class DeclaredModel(NamedTuple):
    """A model that a target may name; :mod:`streams.core.models.registry` implements each.

    Attributes:
        is_amount: Whether it predicts amounts, 0 or more; the others predict the probability of label 1.
        combines: Whether it learns from the served scores of the target's other models, not from vectors.
    """

    is_amount: bool = False
    combines: bool = False


MODELS: Final[Mapping[str, DeclaredModel]] = MappingProxyType(
    {
        "linear": DeclaredModel(),
        "ftrl": DeclaredModel(),
        "additive": DeclaredModel(),
        "kernel": DeclaredModel(),
        "perceptron": DeclaredModel(),
        "blend": DeclaredModel(combines=True),
        "hurdle": DeclaredModel(is_amount=True),
    }
)


class Target(Section, frozen=True):
    """A quantity to predict.

    Attributes:
        rule: Rule of its label, one of :data:`~streams.contract.label_rules.RULES`.
        label: Kind of event that makes the label 1 within the horizon; required by rule ``event``, and only for it.
        horizon_s: Time after the prediction; for ``click`` after the impression.
        sampling_rate: Share of the served predictions that are learned from, by hash of the event; all are measured.
            Each weighs one over it. A row keeps the vectors of the sampled ones until their labels are final.
        prior: Probability, or of rule ``spend`` the amount, that is served before anything has been learned.
        models: Names from :data:`~streams.contract.settings.targets.MODELS`; their mixture serves.
        at_least: Lowest rating that counts as good; only for rule ``rating``.
        negatives: Share of the examples of label 0 that are learned from, by hash; each weighs more in return, so that
            the model stays calibrated. All are measured. Not for amounts, nor where labels are corrected.
        labels: ``wait`` for the horizon, then learn; or learn a negative at once and ``correct`` it when its label
            comes, which counts up to the horizon; only for rule ``event``. Both are measured by final labels alone.
    """

    name: str
    horizon_s: Positive
    sampling_rate: Annotated[float, Meta(gt=0.0, le=1.0)]
    prior: Annotated[float, Meta(gt=0.0, le=1e9)]
    rule: RuleName = "event"
    label: Kind | None = None
    models: tuple[str, ...] = ("linear",)
    at_least: Annotated[float, Meta(ge=0.0, le=5.0)] = 4.0
    labels: Literal["wait", "correct"] = "wait"
    negatives: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0


DEFAULT_TARGETS: Final = (
    Target(
        name="purchase",
        label="purchase",
        horizon_s=1800,
        sampling_rate=0.3,
        prior=0.1,
        models=("linear", "additive", "perceptron", "blend"),
    ),
    Target(name="cart", label="add_to_cart", horizon_s=600, sampling_rate=0.3, prior=0.25),
    Target(name="click", label="click", horizon_s=300, sampling_rate=0.3, prior=0.6),
    Target(name="spend", rule="spend", horizon_s=1800, sampling_rate=0.3, prior=2.5, models=("hurdle",)),
)


def check_targets(targets: Sequence[Target], learners: Sequence[str]) -> None:
    """Raises a ConfigurationError where keys do not fit together.

    Args:
        learners: Names of the policies' learners, which no target may have.
    """
    names = [target.name for target in targets]
    if len({*names, *learners}) < len(names) + len(learners):
        raise ConfigurationError(f"targets need names of their own, other than {', '.join(learners)}: {names}")
    for number, target in enumerate(targets):
        _check_rule(target, f"targets[{number}]")
        _check_models(target, f"targets[{number}].models")


def _check_rule(target: Target, path: str) -> None:
    rule = RULES[target.rule]
    if "label" in rule.reads and target.label is None:
        raise ConfigurationError(f"{path}.label is missing: rule event needs the kind of event that it waits for")
    for key, default in (("label", None), ("at_least", 4.0)):
        if key not in rule.reads and getattr(target, key) != default:
            takers = ", ".join(name for name, other in RULES.items() if key in other.reads)
            raise ConfigurationError(f"{path}.{key} is read by rule {takers} only, not by {target.rule}: leave it out")
    if not rule.is_amount and target.prior >= 1.0:
        raise ConfigurationError(f"{path}.prior is {target.prior}: rule {target.rule} needs a probability, below 1")
    if target.labels == "correct" and not rule.corrects:
        raise ConfigurationError(
            f"{path}.labels is correct: rule {target.rule} has no label to correct before its horizon"
        )
    if target.negatives < 1.0 and (rule.is_amount or target.labels == "correct"):
        raise ConfigurationError(
            f"{path}.negatives is {target.negatives}: amounts and corrected labels are learned from whole"
        )


def _check_models(target: Target, path: str) -> None:
    is_amount = RULES[target.rule].is_amount
    fitting = [name for name, model in MODELS.items() if model.is_amount == is_amount]
    predicted = "an amount" if is_amount else "a probability"
    for name in target.models:
        if name not in MODELS:
            raise ConfigurationError(f"{path} names {name!r}; there are {', '.join(MODELS)}")
        if name not in fitting:
            raise ConfigurationError(
                f"{path} names {name}: rule {target.rule} predicts {predicted}; choose of {', '.join(fitting)}"
            )
    if all(MODELS[name].combines for name in target.models) or len(set(target.models)) < len(target.models):
        raise ConfigurationError(
            f"{path} are {', '.join(target.models) or 'none'}: they need to differ, and blend needs others to combine"
        )
