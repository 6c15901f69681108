"""Champion and challengers: who serves, decided by what each had said before the labels existed."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from streams.contract.arrays import Arrays
from streams.core.models.measures import losses

Float64Array = NDArray[np.float64]

FADING_EXAMPLES: Final = 3000.0
"""An example counts e times less after so many others."""

STANDARD_ERRORS: Final = 2.0
LEAST_EXAMPLES: Final = 300.0
"""What the faded examples have to be worth before anybody is replaced."""

_FADE: Final = 1.0 - 1.0 / FADING_EXAMPLES
_FADES: Final = (_FADE, _FADE, _FADE * _FADE, _FADE * _FADE, _FADE * _FADE)


Losses = Callable[[Float64Array, Float64Array], Float64Array]


class Contest:
    """Compares each challenger's loss with the champion's, example by example, on the same examples.

    The champion changes at the first example at which a challenger's mean advantage exceeds two standard errors; then
    all comparisons begin anew, against the new champion. Sums run in stream order, so that no cut into batches moves
    that example.

    Args:
        members: The first one serves.
        loss: Of what was served, by labels; both ``(n,)``.

    References:
        Gama, Sebastião and Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90(3),
        section 3.3 (fading factors); Dietterich (1998), "Approximate statistical tests for comparing supervised
        classification learning algorithms", Neural Computation 10(7), for pairing.
    """

    def __init__(self, members: Sequence[str], loss: Losses = losses) -> None:
        self._members = tuple(members)
        self._loss = loss
        self._sums = np.zeros((len(_FADES), len(members)))
        self.champion = members[0]
        self.switches = 0

    def update(
        self, members: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> int:
        """Counts a batch up to the example that changes the champion, and returns how many were counted.

        Args:
            members: Names of the columns.
            probabilities: As served, ``(n, n_members)``; NaN for a member that did not exist, which counts for neither.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
        known = [member for member in self._members if member in members]
        if self.champion not in known:
            return len(labels)
        each = np.full((len(labels), len(self._members)), np.nan)
        for member in known:
            each[:, self._members.index(member)] = self._loss(probabilities[:, list(members).index(member)], labels)
        advantages = each[:, [self._members.index(self.champion)]] - each
        compared = ~np.isnan(advantages)
        gains, shares = np.where(compared, advantages, 0.0), compared * weights[:, None]
        terms = (shares * gains, shares, shares**2 * gains**2, shares**2 * gains, shares**2)
        running = np.stack(
            [
                lfilter([1.0], [1.0, -fade], term, axis=0, zi=fade * before[None])[0]
                for fade, term, before in zip(_FADES, terms, self._sums, strict=True)
            ],
            axis=1,
        )
        better = _advantages(running)
        overtaken = np.flatnonzero((better > 0.0).any(axis=1))
        if not len(overtaken):
            self._sums = running[-1].copy()
            return len(each)
        place = int(overtaken[0])
        self.hand_over(self._members[int(np.argmax(better[place]))])
        return place + 1

    def best(self, members: Sequence[str]) -> str:
        """Names the one of ``members`` with the smallest faded loss, the first where nothing is known."""
        places = [self._members.index(member) for member in members]
        gain, share = self._sums[0, places], self._sums[1, places]
        mean = np.where(share > 0.0, gain / np.where(share > 0.0, share, 1.0), -np.inf)
        return members[int(np.argmax(mean))]

    def hand_over(self, member: str) -> None:
        """Makes another member the champion, whatever the comparisons say; they begin anew."""
        self.champion = member
        self.restart()
        self.switches += 1

    def restart(self, member: str | None = None) -> None:
        """Forgets all comparisons, or those of one member."""
        if member is None:
            self._sums = np.zeros_like(self._sums)
        else:
            self._sums[:, self._members.index(member)] = 0.0

    def arrays(self) -> Arrays:
        """Everything it goes on from."""
        return {
            "sums": self._sums,
            "champion": np.frombuffer(self.champion.encode(), np.uint8),
            "switches": np.array([self.switches], np.int64),
        }

    def restore(self, arrays: Arrays) -> None:
        """Goes on from where the arrays were taken; of other members it keeps the champion if there is one."""
        champion = arrays["champion"].tobytes().decode()
        self.switches = int(arrays["switches"][0])
        if champion in self._members:
            self.champion = champion
        if arrays["sums"].shape == self._sums.shape:
            self._sums = arrays["sums"]


def _advantages(sums: Float64Array) -> Float64Array:
    """How far each mean advantage is above its standard errors, ``(n, n_members)``; 0 where it is not."""
    gain, share, squares, products, shares = (sums[:, place] for place in range(len(_FADES)))
    worth = np.where(shares > 0.0, share**2 / np.where(shares > 0.0, shares, 1.0), 0.0)
    enough = worth >= LEAST_EXAMPLES
    divisor = np.where(enough, share, 1.0)
    mean = gain / divisor
    variance = np.maximum(squares - 2.0 * mean * products + mean * mean * shares, 0.0)
    above = mean - STANDARD_ERRORS * np.sqrt(variance) / divisor
    return np.where(enough & (mean > 0.0), np.maximum(above, 0.0), 0.0)
