"""Labels of served predictions: opened with the prediction, changed by events, final at the end of the horizon."""

from collections.abc import Container, Iterable, Sequence
from typing import Final, NamedTuple

from streams.contract.event_kinds import EVENT_KINDS, Kind
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.records import BOTH, LEARN, MEASURE
from streams.contract.settings import Target
from streams.core.behaviour.deadlines import NEVER_MS
from streams.core.behaviour.row import MAX_PREDICTION_POINTS, LearningSample, PredictionPoint, UserRow
from streams.core.sampling import uniform
from streams.core.sums import int_sum

Names = tuple[str, ...]

_SHOWN: Final = "click"
"""Targets with this label are bound to a decision, and wait from its impression on."""
_AT_EVENT: Final = 0
_AT_SESSION_END: Final = 1
"""Salts: an event may be sampled as a prediction of its own, and once more as the end of its session."""


class Label(NamedTuple):
    """A label of a served prediction.

    Attributes:
        target: Number of the target.
        value: ``None`` where the horizon ended without one.
        use: :data:`~streams.contract.records.BOTH` or ``MEASURE`` where it is final, ``LEARN`` where it is not.
        sample: What the models learn it from; ``None`` if it is measured only.
    """

    point: PredictionPoint
    target: int
    value: float | None
    use: int
    sample: LearningSample | None


class Opening(NamedTuple):
    """The predictions to be served at an event.

    Attributes:
        targets: Names of all that is predicted at it.
        point: Still without vector and probabilities; ``None`` where nothing was opened.
        dropped: Names of the targets that are predicted and not measured: the shopper has too many open points.
        learned: Labels of the targets that learn before their labels are final: corrections, then labels 0.
    """

    targets: Names = ()
    point: PredictionPoint | None = None
    dropped: Names = ()
    learned: Sequence[Label] = ()


