"""Online standardisation of the numbers of a feature vector; indicators stay as they are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays

Float64Array = NDArray[np.float64]

CLIP: Final = 6.0
"""In standard deviations. A count of a robot's session must not outvote everything else."""

_SMALLEST_VARIANCE: Final = 1e-9


def compressed(numbers: NDArray[np.float32]) -> Float64Array:
    """Takes the logarithm of one more than the magnitude, sign kept: counts and money spread over orders of magnitude.

    In single precision, as the numbers are: numpy's logarithm is six times as fast there as its ``log1p``.
    """
    return np.copysign(np.log(np.float32(1.0) + np.abs(numbers)), numbers).astype(np.float64)


class Scale:
    """Means and standard deviations as they were exported, applied to vectors.

    Args:
        scaled: Whether a column is a number, ``(n_features,)``.
        mean: Of the compressed numbers, ``(n_numbers,)``.
        inverse_std: One over their standard deviation, ``(n_numbers,)``; 1 where a number has not varied yet.
    """

    def __init__(self, scaled: Sequence[bool], mean: Float64Array, inverse_std: Float64Array) -> None:
        self._columns = np.flatnonzero(scaled)
        self.mean = mean
        self.inverse_std = inverse_std

    def apply(self, vectors: NDArray[np.float32]) -> Float64Array:
        """Returns the scaled vectors, ``(n, n_features)``, C order; each row depends on nothing but itself."""
        return self.apply_to(vectors, compressed(vectors[:, self._columns]))

    def apply_to(self, vectors: NDArray[np.float32], numbers: Float64Array) -> Float64Array:
        """Does the same where the vectors' numbers are compressed already, ``(n, n_numbers)``."""
        scaled = vectors.astype(np.float64, order="C")
        scaled[:, self._columns] = np.clip((numbers - self.mean) * self.inverse_std, -CLIP, CLIP)
        return scaled


class ScaledVectors:
    """Vectors that several models read: their numbers are compressed once, and scaled once for each scale.

    Args:
        vectors: ``(n, n_features)``.
    """

    def __init__(self, scaled: Sequence[bool], vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self._numbers = compressed(vectors[:, np.flatnonzero(scaled)])
        self._scaled: dict[tuple[str, int], Float64Array] = {}

    def __len__(self) -> int:
        return len(self._vectors)

    def by(self, target: str, version: int, scale: Scale) -> Float64Array:
        """Returns the vectors as the scale of that version of the target's models has them."""
        scaled = self._scaled.get((target, version))
        if scaled is None:
            scaled = self._scaled[target, version] = scale.apply_to(self._vectors, self._numbers)
        return scaled


class RunningScale:
    """Mean and variance of every number so far, one per target, shared by the members of its family.

    It sums deviations, and their squares, from the first example rather than from a running mean, as Welford's method
    does: the sums of a batch are then running sums, which numpy takes strictly in order, so that no partition into
    batches changes a bit; and an origin near the data keeps the difference of squares from cancelling.

    References:
        Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", section 3 (shifted data).
    """

    def __init__(self, scaled: Sequence[bool]) -> None:
        self._scaled = tuple(scaled)
        self._columns = np.flatnonzero(scaled)
        self._count = 0
        self._origin = np.zeros(len(self._columns))
        self._sums = np.zeros((2, len(self._columns)))

    def learn_many(self, vectors: NDArray[np.float32]) -> Float64Array:
        """Learns row by row, and returns each row scaled by what was known when it had been learned.

        Args:
            vectors: ``(n, n_features)``, finite.
        """
        scaled = vectors.astype(np.float64)
        if not len(vectors):
            return scaled
        numbers = compressed(vectors[:, self._columns])
        if self._count == 0:
            self._origin = numbers[0].copy()
        deviations = numbers - self._origin
        steps = np.stack([deviations, deviations * deviations], axis=1)
        sums = np.cumsum(np.concatenate([self._sums[None], steps]), axis=0)[1:]
        counts = np.arange(self._count + 1, self._count + 1 + len(vectors), dtype=np.float64)
        mean, inverse_std = _moments(sums, counts[:, None])
        scaled[:, self._columns] = np.clip((deviations - mean) * inverse_std, -CLIP, CLIP)
        self._count += len(vectors)
        self._sums = sums[-1].copy()
        return scaled

    def scale(self) -> Scale:
        """Exports what is known now."""
        mean, inverse_std = _moments(self._sums[None], np.array([[max(self._count, 1)]], np.float64))
        return Scale(self._scaled, self._origin + mean[0], inverse_std[0])

    def arrays(self) -> Arrays:
        return {"count": np.array([self._count], np.int64), "origin": self._origin, "sums": self._sums}

    def restore(self, arrays: Arrays) -> None:
        self._count = int(arrays["count"][0])
        self._origin = arrays["origin"]
        self._sums = arrays["sums"]


def _moments(sums: Float64Array, counts: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Turns sums ``(n, 2, n_numbers)`` into means, from the origin, and inverse standard deviations."""
    mean = sums[:, 0] / counts
    variance = sums[:, 1] / counts - mean * mean
    varied = variance > _SMALLEST_VARIANCE
    return mean, 1.0 / np.sqrt(np.where(varied, variance, 1.0))
