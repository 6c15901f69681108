"""Records of the ``examples`` topic as arrays, validated before a learner reads them."""

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from streams.contract.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from streams.contract.errors import RejectedRecord
from streams.contract.events import LATEST_TIMESTAMP_MS
from streams.contract.records import BOTH, LEARN, MEASURE, N_GROUPS, ExampleBatch, ServedBatch, decode_examples
from streams.contract.settings.rewards import REWARD_TYPES
from streams.contract.source_epoch import SourcePosition
from streams.core.sampling import uniforms

LARGEST: Final = 1e15
"""Largest number to learn from; sums of its square, times a weight, stay finite."""

_NO_OUTCOMES: Final = ServedBatch(*(b"",) * 7)

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
    "uniforms",
)


class Outcomes(NamedTuple):
    """Outcomes of served predictions, ordered by source position, with the columns of :class:`ServedBatch`."""

    offsets: Int64Array
    indices: NDArray[np.int32]
    served: Float64Array
    labels: Float64Array
    timestamps_ms: Int64Array
    groups: NDArray[np.uint8]
    from_prior: BoolArray

    def where(self, rows: "slice | NDArray[Any]") -> "Outcomes":
        """Returns some of the outcomes, in their order."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields})


class Examples(NamedTuple):
    """Examples for one learner, ordered by source position, with the columns of :class:`ExampleBatch` and one more.

    Several records may be joined; then ``partition`` and ``source_id`` are those of the first one.

    Attributes:
        uniforms: A number in [0, 1) for each example, a hash of its source position, to thin negatives by.
        outcomes: Of all that was served, also of what is not among the examples.
    """

    learner: str
    partition: int
    offsets: Int64Array
    indices: NDArray[np.int32]
    vectors: Float32Array
    labels: Float64Array
    models: Sequence[str]
    probabilities: Float64Array
    weights: Float64Array
    timestamps_ms: Int64Array
    reward_types: Sequence[str]
    rewards: Float64Array
    uses: NDArray[np.int8]
    uniforms: Float64Array
    outcomes: Outcomes
    source_id: str = ""

    @property
    def size(self) -> int:
        return len(self.offsets)

    @property
    def final(self) -> BoolArray:
        """Mask of the final labels, ``(n,)``."""
        final: BoolArray = self.uses != LEARN
        return final

    @property
    def is_empty(self) -> bool:
        return not self.size and not len(self.outcomes.offsets)

    @property
    def last(self) -> SourcePosition:
        return max(
            (int(each.offsets[-1]), int(each.indices[-1])) for each in (self, self.outcomes) if len(each.offsets)
        )

    @property
    def latest_ms(self) -> int:
        """The latest time of a prediction or decision."""
        return int(max(each.timestamps_ms.max() for each in (self, self.outcomes) if len(each.offsets)))

    def after(self, applied: SourcePosition | None) -> "Examples":
        """Returns what is above a source position; both tables are sorted by it."""
        if applied is None:
            return self
        above = self.outcomes.where(slice(_n_applied(self.outcomes, applied), None))
        return self.where(slice(_n_applied(self, applied), None))._replace(outcomes=above)

    def n_applied(self, applied: SourcePosition | None) -> int:
        """Counts the source positions that are not above ``applied``."""
        new = self.after(applied)
        is_new = new.size == self.size and len(new.outcomes.offsets) == len(self.outcomes.offsets)
        return 0 if is_new else len(self._positions()) - len(new._positions())

    def _positions(self) -> set[SourcePosition]:
        tables = (self, self.outcomes)
        return {
            position for each in tables for position in zip(each.offsets.tolist(), each.indices.tolist(), strict=True)
        }

    def where(self, rows: "slice | NDArray[Any]") -> "Examples":
        """Returns some of the examples, in their order, and the outcomes as they are."""
        return self._replace(**{name: getattr(self, name)[rows] for name in _COLUMNS})


def _n_applied(table: Examples | Outcomes, applied: SourcePosition) -> int:
    offset, index = applied
    return int(((table.offsets < offset) | ((table.offsets == offset) & (table.indices <= index))).sum())


def joined(records: Sequence[Examples]) -> list[Examples]:
    """Joins adjacent records with the same models: for numpy many cost little more than one."""
    return [_concatenated(list(alike)) for _, alike in groupby(records, lambda each: (each.models, each.reward_types))]


def _concatenated(records: Sequence[Examples]) -> Examples:
    if len(records) == 1:
        return records[0]
    columns: dict[str, Any] = {name: np.concatenate([getattr(record, name) for record in records]) for name in _COLUMNS}
    tables = [record.outcomes for record in records]
    outcomes: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) for table in tables]) for name in Outcomes._fields
    }
    return records[0]._replace(**columns, outcomes=Outcomes(**outcomes))


def read_examples(value: bytes | None) -> Examples:
    """Decodes one record.

    Raises:
        RejectedRecord: with reason ``malformed``: not of the format, columns of unequal lengths, not sorted by source
            position, or a number that would damage the model (above :data:`LARGEST`, a weight that is not positive, a
            probability below 0).
    """
    try:
        batch = decode_examples(value or b"")
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
        models=batch.models,
        probabilities=_column(batch, "probabilities", np.float64, (size, len(batch.models))),
        weights=_column(batch, "weights", np.float64, (size,)),
        timestamps_ms=_column(batch, "timestamps_ms", np.int64, (size,)),
        reward_types=batch.reward_types,
        rewards=_column(batch, "rewards", np.float64, (size, len(batch.reward_types))),
        uses=_column(batch, "uses", np.int8, (size,)) if batch.uses else np.full(size, BOTH, np.int8),
        uniforms=uniforms(batch.partition, offsets, indices),
        outcomes=_read_outcomes(batch.outcomes or _NO_OUTCOMES),
        source_id=batch.source_id,
    )
    _validate(examples)
    return examples


def _read_outcomes(batch: ServedBatch) -> Outcomes:
    shape = (len(batch.offsets) // 8,)
    # A signalling NaN is refused with all others, below.
    with np.errstate(invalid="ignore"):
        served = _column(batch, "served", np.float32, shape).astype(np.float64)
    return Outcomes(
        offsets=_column(batch, "offsets", np.int64, shape),
        indices=_column(batch, "indices", np.int32, shape),
        served=served,
        labels=_column(batch, "labels", np.float64, shape),
        timestamps_ms=_column(batch, "timestamps_ms", np.int64, shape),
        groups=_column(batch, "groups", np.uint8, shape),
        from_prior=_booleans(_column(batch, "from_prior", np.uint8, shape)),
    )


def _booleans(column: NDArray[np.uint8]) -> BoolArray:
    if (column > 1).any():
        raise RejectedRecord("malformed", "a value of from_prior is neither 0 nor 1")
    return column.astype(np.bool_)


def _column(batch: ExampleBatch | ServedBatch, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    content: bytes = getattr(batch, name)
    expected = prod(shape) * np.dtype(dtype).itemsize
    if min(shape) < 0 or len(content) != expected:
        raise RejectedRecord("malformed", f"{name} has {len(content)} bytes; {shape[0]} examples need {expected}")
    return np.frombuffer(content, dtype).reshape(shape)


def _validate(examples: Examples) -> None:
    outcomes = examples.outcomes
    if examples.is_empty:
        raise RejectedRecord("malformed", "the record has no examples")
    if not (_is_sorted(examples) and _is_sorted(outcomes)):
        raise RejectedRecord("malformed", "the examples are not sorted by source position")
    for names in (examples.models, examples.reward_types):
        if len(set(names)) != len(names):
            raise RejectedRecord("malformed", f"a name is there twice in {names}")
    if unknown := set(examples.reward_types) - set(REWARD_TYPES):
        raise RejectedRecord("malformed", f"there is no type of reward {min(unknown)!r}: {', '.join(REWARD_TYPES)}")
    _validate_numbers(examples, outcomes)


def _validate_numbers(examples: Examples, outcomes: Outcomes) -> None:
    if examples.offsets.min(initial=0) < 0 or outcomes.offsets.min(initial=0) < 0:
        raise RejectedRecord("malformed", "an offset is below 0")
    for times in (examples.timestamps_ms, outcomes.timestamps_ms):
        if ((times < 0) | (times > LATEST_TIMESTAMP_MS)).any():
            raise RejectedRecord("malformed", "a time is not between 1970 and 2100")
    bounded = (examples.vectors, examples.labels, examples.rewards, outcomes.labels, outcomes.served)
    # A NaN is not below the bound.
    if not all((np.abs(column) <= LARGEST).all() for column in bounded):
        raise RejectedRecord(
            "malformed", f"a vector, a label, a reward or a served prediction is not a number of at most {LARGEST:g}"
        )
    if not ((examples.weights >= 1.0 / LARGEST) & (examples.weights <= LARGEST)).all():
        raise RejectedRecord("malformed", f"a weight is not a positive number of at most {LARGEST:g}")
    if ((examples.uses < BOTH) | (examples.uses > MEASURE)).any():
        raise RejectedRecord("malformed", f"a value of uses is not {BOTH}, {LEARN} or {MEASURE}")
    # NaN is valid: it stands for a model that did not exist.
    if ((examples.probabilities < 0.0) | (examples.probabilities > LARGEST)).any() or (outcomes.served < 0.0).any():
        raise RejectedRecord("malformed", f"a served probability or amount is below 0 or above {LARGEST:g}")
    if (outcomes.groups >= N_GROUPS).any():
        raise RejectedRecord("malformed", f"a group of users is not below {N_GROUPS}")


def _is_sorted(table: Examples | Outcomes) -> bool:
    steps, order = table.offsets[1:] - table.offsets[:-1], table.indices[1:] - table.indices[:-1]
    return not ((steps < 0) | ((steps == 0) & (order <= 0))).any()
