"""What one record of ``experiences`` says, as arrays, checked before anything learns from it."""

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from streams.contract.errors import RejectedRecord
from streams.contract.records import BOTH, LEARN, MEASURE, ExperienceBatch, decode_experiences
from streams.core.sampling import chances

Float64Array = NDArray[np.float64]
Trigger = tuple[int, int]

_COLUMNS: Final = (
    "offsets",
    "indices",
    "vectors",
    "labels",
    "probabilities",
    "weights",
    "timestamps_ms",
    "rewards",
    "uses",
    "chances",
)


class Examples(NamedTuple):
    """Examples for one learner, in trigger order; the columns are those of :class:`ExperienceBatch`, and one more.

    Where several records are joined, partition and triggers are those of their own records.

    Attributes:
        chances: A number in [0, 1) for each, by its trigger, to thin them by.
    """

    learner: str
    partition: int
    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    vectors: NDArray[np.float32]
    labels: Float64Array
    members: Sequence[str]
    probabilities: Float64Array
    weights: Float64Array
    timestamps_ms: NDArray[np.int64]
    reward_types: Sequence[str]
    rewards: Float64Array
    uses: NDArray[np.int8]
    chances: Float64Array

    @property
    def size(self) -> int:
        return len(self.offsets)

    @property
    def final(self) -> NDArray[np.bool_]:
        """Tells which labels are final, ``(n,)``."""
        final: NDArray[np.bool_] = self.uses != LEARN
        return final

    @property
    def last(self) -> Trigger:
        return int(self.offsets[-1]), int(self.indices[-1])

    def after(self, mark: Trigger | None) -> "Examples":
        """Leaves out what is not above ``mark``; triggers rise, so that is a beginning."""
        if mark is None:
            return self
        offset, index = mark
        known = (self.offsets < offset) | ((self.offsets == offset) & (self.indices <= index))
        return self.where(slice(int(known.sum()), None))

    def where(self, rows: "slice | NDArray[Any]") -> "Examples":
        """Takes some of the examples, in their order."""
        return self._replace(**{name: getattr(self, name)[rows] for name in _COLUMNS})


def joined(records: Sequence[Examples]) -> list[Examples]:
    """Joins neighbours that the same members were served with: numpy takes many at little more than the cost of one."""
    return [_concatenated(list(alike)) for _, alike in groupby(records, lambda each: (each.members, each.reward_types))]


def _concatenated(records: Sequence[Examples]) -> Examples:
    if len(records) == 1:
        return records[0]
    columns: dict[str, Any] = {name: np.concatenate([getattr(record, name) for record in records]) for name in _COLUMNS}
    return records[0]._replace(**columns)


def read_examples(value: bytes | None) -> Examples:
    """Decodes one record.

    Raises:
        RejectedRecord: with reason ``malformed``: not of the format, columns of unequal lengths, triggers that do not
            rise, or a number that would spoil the model for good (not finite, a weight that is not positive, a
            probability below 0).
    """
    try:
        batch = decode_experiences(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", str(error)) from error
    size = len(batch.offsets) // 8
    offsets, indices = _column(batch, "offsets", np.int64, (size,)), _column(batch, "indices", np.int32, (size,))
    examples = Examples(
        learner=batch.learner,
        partition=batch.partition,
        offsets=offsets,
        indices=indices,
        vectors=_column(batch, "vectors", np.float32, (size, batch.columns)),
        labels=_column(batch, "labels", np.float64, (size,)),
        members=batch.members,
        probabilities=_column(batch, "probabilities", np.float64, (size, len(batch.members))),
        weights=_column(batch, "weights", np.float64, (size,)),
        timestamps_ms=_column(batch, "timestamps_ms", np.int64, (size,)),
        reward_types=batch.reward_types,
        rewards=_column(batch, "rewards", np.float64, (size, len(batch.reward_types))),
        uses=_column(batch, "uses", np.int8, (size,)) if batch.uses else np.full(size, BOTH, np.int8),
        chances=chances(batch.partition, offsets, indices),
    )
    _refuse_poison(examples)
    return examples


def _column(batch: ExperienceBatch, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    content: bytes = getattr(batch, name)
    wanted = prod(shape) * np.dtype(dtype).itemsize
    if min(shape) < 0 or len(content) != wanted:
        raise RejectedRecord("malformed", f"{name} has {len(content)} bytes; {shape[0]} examples take {wanted}")
    return np.frombuffer(content, dtype).reshape(shape)


def _refuse_poison(examples: Examples) -> None:
    if not examples.size:
        raise RejectedRecord("malformed", "there are no examples")
    steps, order = examples.offsets[1:] - examples.offsets[:-1], examples.indices[1:] - examples.indices[:-1]
    if ((steps < 0) | ((steps == 0) & (order <= 0))).any():
        raise RejectedRecord("malformed", "the triggers do not rise")
    if not all(np.isfinite(column).all() for column in (examples.vectors, examples.labels, examples.rewards)):
        raise RejectedRecord("malformed", "a vector, a label or a reward is not finite")
    if not (np.isfinite(examples.weights) & (examples.weights > 0.0)).all():
        raise RejectedRecord("malformed", "a weight is not a positive number")
    if ((examples.uses < BOTH) | (examples.uses > MEASURE)).any():
        raise RejectedRecord("malformed", "an example is neither to be learned nor to be measured")
    # A comparison with NaN, of a member that did not exist, holds nothing against it.
    if ((examples.probabilities < 0.0) | np.isinf(examples.probabilities)).any():
        raise RejectedRecord("malformed", "what was served is below 0 or not finite")
