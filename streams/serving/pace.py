"""How far the workers are behind, as a door sees it: by its own questions that have no answer yet."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

_TRIAL_MS: Final = 1000
"""So often a door asks although the workers are behind, to notice when they are not."""

AskedT = TypeVar("AskedT", bound=Hashable)


class Pace(Generic[AskedT]):
    """Questions of each partition that wait for an answer, oldest first; times are the caller's, milliseconds.

    A worker answers the events of a partition in their order, so an answer settles all earlier questions, too: those
    have none, as a duplicate has none.

    Args:
        partitions: Of the topic with the questions.
        max_lag_ms: A partition whose oldest question has waited for longer is behind.
    """

    def __init__(self, partitions: int, max_lag_ms: float) -> None:
        self._max_lag_ms = max_lag_ms
        self._open: list[OrderedDict[AskedT, int]] = [OrderedDict() for _ in range(partitions)]
        self._tried_ms = [0] * partitions
        self._partitions: dict[AskedT, int] = {}

    def asked(self, partition: int, asked: AskedT, now_ms: int) -> None:
        """Notes a question."""
        self._open[partition].setdefault(asked, now_ms)
        self._partitions[asked] = partition

    def answered(self, asked: AskedT) -> None:
        """Notes an answer, which may be to somebody else's question."""
        while (partition := self._partitions.get(asked)) is not None:
            settled, _ = self._open[partition].popitem(last=False)
            del self._partitions[settled]

    def is_behind(self, partition: int, now_ms: int) -> bool:
        """Says whether to wait is in vain. Once a second the answer is no, so that somebody tries."""
        waiting = self._open[partition]
        if not waiting or now_ms - next(iter(waiting.values())) <= self._max_lag_ms:
            return False
        if now_ms - self._tried_ms[partition] >= _TRIAL_MS:
            self._tried_ms[partition] = now_ms
            return False
        return True
