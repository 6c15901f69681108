"""The metrics topic as one picture: every partition's exact totals once, every learner's latest quality."""

from collections.abc import Iterator, Mapping
from typing import Any

from streams.contract.fold import PartitionRow
from streams.contract.topics import CLICKSTREAM
from streams.core.summary import summarise


class Board:
    """Takes records of the metrics topic, in any order and from any number of workers.

    Attributes:
        busy_s: Sum of the intervals in which something was folded, over all workers.
    """

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._workers: dict[str, Mapping[str, Any]] = {}
        self._learners: dict[str, Mapping[str, Any]] = {}
        self._truths: Mapping[str, Any] = {}
        self.busy_s = 0.0

    def take(self, record: Mapping[str, Any]) -> None:
        """Takes one record; of a partition or learner only the one that is furthest stays."""
        if "learner" in record:
            known = self._learners.get(record["learner"])
            if known is None or record["version"] >= known["version"]:
                self._learners[record["learner"]] = record
            return
        if "folds" not in record:
            self._truths = record["policies"]
            return
        self._workers[record["source"]] = record
        if any(fold["records_per_s"] for fold in record["folds"].values()):
            self.busy_s += record["interval_s"]
        for source, fold in record["folds"].items():
            for number, partition in fold["partitions"].items():
                last = self._partitions.get((source, number))
                if last is None or partition["guard"] >= last["guard"]:
                    self._partitions[source, number] = partition

    def totals(self) -> dict[str, Any]:
        """Returns the exact totals since the first event, see :func:`streams.core.summary.summarise`."""
        return summarise(
            PartitionRow(**{name: partition[name] for name in PartitionRow.__struct_fields__})
            for partition in self._of(CLICKSTREAM)
        )

    def lag(self, source: str = CLICKSTREAM) -> int:
        """Counts the records of a source topic that are not applied."""
        return sum(partition["lag"] for partition in self._of(source))

    def rate(self) -> float:
        """Events of the clickstream per second, over all workers, in their last interval."""
        return float(sum(fold["records_per_s"] for fold in self._folds(CLICKSTREAM)))

    def latency_ms(self) -> dict[str, float] | None:
        """From accepted by Kafka to decision acknowledged, of the worker that reported last."""
        measured = [fold["latency_ms"] for fold in self._folds(CLICKSTREAM) if fold["latency_ms"]]
        return dict(measured[-1]) if measured else None

    def overall_latency_ms(self) -> dict[str, float] | None:
        """The same since the worker started."""
        measured = [fold["latency_ms_overall"] for fold in self._folds(CLICKSTREAM) if fold["latency_ms_overall"]]
        return dict(measured[-1]) if measured else None

    def learners(self) -> dict[str, Mapping[str, Any]]:
        """Returns each learner's latest record, by name."""
        return dict(sorted(self._learners.items()))

    def truths(self) -> Mapping[str, Mapping[str, float]]:
        """Returns by policy what the simulator says is true of its slates; empty where shoppers are real."""
        return self._truths

    def sources(self) -> set[str]:
        """Names the source topics whose folds report."""
        return {source for source, _ in self._partitions}

    def _of(self, source: str) -> list[Mapping[str, Any]]:
        return [partition for (name, _), partition in sorted(self._partitions.items()) if name == source]

    def _folds(self, source: str) -> Iterator[Mapping[str, Any]]:
        for worker in self._workers.values():
            if source in worker["folds"]:
                yield worker["folds"][source]
