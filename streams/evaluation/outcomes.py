"""Outcomes of served predictions, from a recorded clickstream alone: no fold, row or example takes part in them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.partitioning import partition_of
from streams.contract.records import Prediction, event_ref
from streams.contract.settings import Settings, Target
from streams.contract.topics import CLICKSTREAM

Log = Mapping[int, Sequence[Event]]
"""Events of each partition of the clickstream, in the order of their offsets, from the first one on."""

_FEEDBACK: Final = frozenset({"impression", "click", "tick"})
_END: Final = "-end"


class Outcomes(NamedTuple):
    """Predictions of one target in the order of their times, arrays ``(n,)``.

    Attributes:
        users: A number for each user.
        times_ms: Times of prediction.
        served: Probabilities or amounts.
        labels: NaN where there was none within the horizon, and none is implied.
        versions: Versions of the models that served; 0 is the prior.
        first: Whether it was made at the first event of a session.
        new: Whether it was made in the user's first session.
        since_s: Seconds since the user's event before; infinite if there was none.
    """

    users: Int64Array
    times_ms: Int64Array
    served: Float64Array
    labels: Float64Array
    versions: Int64Array
    first: BoolArray
    new: BoolArray
    since_s: Float64Array

    def where(self, rows: "BoolArray | Int64Array") -> "Outcomes":
        """Returns some of the predictions, in their order."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields})


class _Moment(NamedTuple):
    """An event of a user's own, as of its place in the user's sessions."""

    event: Event
    session: int
    first: bool
    since_s: float


class _Slate(NamedTuple):
    shown_ms: int
    clicks_ms: list[int]


def partitioned(events: Iterable[Event], n_partitions: int) -> Log:
    """Distributes the events of users over partitions as producers do."""
    log: dict[int, list[Event]] = {number: [] for number in range(n_partitions)}
    for event in events:
        log[partition_of((event.user_id or "").encode(), n_partitions)].append(event)
    return log


def outcomes_of(log: Log, predictions: Iterable[Prediction], settings: Settings) -> dict[str, Outcomes]:
    """Finds the label of every prediction; the events of a user must be in the order of their times.

    Returns:
        By target, of those that were predicted at all.
    """
    moments, users, slates = _read(log, settings.time.session_gap_s * 1000.0, settings.decisions.impression_window_s)
    answers = {target.name: _answers(users, target) for target in settings.targets}
    numbers = {user: number for number, user in enumerate(users)}
    rows: dict[str, list[tuple[float, ...]]] = {target.name: [] for target in settings.targets}
    for prediction in predictions:
        ref, is_end = prediction.event_ref.removesuffix(_END), prediction.event_ref.endswith(_END)
        moment = moments[ref]
        for target in settings.targets:
            given = prediction.probabilities.get(target.name, prediction.amounts.get(target.name))
            if given is None:
                continue
            if target.label == "click":
                label = _click_label(target, slates.get(ref))
            else:
                label = _label(target, answers[target.name].get(prediction.user_id), moment, prediction.timestamp_ms)
            version = prediction.model_versions[target.name]
            is_first = moment.first and not is_end
            place = (numbers[prediction.user_id], prediction.timestamp_ms)
            rows[target.name].append((*place, given, label, version, is_first, moment.session == 0, moment.since_s))
    return {name: _columns(entries) for name, entries in rows.items() if entries}


def _read(
    log: Log, gap_ms: float, impression_window_s: int
) -> tuple[dict[str, _Moment], dict[str, list[Event]], dict[str, _Slate]]:
    """Returns events by reference, each user's own events, and what became of each decision by its event."""
    moments: dict[str, _Moment] = {}
    users: dict[str, list[Event]] = {}
    slates: dict[str, _Slate] = {}
    sessions: dict[str, int] = {}
    active_ms: dict[str, int] = {}
    for partition, events in log.items():
        for offset, event in enumerate(events):
            user, at_ms = event.user_id or "", event.timestamp_ms
            if event.kind in _FEEDBACK:
                ref = (event.decision_id or "").rpartition(".")[0]
                decided = moments.get(ref)
                if decided is None or decided.event.user_id != user:
                    continue
                if event.kind == "impression" and at_ms <= decided.event.timestamp_ms + 1000 * impression_window_s:
                    slates.setdefault(ref, _Slate(at_ms, []))
                elif event.kind == "click" and ref in slates:
                    slates[ref].clicks_ms.append(at_ms)
                    active_ms[user] = max(active_ms[user], at_ms)
                continue
            own = users.setdefault(user, [])
            is_first = not own or at_ms - active_ms[user] > gap_ms
            sessions[user] = sessions.get(user, -1) + is_first
            since_s = (at_ms - own[-1].timestamp_ms) / 1000.0 if own else float("inf")
            moments[event_ref(CLICKSTREAM, partition, offset)] = _Moment(event, sessions[user], is_first, since_s)
            own.append(event)
            active_ms[user] = max(active_ms.get(user, 0), at_ms)
    return moments, users, slates


def _answers(users: Mapping[str, Sequence[Event]], target: Target) -> dict[str, tuple[list[int], list[Event]]]:
    """Returns each user's events that can change the target's labels, with their times."""
    heeds = RULES[target.rule].heeds
    own = {user: [event for event in events if heeds(target, event.kind)] for user, events in users.items()}
    return {user: ([event.timestamp_ms for event in events], events) for user, events in own.items() if events}


def _label(target: Target, answers: tuple[list[int], list[Event]] | None, moment: _Moment, opened_ms: int) -> float:
    rule = RULES[target.rule]
    label = rule.unanswered
    if answers is not None:
        times_ms, events = answers
        begin, end = bisect_right(times_ms, opened_ms), bisect_right(times_ms, opened_ms + 1000 * target.horizon_s)
        for event in events[begin:end]:
            label = rule.answer(target, label, moment.event.category or "", event)
    return float("nan") if label is None else label


def _click_label(target: Target, slate: _Slate | None) -> float:
    if slate is None:
        return float("nan")
    return float(bisect_left(sorted(slate.clicks_ms), slate.shown_ms + 1000 * target.horizon_s + 1) > 0)


def _columns(rows: Sequence[tuple[float, ...]]) -> Outcomes:
    users, times_ms, served, labels, versions, first, new, since_s = zip(*rows, strict=True)
    columns = Outcomes(
        np.array(users, np.int64),
        np.array(times_ms, np.int64),
        np.array(served, np.float64),
        np.array(labels, np.float64),
        np.array(versions, np.int64),
        np.array(first, np.bool_),
        np.array(new, np.bool_),
        np.array(since_s, np.float64),
    )
    return columns.where(np.argsort(columns.times_ms, kind="stable"))
