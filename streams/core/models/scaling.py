"""Online standardisation of the numbers in a feature vector; indicators stay as they are."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float32Array, Float64Array

CLIP: Final = 6.0
"""Limit in standard deviations: the huge counts of a robot's session must not dominate a score."""

_SMALLEST_VARIANCE: Final = 1e-9


def compressed(numbers: Float32Array) -> Float64Array:
    """Returns ``sign(x) * log(1 + |x|)``: counts and money span orders of magnitude.

    Computed in single precision, the precision of the numbers: numpy's ``log`` is six times as fast as ``log1p``.
    """
    return np.copysign(np.log(np.float32(1.0) + np.abs(numbers)), numbers).astype(np.float64)


class Scale:
    """Exported means and standard deviations, applied to vectors.

    Args:
        scaled: Whether a column is a number, ``(n_features,)``.
        mean: Means of the compressed numbers, ``(n_numbers,)``.
        inverse_std: One over their standard deviation, ``(n_numbers,)``; 1 where a number has not varied yet.
    """

    def __init__(self, scaled: Sequence[bool], mean: Float64Array, inverse_std: Float64Array) -> None:
        self._columns = np.flatnonzero(scaled)
        self.mean = mean
        self.inverse_std = inverse_std

    def apply(self, vectors: Float32Array) -> Float64Array:
        """Returns the scaled vectors, ``(n, n_features)``, C order; a row has the same bits in any batch."""
        return self.apply_to(vectors, compressed(vectors[:, self._columns]))

    def apply_to(self, vectors: Float32Array, numbers: Float64Array) -> Float64Array:
        """Does the same with numbers that are compressed already, ``(n, n_numbers)``."""
        scaled = vectors.astype(np.float64, order="C")
        scaled[:, self._columns] = np.clip((numbers - self.mean) * self.inverse_std, -CLIP, CLIP)
        return scaled


class ScaledVectors:
    """Vectors for several models: their numbers are compressed once, and scaled once for each scale."""

    def __init__(self, scaled: Sequence[bool], vectors: Float32Array) -> None:
        self._vectors = vectors
        self._numbers = compressed(vectors[:, np.flatnonzero(scaled)])
        self._scaled: dict[tuple[str, int], Float64Array] = {}

    def __len__(self) -> int:
        return len(self._vectors)

    def by(self, target: str, version: int, scale: Scale) -> Float64Array:
        """Returns the vectors, scaled for one version of the target's models."""
        scaled = self._scaled.get((target, version))
        if scaled is None:
            scaled = self._scaled[target, version] = scale.apply_to(self._vectors, self._numbers)
        return scaled


class RunningScale:
    """Mean and variance of every number so far, shared by the models of a target.

    It sums deviations from the first example, and their squares; Welford's method uses the running mean instead.
    These are cumulative sums, which numpy takes strictly in order, so that no cut into batches changes a bit. An origin
    near the data keeps the difference of squares precise.

    References:
        Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", section 3 (shifted data).
    """

    def __init__(self, scaled: Sequence[bool]) -> None:
        self._scaled = tuple(scaled)
        self._columns = np.flatnonzero(scaled)
        self._count = 0
        self._origin = np.zeros(len(self._columns))
        self._sums = np.zeros((2, len(self._columns)))

    def learn_many(self, vectors: Float32Array) -> Float64Array:
        """Learns finite vectors row by row; returns each row scaled with the statistics up to and including it."""
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
        """Returns the current scale."""
        mean, inverse_std = _moments(self._sums[None], np.array([[max(self._count, 1)]], np.float64))
        return Scale(self._scaled, self._origin + mean[0], inverse_std[0])

    def arrays(self) -> Arrays:
        return {"count": np.array([self._count], np.int64), "origin": self._origin, "sums": self._sums}

    def restore(self, arrays: Arrays) -> None:
        self._count = int(arrays["count"][0])
        self._origin = arrays["origin"]
        self._sums = arrays["sums"]


def _moments(sums: Float64Array, counts: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Turns sums ``(n, 2, n_numbers)`` into means, relative to the origin, and inverse standard deviations."""
    mean = sums[:, 0] / counts
    variance = sums[:, 1] / counts - mean * mean
    varied = variance > _SMALLEST_VARIANCE
    return mean, 1.0 / np.sqrt(np.where(varied, variance, 1.0))
