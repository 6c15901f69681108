"""The kinds of members that learn from vectors, one line each: how it learns, how it scores, what moved its score."""

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.features.schema import FeatureSchema
from streams.core.models.additive import AdditiveLearner, additive_contributions, additive_logits
from streams.core.models.ftrl import FtrlLearner, ftrl_contributions, ftrl_logits
from streams.core.models.hurdle import HurdleLearner, amounts, hurdle_contributions, hurdle_logits
from streams.core.models.kernel import KernelLearner, kernel_contributions, kernel_logits
from streams.core.models.linear import LinearLearner, contributions, linear_logits
from streams.core.models.logistic import probabilities
from streams.core.models.perceptron import PerceptronLearner, perceptron_contributions, perceptron_logits

Float64Array = NDArray[np.float64]


class MemberLearner(Protocol):
    """Learns from scaled vectors, row by row: any cut of the same examples into batches gives the same bits."""

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns from ``(n, n_features)``, labels 0 or 1 (of an amount 0 or more) and positive weights, ``(n,)``."""
        ...

    def parameters(self) -> Arrays:
        """What scoring needs."""
        ...

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
        ...

    def restore(self, arrays: Arrays) -> None: ...


class Kind(NamedTuple):
    """One kind of member.

    Attributes:
        learner: Makes one that has learned nothing, of the schema, the prior it starts from, and a seed.
        logits: Scores scaled rows, ``(n, n_features)`` to ``(n,)``, from the exported parameters.
        contributions: What each feature adds to a row's log-odds, ``(n, n_features)``; a row's sum is the difference
            in log-odds from the zero row, which is a shopper who is average in every number.
        served: Turns log-odds into what is served. Of a kind that predicts amounts, read logarithm for log-odds.
    """

    learner: Callable[[FeatureSchema, float, int], MemberLearner]
    logits: Callable[[Float64Array, Arrays], Float64Array]
    contributions: Callable[[Float64Array, Arrays], Float64Array]
    served: Callable[[Float64Array], Float64Array] = probabilities


def _linear(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return LinearLearner(len(schema.names), prior)


def _ftrl(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return FtrlLearner(len(schema.names), prior)


def _additive(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return AdditiveLearner(schema, prior)


def _kernel(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return KernelLearner(schema, prior, seed)


def _perceptron(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return PerceptronLearner(len(schema.names), prior, seed)


def _hurdle(schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    return HurdleLearner(len(schema.names), prior)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "linear": Kind(_linear, linear_logits, contributions),
        "ftrl": Kind(_ftrl, ftrl_logits, ftrl_contributions),
        "additive": Kind(_additive, additive_logits, additive_contributions),
        "kernel": Kind(_kernel, kernel_logits, kernel_contributions),
        "perceptron": Kind(_perceptron, perceptron_logits, perceptron_contributions),
        "hurdle": Kind(_hurdle, hurdle_logits, hurdle_contributions, amounts),
    }
)


_SEPARATOR: Final = "#"


def fresh_name(member: str, number: int) -> str:
    """Names the challenger that was begun at an alarm.

    >>> fresh_name("linear", 2)
    'linear#2'
    """
    return f"{member}{_SEPARATOR}{number}"


def kind_of(member: str) -> str:
    """Returns the kind of a member, fresh or not.

    >>> kind_of("linear#2"), kind_of("linear")
    ('linear', 'linear')
    """
    return member.partition(_SEPARATOR)[0]


def new_member(member: str, target: str, schema: FeatureSchema, prior: float, seed: int) -> MemberLearner:
    """Makes a member of a target's family; its randomness is its own, whatever other members there are."""
    return KINDS[kind_of(member)].learner(schema, prior, zlib.crc32(f"{seed}/{target}/{member}".encode()))
