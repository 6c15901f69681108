"""Predictions that wait for their labels: opened by a sampling rule, labelled by what happens, final at the horizon."""

from collections.abc import Sequence

from streams.contract.events import Event
from streams.contract.settings import Target
from streams.core.row import MAX_MOMENTS, Moment, OpenPrediction, UserRow
from streams.core.sampling import sampled


class Labels:
    """The declared targets, applied to one shopper's open predictions.

    A prediction waits for its whole horizon, whatever its label, so that examples of both classes arrive in the
    proportion in which they happened. Targets labelled by ``click`` start at the impression of a decision instead.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self._organic = tuple(target for target in targets if target.label != "click")
        self._shown = tuple(target for target in targets if target.label == "click")
        self._salts = {target.name: salt for salt, target in enumerate(targets)}
        self._shown_names = {target.name for target in self._shown}
        self._by_name = {target.name: target for target in targets}
        self.weights = {target.name: 1.0 / target.sampling_rate for target in targets}

    def open(self, row: UserRow, partition: int, offset: int, now_ms: int, *, decides: bool) -> Moment | None:
        """Opens what the sampling rule admits and has no open prediction yet.

        Args:
            decides: Whether a decision is made at this event, to which click predictions can be bound.

        Returns:
            The moment, still without vector and probabilities; ``None`` where nothing was opened.
        """
        waiting = {prediction.target for moment in row.moments for prediction in moment.predictions}
        opened = [
            OpenPrediction(target.name, now_ms + target.horizon_s * 1000 if target in self._organic else 0)
            for target in (self._organic + self._shown if decides else self._organic)
            if target.name not in waiting and sampled(partition, offset, self._salts[target.name], target.sampling_rate)
        ]
        if not opened or len(row.moments) >= MAX_MOMENTS:
            return None
        moment = Moment(offset, now_ms, predictions=opened)
        row.moments.append(moment)
        return moment

    def observe(self, row: UserRow, event: Event) -> None:
        """Labels what ``event`` makes true."""
        at_ms = event.timestamp_ms
        for moment in row.moments:
            for prediction in moment.predictions:
                target = self._by_name.get(prediction.target)
                if (
                    target is not None
                    and target.label == event.kind
                    and moment.opened_ms < at_ms <= prediction.deadline_ms
                ):
                    prediction.label = 1.0

    def shown(self, row: UserRow, offset: int, at_ms: int) -> None:
        """Starts the predictions that are bound to the decision at ``offset``."""
        for prediction in self._bound(row, offset):
            if not prediction.deadline_ms:
                prediction.deadline_ms = at_ms + self._by_name[prediction.target].horizon_s * 1000

    def clicked(self, row: UserRow, offset: int, at_ms: int) -> None:
        """Labels the predictions that are bound to the decision at ``offset``."""
        for prediction in self._bound(row, offset):
            if at_ms <= prediction.deadline_ms:
                prediction.label = 1.0

    def drop(self, row: UserRow, offset: int) -> None:
        """Forgets the predictions bound to a decision that was never shown: it is no zero."""
        for moment in row.moments:
            if moment.offset == offset:
                moment.predictions = [open_ for open_ in moment.predictions if open_.deadline_ms]
        row.moments = [moment for moment in row.moments if moment.predictions]

    def mature(self, row: UserRow, watermark_ms: int) -> list[tuple[Moment, OpenPrediction]]:
        """Takes out the predictions whose horizon has passed; their labels are final."""
        final = [
            (moment, prediction)
            for moment in row.moments
            for prediction in moment.predictions
            if 0 < prediction.deadline_ms <= watermark_ms
        ]
        for moment, prediction in final:
            moment.predictions.remove(prediction)
        if final:
            row.moments = [moment for moment in row.moments if moment.predictions]
        return [(moment, prediction) for moment, prediction in final if prediction.target in self._by_name]

    def _bound(self, row: UserRow, offset: int) -> list[OpenPrediction]:
        return [
            prediction
            for moment in row.moments
            if moment.offset == offset
            for prediction in moment.predictions
            if prediction.target in self._shown_names
        ]
