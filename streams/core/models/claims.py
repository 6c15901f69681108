"""Claims that one model of a target is better than another, which hold whenever one looks at them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, BoolArray, Float64Array, Int64Array

LEVEL: Final = 0.05
"""Probability of any false claim over all time, about all models of a target together."""

LEAST_POSITIVES: Final = 30
"""Positives before anything is claimed."""

_BETS: Final = np.array([0.2, 0.5, 0.9])
"""Shares of the wealth that are bet; the evidence is the mean of what they win."""

_FIRST_PART: Final = 0.75
"""Part of the level that is used before the first alarm; each later part is this share of the rest."""

_CLIP: Final = 2.5
"""A block's difference is clipped at this many root mean squares of the blocks before it."""

_WARM_UP: Final = 4
"""Positives, and blocks, before the first bet; they give the scale."""

_OPEN_CELLS: Final = 2
"""A cell is closed when a label 0 of the second cell after it is final: all of its own were, a horizon ago."""


class Claims:
    """Betting on the difference of each model's loss from the first model's, in both directions.

    Labels of predictions within one horizon of each other overlap, so single differences are no martingale. Time is cut
    into cells of one horizon. Differences are summed over blocks of cells, as many as had one positive on average
    before. The cell after a block is left out, so that all labels of a block are final before the next block begins.
    If neither model is better, nobody can expect to win by betting on the next block's clipped difference. So winning
    ``1 / level`` times the stake is evidence enough for a claim; by Ville's inequality that happens with a probability
    of at most ``level``, however often one looks.

    The level is divided by the number of comparisons and directions. At a drift alarm all begins anew, with three
    quarters of what is left of the level, so that all parts together are at most one.

    Args:
        models: Names; the others are compared with the first.
        horizon_ms: Time until a prediction's label is final.

    References:
        Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1),
        section 4; Choe and Ramdas (2024), "Comparing sequential forecasters", Operations Research 72(4), for forecasts
        with a lag.
    """

    def __init__(self, models: Sequence[str], horizon_ms: int) -> None:
        self._models = tuple(models)
        self._horizon_ms = horizon_ms
        self._others = len(models) - 1
        self._restarts = 0
        self._newest_ms = 0
        self._begin(0)

    def _begin(self, first_cell: int) -> None:
        self._first_cell, self._end = first_cell, 0
        self._cells: dict[int, Float64Array] = {}
        self._block = np.zeros(1 + self._others)
        self._used_cells, self._positives, self._blocks = 0, 0, 0
        self._squares = np.zeros(self._others)
        self._wealth = np.zeros((2, self._others, len(_BETS)))
        self._best = np.zeros((2, self._others))

    def restart(self) -> None:
        """Withdraws all claims and begins anew, with the first cell that starts later than the newest label."""
        self._restarts += 1
        self._begin(self._newest_ms // self._horizon_ms + 2)

    def update(self, losses: Float64Array, positive: BoolArray, timestamps_ms: Int64Array) -> None:
        """Adds examples; those of a cell that is closed already are left out.

        Args:
            losses: Of the models, ``(n, n_models)``; NaN for a model that did not exist.
            timestamps_ms: Times of prediction, ``(n,)``, in any order within a horizon or so.
        """
        if not (self._others and len(losses)):
            return
        # A label 1 is final at once, a label 0 after the horizon: only the latter says that earlier labels are there.
        newest = np.maximum(np.maximum.accumulate(np.where(positive, 0, timestamps_ms)), self._newest_ms)
        self._newest_ms = int(newest[-1])
        cells = timestamps_ms // self._horizon_ms
        closed = newest // self._horizon_ms - _OPEN_CELLS
        rows = np.flatnonzero((cells > closed) & (cells >= self._first_cell))
        ahead = np.nan_to_num(losses[rows, :1] - losses[rows, 1:])
        terms = np.column_stack([positive[rows].astype(np.float64), ahead])
        order = np.argsort(cells[rows], kind="stable")
        numbers, starts = np.unique(cells[rows][order], return_index=True)
        for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], len(rows)], strict=bool(len(rows))):
            own = terms[order[start:end]]
            before = self._cells.get(number, np.zeros(1 + self._others))
            # Cumulative sums run in the order of the examples; those of numpy's sum depend on the batch.
            self._cells[number] = np.cumsum(np.concatenate([before[None], own]), axis=0)[-1]
        for number in sorted(number for number in self._cells if number <= int(closed[-1])):
            self._add_cell(number, self._cells.pop(number))

    def _add_cell(self, number: int, cell: Float64Array) -> None:
        """Adds a closed cell to the block that it belongs to; cells without examples never come."""
        if self._end and number >= self._end:
            self._close_block()
            self._first_cell, self._end = self._end + 1, 0
        if number < self._first_cell:
            return
        if not self._end:
            length = -(-self._used_cells // max(self._positives, 1))
            self._end = number + max(length, 1)
        self._used_cells += 1
        self._block = self._block + cell

    def _close_block(self) -> None:
        difference = self._block[1:]
        if min(self._blocks, self._positives) >= _WARM_UP:
            scale = _CLIP * np.sqrt(self._squares / self._blocks)
            won = np.clip(difference / np.where(scale > 0.0, scale, np.inf), -1.0, 1.0)
            self._wealth += np.log1p(np.multiply.outer(np.array([won, -won]), _BETS))
            if self._positives + self._block[0] >= LEAST_POSITIVES:
                self._best = np.maximum(self._best, np.exp(self._wealth).mean(axis=-1))
        self._squares = self._squares + difference**2
        self._blocks += 1
        self._positives += int(self._block[0])
        self._block = np.zeros(1 + self._others)

    def better_than(self) -> dict[str, list[str]]:
        """Returns each model that was shown to be better than others, with these."""
        if not self._others:
            return {}
        part = _FIRST_PART * (1.0 - _FIRST_PART) ** self._restarts
        needed = 2 * self._others / (part * LEVEL) if part else np.inf
        first, others = self._models[0], self._models[1:]
        better, worse = (self._best >= needed).tolist()
        found = {model: [first] for model, is_shown in zip(others, better, strict=True) if is_shown}
        beaten = [model for model, is_shown in zip(others, worse, strict=True) if is_shown]
        return found | ({first: beaten} if beaten else {})

    def arrays(self) -> Arrays:
        cells = [[float(number), *cell.tolist()] for number, cell in sorted(self._cells.items())]
        counts = (self._first_cell, self._end, self._used_cells, self._positives, self._blocks)
        return {
            "models": np.frombuffer("/".join(self._models).encode(), np.uint8),
            "cells": np.array(cells, np.float64).reshape(-1, 2 + self._others),
            "block": self._block,
            "counts": np.array([self._restarts, self._newest_ms, *counts], np.int64),
            "squares": self._squares,
            "wealth": self._wealth,
            "best": self._best,
        }

    def restore(self, arrays: Arrays) -> None:
        """Restores the state; of other models nothing was claimed yet."""
        self._restarts, self._newest_ms, *counts = arrays["counts"].tolist()
        if arrays["models"].tobytes().decode() != "/".join(self._models):
            self.restart()
            return
        self._first_cell, self._end, self._used_cells, self._positives, self._blocks = counts
        self._cells = {int(row[0]): row[1:] for row in arrays["cells"]}
        self._block, self._squares = arrays["block"], arrays["squares"]
        self._wealth, self._best = arrays["wealth"].copy(), arrays["best"]
