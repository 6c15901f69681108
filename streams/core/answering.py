"""What a batch asks for, answered all at once: predictions, and decisions with the Q agent's walks."""

from streams.contract.outputs import Output
from streams.core.deciding import Decider, PendingDecision
from streams.core.experiences import Experiences
from streams.core.policies.experiment import RunningExperiment
from streams.core.predicting import PendingPrediction, Predictor
from streams.core.row import Moment, UserRow
from streams.core.transitions import settle


class Answering:
    """Gathers what is to be scored and decided; a row's bits are the same in any batch.

    Attributes:
        outputs: What was published so far, in order.
    """

    def __init__(
        self, predictor: Predictor, decider: Decider, experiences: Experiences, experiment: RunningExperiment
    ) -> None:
        self.outputs: list[Output] = []
        self._predictor = predictor
        self._decider = decider
        self._experiences = experiences
        self._experiment = experiment
        self._predictions: list[PendingPrediction] = []
        self._decisions: list[PendingDecision] = []
        self._walking: list[UserRow] = []
        self._undecided: set[bytes] = set()

    def predict(
        self, ref: str, key: bytes, at_ms: int, targets: tuple[str, ...], vector: list[float], moment: Moment | None
    ) -> None:
        """Has a shopper scored with the rest of the batch."""
        opened = tuple(moment.predictions) if moment else ()
        self._predictions.append(PendingPrediction(ref, key, at_ms, targets, vector, moment, opened))

    def decide(self, pending: PendingDecision, row: UserRow) -> None:
        """Has a slate chosen with the rest of the batch, for the shopper of this row."""
        self._decisions.append(pending)
        self._undecided.add(pending.key)
        if pending.transition is not None:
            row.walk.append(pending.transition)
            self._walking.append(row)

    def settle(self, key: bytes) -> None:
        """Answers at once if feedback may refer to a decision of this very batch, as when a crash is made good."""
        if key in self._undecided:
            self.complete()

    def complete(self) -> None:
        """Answers all that is pending."""
        if self._predictions:
            self.outputs += self._predictor.predict(self._predictions)
            self._predictions = []
        if self._decisions:
            self.outputs += self._decider.decide(self._decisions, self._experiment.current.shadows)
            self._decisions = []
        for row in self._walking:
            self._experiences.add_steps(settle(row.walk))
        self._walking = []
        self._undecided.clear()
