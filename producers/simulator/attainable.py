"""Best attainable quality of each target and click rate, given only what can be observed.

An observer who knows the items and how users in general behave, but nothing of a user or a session except its events,
predicts at every point at which the workers do (:mod:`producers.simulator.belief`). The labels follow from the later
events by the contract's rules. What such an observer does not reach, no model of the events can be asked for.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from producers.simulator.belief import Observer, SessionBelief
from producers.simulator.catalogue import shop_prices
from producers.simulator.delays import Forecast
from producers.simulator.ground_truth import ClickContext, click_probabilities
from producers.simulator.journal import Entry, History, Journal, Slots
from producers.simulator.optimum import Look, best_expected_clicks
from producers.simulator.outlook import Outlook
from producers.simulator.plan import PAUSE_MS, Step
from producers.simulator.population import Floats, Population, draw_other_users
from producers.simulator.quality import AttainableAmount, AttainableProbability, amount_quality, probability_quality
from streams.contract.event_kinds import PREDICTED
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.settings import Target

_PARTICLES: Final = 300
_LOOKS: Final = 300
_DRAWS: Final = 32


class AttainableClickRate(msgspec.Struct, frozen=True, kw_only=True):
    """True click rates of slates at the same views, with as many slots.

    Attributes:
        slates: Number of slates.
        shown_ctr: Of those that were shown.
        attainable_ctr: Of those that the observer chooses of the whole shop.
        best_ctr: Of the best ones, which nobody can choose who does not know what is hidden.
    """

    slates: int
    shown_ctr: float
    attainable_ctr: float
    best_ctr: float


class Attainable(msgspec.Struct, frozen=True, kw_only=True):
    """Best attainable quality.

    Attributes:
        users: Users whose events were taken.
        targets: Name to quality, for targets with labels 0 and 1.
        amounts: The same for amounts.
        click_rate: ``None`` if no slate was shown.
    """

    users: int
    targets: dict[str, AttainableProbability]
    amounts: dict[str, AttainableAmount]
    click_rate: AttainableClickRate | None


class _Example(NamedTuple):
    target: str
    given: float
    label: float


def measure_attainable(
    journal: Journal,
    population: Population,
    targets: Sequence[Target],
    complete_until_ms: int,
    *,
    n_particles: int = _PARTICLES,
    is_informed: bool = False,
) -> Attainable:
    """Measures an observer's predictions on a journal.

    Predictions whose horizon ends after ``complete_until_ms`` are left out. So are targets that it does not predict:
    those of other rules, and of other kinds of events.

    Args:
        is_informed: Whether the observer knows what is hidden: the user, and the session's intent.
    """
    histories = list(journal.histories())
    examiner = _Examiner(population, targets, histories, complete_until_ms, n_particles, is_informed=is_informed)
    examples: dict[str, list[tuple[float, float]]] = {}
    for user, history in histories:
        for example in examiner.examples(user, history):
            examples.setdefault(example.target, []).append((example.given, example.label))
    columns = {name: np.array(found).T for name, found in examples.items()}
    is_amount = {target.name: RULES[target.rule].is_amount for target in targets}
    return Attainable(
        users=len(histories),
        targets={name: probability_quality(*each) for name, each in columns.items() if not is_amount[name]},
        amounts={name: amount_quality(*each) for name, each in columns.items() if is_amount[name]},
        click_rate=examiner.click_rate(),
    )


class _Examiner:
    """Makes an observer's predictions, with their labels, and chooses slates."""

    def __init__(
        self,
        population: Population,
        targets: Sequence[Target],
        histories: Sequence[tuple[int, History]],
        complete_until_ms: int,
        n_particles: int,
        *,
        is_informed: bool,
    ) -> None:
        self._population = population
        self._targets = [
            (target, Forecast(target.horizon_s, is_purchase=target.label != "add_to_cart"))
            for target in targets
            if target.rule == "spend" or (target.rule == "event" and target.label in {"purchase", "add_to_cart"})
        ]
        self._click_targets = [target for target in targets if target.rule == "event" and target.label == "click"]
        self._prices = shop_prices(population)
        self._returning = _Returning(histories, self._prices)
        self._complete_until_ms = complete_until_ms
        self._is_informed = is_informed
        self._rng = np.random.default_rng([0, 0])
        self._looks = self._choose_looks(histories)
        particles = draw_other_users(population, n_particles, np.random.default_rng([0, 1]))
        self._observer = Observer(particles, _clicked_share(histories), Forecast(1.0, is_purchase=False))
        self._clicks: list[tuple[int, float, float, float]] = []

    def examples(self, user: int, history: History) -> Iterator[_Example]:
        """Yields the predictions for one user; notes the clicks on the chosen slates."""
        observer = self._observer
        if self._is_informed:
            observer = observer._replace(population=_only(self._population, user))
        log_weights = np.zeros(observer.n_particles)
        beliefs: dict[int, SessionBelief] = {}
        latest: SessionBelief | None = None
        for place, entry in enumerate(history.entries):
            step = entry.step
            belief = beliefs.get(entry.session)
            if belief is None:
                log_weights = log_weights if latest is None else latest.log_weights()
                belief = SessionBelief(observer, log_weights, entry.is_buying if self._is_informed else None)
                latest = beliefs[entry.session] = belief
            if step.kind == "impression":
                slots = history.slates.get(step.decision_id or "", ())
                if slots:
                    yield from self._show(user, history.entries, place, belief, slots)
                continue
            belief.observe(step)
            if step.kind in PREDICTED:
                yield from self._predict(history.entries, place, belief.outlook(step.timestamp_ms / 1000.0))

    def click_rate(self) -> AttainableClickRate | None:
        """Returns the true click rates of the slates that were looked at."""
        if not self._clicks:
            return None
        n_slots, shown, attainable, best = np.array(self._clicks).sum(axis=0).tolist()
        return AttainableClickRate(
            slates=len(self._clicks),
            shown_ctr=shown / n_slots,
            attainable_ctr=attainable / n_slots,
            best_ctr=best / n_slots,
        )

    def _choose_looks(self, histories: Sequence[tuple[int, History]]) -> set[str]:
        decisions = [decision for _, history in histories for decision in history.slates]
        chosen = self._rng.permutation(len(decisions))[:_LOOKS]
        return {decisions[place] for place in chosen.tolist()}

    def _predict(self, entries: Sequence[Entry], place: int, outlook: Outlook) -> Iterator[_Example]:
        at_ms = entries[place].step.timestamp_ms
        purchases: dict[int, tuple[float, float]] = {}
        for target, forecast in self._targets:
            if at_ms + 1000 * target.horizon_s > self._complete_until_ms:
                continue
            if target.label == "add_to_cart":
                soon = outlook.cart_probability(forecast)
            else:
                if target.horizon_s not in purchases:
                    purchases[target.horizon_s] = outlook.purchases(forecast, self._prices)
                soon, spend = purchases[target.horizon_s]
            if target.rule == "spend":
                given = spend + self._returning.spend(target.horizon_s)
            else:
                given = 1.0 - (1.0 - soon) * (1.0 - self._returning.probability(target))
            yield _Example(target.name, given, self._label(target, entries, place))

    def _label(self, target: Target, entries: Sequence[Entry], place: int) -> float:
        """Applies the target's rule to the later events of the user, which are in the order of time."""
        rule = RULES[target.rule]
        label = rule.unanswered
        opened_ms = entries[place].step.timestamp_ms
        for entry in itertools.islice(entries, place + 1, None):
            step = entry.step
            if step.timestamp_ms > opened_ms + 1000 * target.horizon_s:
                break
            if step.timestamp_ms > opened_ms and rule.heeds(target, step.kind):
                price = float(self._prices[step.item])
                event = Event(event_id="-", timestamp_ms=step.timestamp_ms, kind=step.kind, price=price)
                label = rule.answer(target, label, "", event)
        return label or 0.0

    def _show(
        self, user: int, entries: Sequence[Entry], place: int, belief: SessionBelief, slots: Slots
    ) -> Iterator[_Example]:
        step = entries[place].step
        outlook = belief.outlook(step.timestamp_ms / 1000.0)
        probabilities = belief.click_probabilities(step.item, slots)
        for target in self._click_targets:
            until_ms = step.timestamp_ms + 1000 * target.horizon_s
            if until_ms <= self._complete_until_ms:
                later = (entry.step for entry in itertools.islice(entries, place + 1, None))
                clicks = (each for each in later if each.kind == "click" and each.decision_id == step.decision_id)
                label = any(click.timestamp_ms <= until_ms for click in clicks)
                yield _Example(target.name, outlook.click_probability(probabilities), float(label))
        if step.decision_id in self._looks:
            believed = belief.slate_probabilities(outlook.weights, step.item, self._rng, _DRAWS)
            believed[step.item] = 0.0
            chosen = list(enumerate(np.argsort(-believed)[: len(slots)].tolist()))
            context = ClickContext(step.item, belief.seen, entries[place].is_buying)
            best = best_expected_clicks(self._population, [Look(user, context, len(slots))])[0]
            shown, attained = (self._expected_clicks(user, context, each) for each in (slots, chosen))
            self._clicks.append((len(slots), shown, attained, best))
        belief.show(step, slots, probabilities)

    def _expected_clicks(self, user: int, context: ClickContext, slots: Slots) -> float:
        """Sums the true click probabilities of a slate."""
        items = np.array([item for _, item in slots], np.int64)
        probabilities = click_probabilities(
            self._population,
            np.array([user]),
            items,
            np.array([slot for slot, _ in slots], np.int64),
            np.array([context.viewed_item]),
            np.array([item in context.seen for _, item in slots], bool),
            np.array([context.is_buying]),
        )
        return float(probabilities.sum())


