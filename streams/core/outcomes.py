"""What became of predictions and decisions, handed on to those who learn from it."""

from streams.contract.fold import PartitionRow
from streams.contract.records import BOTH, LEARN, MEASURE
from streams.core.experiences import Experiences
from streams.core.feedback import Feedback
from streams.core.labels import Labels, Waiting
from streams.core.row import Moment, OpenDecision, OpenPrediction, UserRow


class Outcomes:
    """The labels and rewards of one batch.

    Args:
        vector_bytes: Of a vector of the windows in force; what was opened on others is not learned from.
        partition: Where what leads to no example is counted.
    """

    def __init__(
        self, labels: Labels, feedback: Feedback, experiences: Experiences, partition: PartitionRow, vector_bytes: int
    ) -> None:
        self._labels = labels
        self._feedback = feedback
        self._experiences = experiences
        self._partition = partition
        self._vector_bytes = vector_bytes

    def mature(self, offset: int, row: UserRow, watermark_ms: int) -> bool:
        """Takes out of a row the labels and rewards that the watermark has made final; tells whether there were any."""
        labelled = self._labels.mature(row, watermark_ms)
        for moment, prediction in labelled:
            use = MEASURE if prediction.target in self._labels.corrected else BOTH
            self._label(offset, moment, prediction, prediction.label, use)
        closed = self._feedback.mature(row, watermark_ms)
        for decision in closed:
            self.close(offset, row, decision)
        return bool(labelled or closed)

    def learn_early(self, offset: int, waiting: Waiting, label: float) -> None:
        """Hands on the labels, as of now, of those targets that learn before they are final."""
        for moment, prediction in waiting:
            if prediction.target in self._labels.corrected:
                self._label(offset, moment, prediction, label, LEARN)

    def close(self, offset: int, row: UserRow, decision: OpenDecision) -> None:
        """Hands on what a closed decision has earned; one that was never shown is no zero, and is dropped."""
        if decision.shown_ms:
            self._experiences.add_rewards(offset, decision, self._feedback.rewards(decision))
        else:
            self._partition.count("decisions_unshown")
            self._labels.drop(row, decision.offset)

    def _label(self, offset: int, moment: Moment, prediction: OpenPrediction, label: float | None, use: int) -> None:
        if label is None:
            self._partition.count("unlabelled")
        elif moment.vector and len(moment.vector) != self._vector_bytes:
            self._partition.count("outdated_vectors")
        else:
            weight = self._labels.weights[prediction.target]
            self._experiences.add_label(offset, moment, prediction, label, weight, use)
