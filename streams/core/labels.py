"""Predictions that wait for their labels: opened by a sampling rule, answered by what happens, final at the horizon."""

from collections.abc import Callable, Sequence
from typing import Final

from streams.contract.events import KINDS, Event
from streams.contract.rules import RULES
from streams.contract.settings import Target
from streams.core.row import MAX_MOMENTS, Moment, OpenPrediction, UserRow
from streams.core.sampling import sampled

Names = tuple[str, ...]
Waiting = list[tuple[Moment, OpenPrediction]]

_SHOWN: Final = "click"
"""Targets labelled by it are bound to a decision, and wait from its impression on."""


class Labels:
    """The declared targets, applied to one shopper's open predictions.

    A prediction waits for its whole horizon, whatever its label, so that examples of all outcomes arrive in the
    proportion in which they happened. One prediction of a target is open at a time, but for those of session ends: each
    end is an example, and waits while the next sessions go on.

    Attributes:
        weights: Of a target's examples, one over its sampling rate.
        corrected: Targets that learn before their labels are final.
        at_session_ends: Targets predicted when a session has ended.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self._by_name = {target.name: target for target in targets}
        self._rules = {target.name: RULES[target.rule] for target in targets}
        self._salts = {target.name: salt for salt, target in enumerate(targets)}
        self._shown = frozenset(target.name for target in targets if target.label == _SHOWN)
        self.corrected = frozenset(target.name for target in targets if target.labels == "correct")
        self._answering = frozenset(
            kind for target in targets for kind in KINDS if self._rules[target.name].heeds(target, kind)
        )
        self._at_events = self._opened_at("event")
        self._at_views = self._opened_at("event", "view")
        self.at_session_ends = self._opened_at("session_end")
        self.weights = {target.name: 1.0 / target.sampling_rate for target in targets}

    def predicted_at(self, event: Event) -> Names:
        """Names the targets that are predicted at an event."""
        return self._at_views if event.kind == "view" and event.category is not None else self._at_events

    def open(
        self, row: UserRow, partition: int, offset: int, now_ms: int, event: Event, count: Callable[[str], None]
    ) -> Moment | None:
        """Opens what the sampling rule admits and has no open prediction yet.

        Click predictions are opened at views, where a decision is made that they can be bound to.

        Args:
            count: Told of ``moments_displaced``, where a shopper has too many open already.

        Returns:
            The moment, still without vector and probabilities; ``None`` where nothing was opened.
        """
        waiting = {prediction.target for moment in row.moments for prediction in moment.predictions}
        names = [name for name in self.predicted_at(event) if name not in waiting]
        if event.kind != "view":
            names = [name for name in names if name not in self._shown]
        return self._opened(row, names, partition, offset, now_ms, event.category or "", count)

    def open_session_end(
        self, row: UserRow, partition: int, offset: int, ended_ms: int, count: Callable[[str], None]
    ) -> Moment | None:
        """Opens what is predicted at the end of the session whose last event is the one at ``offset``."""
        return self._opened(row, self.at_session_ends, partition, offset, ended_ms, "", count)

    def observe(self, row: UserRow, event: Event) -> Waiting:
        """Lets ``event`` answer what waits for it; returns what was learned as a negative and is to be corrected."""
        corrected: Waiting = []
        if event.kind not in self._answering:
            return corrected
        at_ms = event.timestamp_ms
        for moment in row.moments:
            for prediction in moment.predictions:
                target = self._by_name.get(prediction.target)
                if target is not None and moment.opened_ms < at_ms <= prediction.deadline_ms:
                    before, answer = prediction.label, self._rules[target.name].answer
                    prediction.label = answer(target, before, prediction.subject, event)
                    if prediction.label != before and target.name in self.corrected:
                        corrected.append((moment, prediction))
        return corrected

    def shown(self, row: UserRow, offset: int, at_ms: int) -> Waiting:
        """Starts the predictions that are bound to the decision at ``offset``; returns them."""
        started = [(moment, each) for moment, each in self._bound(row, offset) if not each.deadline_ms]
        for _, prediction in started:
            prediction.deadline_ms = at_ms + self._by_name[prediction.target].horizon_s * 1000
        return started

    def clicked(self, row: UserRow, offset: int, at_ms: int) -> Waiting:
        """Labels the predictions that are bound to the decision at ``offset``; returns those that were negative."""
        labelled = [(moment, each) for moment, each in self._bound(row, offset) if at_ms <= each.deadline_ms]
        corrected = [(moment, each) for moment, each in labelled if not each.label]
        for _, prediction in labelled:
            prediction.label = 1.0
        return corrected

    def drop(self, row: UserRow, offset: int) -> None:
        """Forgets the predictions bound to a decision that was never shown: it is no zero."""
        for moment in row.moments:
            if moment.offset == offset:
                moment.predictions = [open_ for open_ in moment.predictions if open_.deadline_ms]
        row.moments = [moment for moment in row.moments if moment.predictions]

    def mature(self, row: UserRow, watermark_ms: int) -> Waiting:
        """Takes out the predictions whose horizon has passed; their labels are final, ``None`` where there is none."""
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

    def _opened_at(self, *moments: str) -> Names:
        return tuple(name for name, rule in self._rules.items() if rule.opens_at in moments)

    def _opened(
        self,
        row: UserRow,
        names: Sequence[str],
        partition: int,
        offset: int,
        now_ms: int,
        subject: str,
        count: Callable[[str], None],
    ) -> Moment | None:
        opened = [
            self._new(name, now_ms, subject)
            for name in names
            if sampled(partition, offset, self._salts[name], self._by_name[name].sampling_rate)
        ]
        if not opened:
            return None
        if len(row.moments) >= MAX_MOMENTS:
            count("moments_displaced")
            return None
        moment = Moment(offset, now_ms, predictions=opened)
        row.moments.append(moment)
        return moment

    def _new(self, name: str, now_ms: int, subject: str) -> OpenPrediction:
        rule = self._rules[name]
        deadline_ms = 0 if name in self._shown else now_ms + self._by_name[name].horizon_s * 1000
        return OpenPrediction(name, deadline_ms, rule.unanswered, subject=subject if rule.opens_at == "view" else "")

    def _bound(self, row: UserRow, offset: int) -> Waiting:
        return [
            (moment, prediction)
            for moment in row.moments
            if moment.offset == offset
            for prediction in moment.predictions
            if prediction.target in self._shown
        ]