class _Returning:
    """What is expected of a further session within a horizon, from the mean over all users and time."""

    def __init__(self, histories: Sequence[tuple[int, History]], prices: Floats) -> None:
        by_session: dict[int, list[Step]] = {}
        times_ms = [0, 0]
        for _, history in histories:
            for session, _, step in history.entries:
                by_session.setdefault(session, []).append(step)
            times_ms += [history.entries[0].step.timestamp_ms, history.entries[-1].step.timestamp_ms]
        span_s = (max(times_ms[2:], default=0) - min(times_ms[2:], default=0)) / 1000.0
        self._sessions_per_s = len(by_session) / max(len(histories) * span_s, 1.0)
        sessions = list(by_session.values())
        n_sessions = max(len(sessions), 1)
        self._shares = {
            kind: sum(any(step.kind == kind for step in steps) for steps in sessions) / n_sessions
            for kind in ("purchase", "add_to_cart")
        }
        bought = [step.item for steps in sessions for step in steps if step.kind == "purchase"]
        self._spend = float(prices[bought].sum()) / n_sessions

    def probability(self, target: Target) -> float:
        """Returns the probability of the target's event in a further session."""
        return self._sessions(target.horizon_s) * self._shares[target.label or ""]

    def spend(self, horizon_s: float) -> float:
        """Returns what is expected to be spent in a further session."""
        return self._sessions(horizon_s) * self._spend

    def _sessions(self, horizon_s: float) -> float:
        return self._sessions_per_s * max(0.0, horizon_s - PAUSE_MS / 1000.0)


def _only(population: Population, user: int) -> Population:
    """Returns a population of one user."""
    names = [name for name in population.__struct_fields__ if name.startswith("user_")]
    return msgspec.structs.replace(population, **{name: getattr(population, name)[[user]] for name in names})


def _clicked_share(histories: Sequence[tuple[int, History]]) -> float:
    """Returns the share of the views' slates with a click."""
    steps = [entry.step for _, history in histories for entry in history.entries]
    clicked = {step.decision_id for step in steps if step.kind == "click"}
    return len(clicked) / max(sum(step.kind == "view" for step in steps), 1)
