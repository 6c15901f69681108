"""Drift detection on the loss of what was served: an alarm at a rise, a recovery when half of the rise is gone."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import isnan
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array, Int64Array
from streams.contract.metrics import Drift
from streams.core.models.adaptive_window import AdaptiveWindow
from streams.core.models.measures import losses

WAITING: Final = 64
"""Losses buffered for sorting: labels come in the order in which they became final, ADWIN needs that of predictions."""

_FADE: Final = 1.0 - 1.0 / 100.0


class DriftWatch:
    """ADWIN on the loss of what was served, clipped to [0, 1], in the order of the predictions.

    Args:
        loss: Loss of served values and labels, both ``(n,)``.

    Attributes:
        alarms: Rises of the loss so far; a fall raises no alarm.
        recoveries: Alarms after which half of the rise has gone.
        open: Whether the last alarm is without a recovery so far.
    """

    def __init__(self, loss: Callable[[Float64Array, Float64Array], Float64Array] = losses) -> None:
        self._loss = loss
        self.alarms = 0
        self.recoveries = 0
        self.open = False
        self._window = AdaptiveWindow()
        self._waiting: list[tuple[int, int, float]] = []
        self._seen = 0
        self._half = 0.0
        self._faded = 0.0

    def update(self, probabilities: Float64Array, labels: Float64Array, timestamps_ms: Int64Array) -> list[int]:
        """Adds a batch as served, NaN for nothing, with its prediction times; returns the rows that raised an alarm."""
        clipped = np.minimum(self._loss(probabilities, labels), 1.0).tolist()
        raised: list[int] = []
        for row, (loss, timestamp_ms) in enumerate(zip(clipped, timestamps_ms.tolist(), strict=True)):
            self._seen += 1
            if isnan(loss):
                continue
            heappush(self._waiting, (timestamp_ms, self._seen, loss))
            if len(self._waiting) > WAITING and self._add(heappop(self._waiting)[2]):
                raised.append(row)
        return raised

    def _add(self, loss: float) -> bool:
        if self.open:
            self._faded = _FADE * self._faded + (1.0 - _FADE) * loss
            if self._faded <= self._half:
                self.open = False
                self.recoveries += 1
        change = self._window.update(loss)
        if change is None or change[1] <= change[0]:
            return False
        before, after = change
        self.alarms += 1
        self.open = True
        self._half = before + (after - before) / 2.0
        self._faded = after
        return True

    def summary(self) -> Drift:
        """Returns the counts and the window's state."""
        return Drift(
            alarms=self.alarms,
            recoveries=self.recoveries,
            open=self.open,
            window_examples=self._window.size,
            window_loss=self._window.mean,
        )

    def arrays(self) -> Arrays:
        return self._window.arrays() | {
            "waiting": np.array(sorted((at, number) for at, number, _ in self._waiting), np.int64).reshape(-1, 2),
            "losses": np.array([loss for _, _, loss in sorted(self._waiting)], np.float64),
            "counts": np.array([self.alarms, self.recoveries, self.open, self._seen], np.int64),
            "recovery": np.array([self._half, self._faded]),
        }

    def restore(self, arrays: Arrays) -> None:
        self._window.restore(arrays)
        order = zip(arrays["waiting"].tolist(), arrays["losses"].tolist(), strict=True)
        self._waiting = [(at, number, loss) for (at, number), loss in order]
        heapify(self._waiting)
        self.alarms, self.recoveries, is_open, self._seen = arrays["counts"].tolist()
        self.open = bool(is_open)
        self._half, self._faded = arrays["recovery"].tolist()
