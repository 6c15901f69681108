"""Registry of the models that learn from vectors: learner, scoring and contributions of each."""

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from streams.contract.arrays import Arrays, Float64Array
from streams.core.features.schema import FeatureSchema
from streams.core.models.additive import AdditiveLearner, additive_contributions, additive_logits
from streams.core.models.ftrl import ftrl_contributions, ftrl_logits
from streams.core.models.hurdle import HurdleLearner, amounts, hurdle_contributions, hurdle_logits
from streams.core.models.linear import contributions, linear_logits
from streams.core.models.logistic import probabilities
from streams.core.models.perceptron import PerceptronLearner, perceptron_contributions, perceptron_logits
from streams.core.models.random_features import KernelLearner, kernel_contributions, kernel_logits


class OnlineModel(Protocol):
    """Learns from scaled vectors, row by row: any cut of the same examples into batches gives the same bits."""

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns from ``(n, n_features)``, labels 0 or 1 (of an amount 0 or more) and positive weights, ``(n,)``."""
        ...

    def parameters(self) -> Arrays:
        """Exports the arrays that scoring needs."""
        ...

    def arrays(self) -> Arrays:
        """Exports the whole state for :meth:`restore`."""
        ...

    def restore(self, arrays: Arrays) -> None: ...


class ModelType(NamedTuple):
    """Type of model.

    Attributes:
        learner: Builds an untrained model from the schema, the prior and a seed.
        logits: Scores scaled rows, ``(n, n_features)`` to ``(n,)``, from the exported parameters.
        contributions: Contribution of each feature to a row's log-odds, ``(n, n_features)``; a row's sum is the
            difference in log-odds from the zero row, a shopper who is average in every number.
        served: Turns log-odds into the served value; for a model of amounts, logarithms.
    """

    learner: Callable[[FeatureSchema, float, int], OnlineModel]
    logits: Callable[[Float64Array, Arrays], Float64Array]
    contributions: Callable[[Float64Array, Arrays], Float64Array]
    served: Callable[[Float64Array], Float64Array] = probabilities


# River is half of a worker's start-up, so it is imported where a model learns: Behaviour only scores.


def _linear_learner(schema: FeatureSchema, prior: float, seed: int) -> OnlineModel:
    from streams.core.models.linear_learner import LinearLearner

    return LinearLearner(len(schema.names), prior)


def _ftrl_learner(schema: FeatureSchema, prior: float, seed: int) -> OnlineModel:
    from streams.core.models.ftrl_learner import FtrlLearner

    return FtrlLearner(len(schema.names), prior)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "linear": ModelType(_linear_learner, linear_logits, contributions),
        "ftrl": ModelType(_ftrl_learner, ftrl_logits, ftrl_contributions),
        "additive": ModelType(
            lambda schema, prior, seed: AdditiveLearner(schema, prior), additive_logits, additive_contributions
        ),
        "kernel": ModelType(KernelLearner, kernel_logits, kernel_contributions),
        "perceptron": ModelType(
            lambda schema, prior, seed: PerceptronLearner(len(schema.names), prior, seed),
            perceptron_logits,
            perceptron_contributions,
        ),
        "hurdle": ModelType(
            lambda schema, prior, seed: HurdleLearner(len(schema.names), prior),
            hurdle_logits,
            hurdle_contributions,
            amounts,
        ),
    }
)
"""One for each of :data:`~streams.contract.settings.targets.MODELS` that does not combine others."""

_SEPARATOR: Final = "#"


def replacement_name(model: str, number: int) -> str:
    """Names the replacement that was started at an alarm.

    >>> replacement_name("linear", 2)
    'linear#2'
    """
    return f"{model}{_SEPARATOR}{number}"


def type_of(model: str) -> str:
    """Returns the type of a model, replacement or not.

    >>> type_of("linear#2"), type_of("linear")
    ('linear', 'linear')
    """
    return model.partition(_SEPARATOR)[0]


def new_model(model: str, target: str, schema: FeatureSchema, prior: float, seed: int) -> OnlineModel:
    """Builds a model; its random numbers do not depend on the target's other models."""
    return MODEL_TYPES[type_of(model)].learner(schema, prior, zlib.crc32(f"{seed}/{target}/{model}".encode()))