class Labels:
    """The declared targets, applied to one shopper's open predictions.

    Every served prediction waits for its whole horizon, whatever its label, and is measured once. Of all of them a
    sample of share ``sampling_rate`` keeps its vector, and is learned from: by a hash of the event, so that whether a
    prediction is sampled depends neither on the shopper nor on what else is open.

    Args:
        decided_at: Kinds of events at which a decision is made.

    Attributes:
        at_session_ends: Whether anything is predicted when a session has ended.
    """

    def __init__(self, targets: Sequence[Target], decided_at: Container[Kind]) -> None:
        self._targets = tuple(targets)
        self._rules = [RULES[target.rule] for target in targets]
        self._rates = [target.sampling_rate for target in targets]
        self._horizons_ms = [target.horizon_s * 1000 for target in targets]
        self._all = (1 << len(targets)) - 1
        self._shown = self._mask(target.label == _SHOWN for target in targets)
        self._unshown = self._all & ~self._shown
        self._early = self._mask(target.labels == "correct" for target in targets)
        self._answered_by = {
            kind: ~self._shown
            & self._mask(rule.heeds(target, kind) for target, rule in zip(targets, self._rules, strict=True))
            for kind in EVENT_KINDS
        }
        self._with_subject = self._mask(rule.opens_at == "view" for rule in self._rules)
        at_events = self._mask(rule.opens_at == "event" for rule in self._rules)
        self._at_events = at_events & ~self._shown
        self._at_decisions = at_events & self._shown
        self._decided_at = decided_at
        self._at_session_ends = self._mask(rule.opens_at == "session_end" for rule in self._rules)
        self.at_session_ends = bool(self._at_session_ends)
        self._names: dict[int, Names] = {}
        self._shortest_ms = _Shortest(self._horizons_ms)

    def apply(self, row: UserRow, partition: int, offset: int, now_ms: int, event: Event, *, opens: bool) -> Opening:
        """Answers the predictions that wait for ``event``, then opens those that are served at it.

        Clicks are predicted where a decision is made.

        Args:
            now_ms: Time of the shopper's latest event, this one included.
            opens: Whether anything is predicted at it.
        """
        corrected = self._observe(row, event)
        if not opens:
            return Opening(learned=corrected)
        opened = self._at_events
        if event.kind in self._decided_at:
            opened |= self._at_decisions
        if event.kind == "view" and event.category is not None:
            opened |= self._with_subject
        opening = self._open(row, opened, partition, offset, now_ms, event.category or "", _AT_EVENT)
        return opening._replace(learned=[*corrected, *opening.learned]) if corrected else opening

    def _observe(self, row: UserRow, event: Event) -> list[Label]:
        """Updates the labels of open predictions by ``event``; returns corrections of early labels 0."""
        corrected: list[Label] = []
        answered = self._answered_by[event.kind]
        if not answered:
            return corrected
        at_ms = event.timestamp_ms
        for point in row.prediction_points:
            for number in _numbers(point.waiting & answered):
                if not point.opened_ms < at_ms <= point.opened_ms + self._horizons_ms[number]:
                    continue
                target, rule = self._targets[number], self._rules[number]
                before = point.labels.get(number, rule.unanswered)
                label = rule.answer(target, before, point.subject, event)
                if label != before:
                    point.labels[number] = label
                    corrected += self._learned_early(point, number, 1.0)
        return corrected

    def open_session_end(self, row: UserRow, partition: int, offset: int, ended_ms: int) -> Opening:
        """Opens what is predicted at the end of the session whose last event is the one at ``offset``."""
        return self._open(row, self._at_session_ends, partition, offset, ended_ms, "", _AT_SESSION_END)

    def start(self, row: UserRow, offset: int, at_ms: int) -> list[Label]:
        """Starts the predictions bound to the decision at ``offset``, which was shown; returns early labels 0."""
        started: list[Label] = []
        for point in row.prediction_points:
            if point.offset == offset and point.waiting & self._shown and not point.shown_ms:
                point.shown_ms = at_ms
                for number in _numbers(point.waiting & self._shown):
                    started += self._learned_early(point, number, 0.0)
        return started

    def click(self, row: UserRow, offset: int, at_ms: int) -> list[Label]:
        """Labels the predictions bound to the decision at ``offset``; returns corrections of early labels 0."""
        corrected: list[Label] = []
        for point in row.prediction_points:
            if point.offset != offset or not point.shown_ms:
                continue
            for number in _numbers(point.waiting & self._shown):
                if at_ms <= point.shown_ms + self._horizons_ms[number] and not point.labels.get(number):
                    point.labels[number] = 1.0
                    corrected += self._learned_early(point, number, 1.0)
        return corrected

    def drop(self, row: UserRow, offset: int) -> None:
        """Removes the predictions bound to a decision that was never shown: that is no label 0."""
        for point in row.prediction_points:
            if point.offset == offset and not point.shown_ms:
                point.waiting &= ~self._shown
        row.prediction_points = [point for point in row.prediction_points if point.waiting]

    def mature(self, row: UserRow, watermark_ms: int) -> list[Label]:
        """Takes out the predictions whose horizon has passed; their labels are final."""
        final: list[Label] = []
        for point in row.prediction_points:
            if self._due_ms(point) > watermark_ms:
                continue
            for number in _numbers(point.waiting & self._all):
                begun_ms = point.shown_ms if 1 << number & self._shown else point.opened_ms
                if begun_ms and begun_ms + self._horizons_ms[number] <= watermark_ms:
                    point.waiting &= ~(1 << number)
                    final.append(self._final(point, number))
        if final:
            row.prediction_points = [point for point in row.prediction_points if point.waiting & self._all]
        return final

    def earliest_ms(self, row: UserRow) -> int:
        """Returns when the first label of a row becomes final; :data:`NEVER_MS` if none waits."""
        due_ms = self._due_ms
        return min([due_ms(point) for point in row.prediction_points], default=NEVER_MS)

    def _due_ms(self, point: PredictionPoint) -> int:
        due_ms = point.opened_ms + self._shortest_ms[point.waiting & self._unshown]
        if point.shown_ms:
            return min(due_ms, point.shown_ms + self._shortest_ms[point.waiting & self._shown])
        return due_ms

    def _final(self, point: PredictionPoint, number: int) -> Label:
        value = point.labels.get(number, self._rules[number].unanswered)
        sample = _sample(point, number)
        is_learned_now = sample is not None and not 1 << number & self._early
        return Label(point, number, value, BOTH if is_learned_now else MEASURE, sample)

    def _learned_early(self, point: PredictionPoint, number: int, value: float) -> list[Label]:
        sample = _sample(point, number) if 1 << number & self._early else None
        return [] if sample is None else [Label(point, number, value, LEARN, sample)]

    def _open(
        self, row: UserRow, opened: int, partition: int, offset: int, now_ms: int, subject: str, salt: int
    ) -> Opening:
        """Opens the targets whose bits are set in ``opened``."""
        targets = self._named(opened)
        if not opened:
            return Opening()
        if len(row.prediction_points) >= MAX_PREDICTION_POINTS:
            return Opening(targets, dropped=targets)
        place = uniform(partition, offset, salt)
        learns = self._mask(rate >= 1.0 or place < rate for rate in self._rates) & opened
        point = PredictionPoint(
            offset,
            now_ms,
            opened,
            subject if opened & self._with_subject else "",
            sample=LearningSample(learns) if learns else None,
        )
        row.prediction_points.append(point)
        early = [
            label
            for number in _numbers(learns & self._early & ~self._shown)
            for label in self._learned_early(point, number, 0.0)
        ]
        return Opening(targets, point, learned=early)

    def _named(self, numbers: int) -> Names:
        names = self._names.get(numbers)
        if names is None:
            names = self._names[numbers] = tuple(self._targets[number].name for number in _numbers(numbers))
        return names

    @staticmethod
    def _mask(flags: Iterable[bool]) -> int:
        return int_sum(1 << number for number, flag in enumerate(flags) if flag)


class _Shortest(dict[int, int]):
    """Shortest horizon of the targets whose bits are set, in milliseconds, computed when first asked for."""

    def __init__(self, horizons_ms: Sequence[int]) -> None:
        super().__init__()
        self._horizons_ms = horizons_ms

    def __missing__(self, numbers: int) -> int:
        shortest_ms = min([self._horizons_ms[number] for number in _numbers(numbers)], default=NEVER_MS)
        self[numbers] = shortest_ms
        return shortest_ms


def _sample(point: PredictionPoint, number: int) -> LearningSample | None:
    return point.sample if point.sample is not None and point.sample.targets >> number & 1 else None


def _numbers(bits: int) -> list[int]:
    """Returns the numbers of the bits that are set, in ascending order."""
    return [number for number in range(bits.bit_length()) if bits >> number & 1]
