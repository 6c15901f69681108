"""Behaviour: the fold per user. It keeps each shopper's recent past, predicts, decides, and joins what came of it.

Behaviour scores with the weights that it is given and never learns: a label that becomes final leaves as an
*experience*, with the probabilities that were served before the label existed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

import msgspec
import numpy as np

from streams.contract.errors import RejectedRecord
from streams.contract.events import KINDS, Event, decode_event, encode_event
from streams.contract.fold import Folded, PartitionRow, RowHeader, SourceRecord
from streams.contract.outputs import Output, dead_letter
from streams.contract.partitioning import partition_of
from streams.contract.records import BOTH, LEARN, MEASURE, event_ref
from streams.contract.rewards import REWARD_TYPES
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, Q_AGENT, USERS_CHANGELOG
from streams.core.admission import Admission
from streams.core.deciding import Decider, PendingDecision
from streams.core.experiences import Experiences
from streams.core.features.schema import WINDOWED, feature_schema
from streams.core.features.session import Session
from streams.core.features.windows import Windows
from streams.core.feedback import Feedback, Missed
from streams.core.labels import Labels
from streams.core.models.scoring import Scorers
from streams.core.policies.choice import deciding_policies
from streams.core.policies.experiment import RunningExperiment
from streams.core.policies.models import PolicyModels
from streams.core.policies.q_agent import session_state
from streams.core.predicting import PendingPrediction, Predictor
from streams.core.relating import Relating
from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import Context
from streams.core.row import (
    MAX_EVENT_IDS,
    ROW_SCHEMA,
    Moment,
    OpenDecision,
    OpenPrediction,
    Seen,
    Transition,
    UserRow,
    shopper_vector,
)
from streams.core.tallies import count_exposure, count_funnel
from streams.core.transitions import pay, settle, show

_WINDOWED: Final = {"view": 0, "search": 1, "add_to_cart": 2, "purchase": 3}
_SPEND: Final = 4
_NEVER_MS: Final = 1 << 62
_LEANING: Final = {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
_COUNTED: Final = {kind: f"kinds.{kind}" for kind in KINDS}
_PREDICTED: Final = frozenset({"view", "search", "add_to_cart", "remove_from_cart", "purchase"})

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode
_decode_row: Final = msgspec.msgpack.Decoder(UserRow).decode
_encode_row: Final = msgspec.msgpack.Encoder().encode


@dataclass
class BehaviourState:
    """A source partition in memory.

    Attributes:
        deadlines: Heap of ``(deadline_ms, key)``; an entry counts only if ``scheduled`` has it.
        due: The part of it that may fall due within the batch at hand.
        scheduled: Key to the deadline that it is in a heap for.
    """

    row: PartitionRow
    number: int
    deadlines: list[tuple[int, bytes]] = field(default_factory=list)
    due: list[tuple[int, bytes]] = field(default_factory=list)
    scheduled: dict[bytes, int] = field(default_factory=dict)


class BehaviourFold:
    """``(user rows, events) -> (user rows, predictions, recommendations, decisions, experiences, relations)``.

    Args:
        catalogue: The items feed.
        scorers: The targets' weights, from the models feed.
        models: What the policies have learned, from the models feed.

    Attributes:
        experiment: Who decides for whom, from the experiments feed.
    """

    source = CLICKSTREAM
    changelog = USERS_CHANGELOG
    schema = ROW_SCHEMA

    def __init__(self, settings: Settings, catalogue: Catalogue, scorers: Scorers, models: PolicyModels) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.scorers = scorers
        self.models = models
        self.policies = deciding_policies(settings.decisions)
        self.experiment = RunningExperiment(settings.decisions)
        self.windows = Windows(settings.windows)
        self.labels = Labels(settings.targets)
        self.lateness_ms = int(settings.time.allowed_lateness_s * 1000)
        self.admission = Admission(settings.admission, settings.time.ahead_tolerance_s)
        self.session_gap_ms = int(settings.time.session_gap_s * 1000)
        self.vector_bytes = 4 * len(feature_schema(settings.windows).names)

    def decode(self, record: SourceRecord, partition: int) -> Event:
        event = decode_event(record.value)
        self.admission.check(record, event)
        if event.user_id is None:
            return event
        key = event.user_id.encode()
        if record.key != key:
            raise RejectedRecord("wrong-key", "the record's key is not the event's user_id")
        if partition_of(key, self.settings.kafka.partitions) != partition:
            raise RejectedRecord("wrong-partition", f"murmur2 puts user {event.user_id!r} into another partition")
        return event

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> BehaviourState:
        state = BehaviourState(row, partition)
        for key, value in rows:
            if deadline_ms := _read_header(value).deadline_ms:
                state.scheduled[key] = deadline_ms
                heappush(state.deadlines, (deadline_ms, key))
        return state

    def keys(self, state: BehaviourState, events: Sequence[tuple[int, Event]]) -> Iterable[bytes]:
        latest_ms = max((event.timestamp_ms for _, event in events), default=-1)
        watermark_ms = max(state.row.watermark_ms, latest_ms - self.lateness_ms)
        while state.deadlines and state.deadlines[0][0] <= watermark_ms:
            deadline_ms, key = heappop(state.deadlines)
            if state.scheduled.get(key) == deadline_ms:
                heappush(state.due, (deadline_ms, key))
        users = {event.user_id.encode() for _, event in events if event.user_id is not None}
        return users.union(key for _, key in state.due)

    def fold(
        self, state: BehaviourState, events: Sequence[tuple[int, Event]], rows: dict[bytes, UserRow | None]
    ) -> Folded[UserRow]:
        batch = _Batch(self, state, rows)
        for offset, event in events:
            batch.advance(offset, event.timestamp_ms - self.lateness_ms)
            batch.apply(offset, event)
        return batch.finish()

    def decode_row(self, value: bytes) -> UserRow:
        return _decode_row(value)

    def encode_row(self, row: UserRow) -> bytes:
        return _encode_row(row)


class _Batch:
    """One batch of one partition on its way through the fold."""

    def __init__(self, fold: BehaviourFold, state: BehaviourState, rows: dict[bytes, UserRow | None]) -> None:
        self._fold = fold
        self._state = state
        self._partition = state.row
        self._rows = rows
        self._changed: dict[bytes, UserRow] = {}
        self._undecided: set[bytes] = set()
        self._feedback = Feedback(fold.settings.decisions, state.number)
        self._predictor = Predictor(fold.scorers)
        self._decider = Decider(fold.settings, state.number, fold.catalogue, fold.models, fold.policies)
        self._predictions: list[PendingPrediction] = []
        self._decisions: list[PendingDecision] = []
        self._walking: list[UserRow] = []
        self._outputs: list[Output] = []
        self._experiences = Experiences(fold.settings, state.number)
        self._relating = Relating(state.number, fold.settings.kafka.partitions)

    def advance(self, offset: int, watermark_ms: int) -> None:
        """Lets time pass: what falls due by then matures, triggered by the event at ``offset``."""
        if watermark_ms <= self._partition.watermark_ms:
            return
        self._partition.watermark_ms = watermark_ms
        due, scheduled = self._state.due, self._state.scheduled
        while due and due[0][0] <= watermark_ms:
            deadline_ms, key = heappop(due)
            row = self._rows[key]
            if scheduled.get(key) == deadline_ms and row is not None:
                del scheduled[key]
                # A row whose deadline has moved on waits for its turn, as it would after a restart.
                if row.deadline_ms == deadline_ms:
                    self._mature(offset, key, row)
                self._schedule(key, row)

    def apply(self, offset: int, event: Event) -> None:
        """Applies one event to its user's row, unless it is there already."""
        partition = self._partition
        if event.user_id is None:
            partition.count("applied")
            return
        key = event.user_id.encode()
        row = self._rows[key]
        if row is None:
            row = self._rows[key] = UserRow(rings=self._fold.windows.empty())
        if self._guarded(offset, row):
            # The row came out before a crash, the partition's did not: what the event itself says is counted here.
            partition.count("applied")
            partition.count(_COUNTED[event.kind])
            return
        row.guard = offset
        self._changed[key] = row
        if event.event_id in row.event_ids:
            partition.count("duplicates")
            return
        if refusal := self._fold.admission.admits(row, event, partition.watermark_ms):
            partition.count(f"dead_letters.{refusal.reason}")
            value = encode_event(event)[: self._fold.settings.engine.dead_letter_bytes]
            self._outputs.append(dead_letter(CLICKSTREAM, self._state.number, offset, key, value, refusal))
            return
        row.event_ids.append(event.event_id)
        del row.event_ids[:-MAX_EVENT_IDS]
        partition.count("applied")
        partition.count(_COUNTED[event.kind])
        late = event.timestamp_ms < partition.watermark_ms
        if late:
            partition.count("late")
        if event.kind == "impression":
            self._show(offset, key, row, event)
        elif event.kind == "click":
            self._click(offset, key, row, event)
        else:
            self._behave(offset, key, row, event, late=late)
        self._schedule(key, row)

    def finish(self) -> Folded[UserRow]:
        """Scores and decides what is left, and gathers the outputs."""
        self._complete()
        outputs = [*self._outputs, *self._experiences.outputs(), *self._relating.outputs()]
        for entry in self._state.due:
            heappush(self._state.deadlines, entry)
        self._state.due.clear()
        return Folded(outputs, self._changed)

    def _guarded(self, offset: int, row: UserRow) -> bool:
        return offset <= row.guard

    def _mature(self, offset: int, key: bytes, row: UserRow) -> None:
        """Takes out of a row what the watermark has passed: labels, rewards, the session's last step."""
        fold, watermark_ms = self._fold, self._partition.watermark_ms
        labelled = fold.labels.mature(row, watermark_ms)
        for moment, prediction in labelled:
            use = MEASURE if prediction.target in fold.labels.corrected else BOTH
            self._label(offset, moment, prediction, prediction.label, use)
        closed = self._feedback.mature(row, watermark_ms)
        for decision in closed:
            self._finish_decision(offset, row, decision)
        ended = self._ends(row) and row.session.last_ms + fold.session_gap_ms <= watermark_ms
        if ended:
            self._end_session(offset, key, row)
        if labelled or closed or ended:
            self._changed[key] = row

    def _label(
        self, offset: int, moment: Moment, prediction: OpenPrediction, label: float | None, use: int = LEARN
    ) -> None:
        """Sends an example, unless it has no label or its vector is of other windows than those in force."""
        if label is None:
            self._partition.count("unlabelled")
        elif moment.vector and len(moment.vector) != self._fold.vector_bytes:
            self._partition.count("outdated_vectors")
        else:
            weight = self._fold.labels.weights[prediction.target]
            self._experiences.add_label(offset, moment, prediction, label, weight, use)

    def _behave(self, offset: int, key: bytes, row: UserRow, event: Event, *, late: bool) -> None:
        """Applies what a shopper did of their own accord, and predicts and decides at it unless it is late."""
        fold, kind = self._fold, event.kind
        if event.timestamp_ms - row.session.last_ms > fold.session_gap_ms or (row.session.ended and not late):
            self._end_session(offset, key, row)
            row.session = Session(start_ms=event.timestamp_ms)
        for corrected in fold.labels.observe(row, event):
            self._label(offset, *corrected, 1.0)
        for name in self._feedback.behave(row, event):
            self._partition.count(name)
        if row.walk:
            pay(row.walk, fold.settings.decisions.q_rewards.get(kind, 0.0))
        previous_ms, now_ms = row.last_ms, max(row.last_ms, event.timestamp_ms)
        row.last_ms = now_ms
        self._sum(row, event, now_ms)
        before = self._remember(offset, row, event, now_ms)
        count_funnel(self._partition.tallies, kind, event.category)
        if late or kind not in _PREDICTED:
            return
        row.seen = Seen(kind, event.category, event.price, previous_ms, before)
        moment = fold.labels.open(row, self._state.number, offset, now_ms, event, self._partition.count)
        if moment is not None:
            for opened in moment.predictions:
                if opened.target in fold.labels.corrected and opened.deadline_ms:
                    self._label(offset, moment, opened, 0.0)
        ref = event_ref(CLICKSTREAM, self._state.number, offset)
        targets = fold.labels.predicted_at(event)
        self._predict(ref, key, event.timestamp_ms, targets, shopper_vector(row, row.seen), moment)
        if kind == "view":
            self._decide(ref, offset, key, row, event, now_ms)

    def _predict(
        self,
        ref: str,
        key: bytes,
        at_ms: int,
        targets: tuple[str, ...],
        vector: list[float],
        moment: Moment | None,
    ) -> None:
        """Has a shopper scored with the rest of the batch."""
        opened = tuple(moment.predictions) if moment else ()
        self._predictions.append(PendingPrediction(ref, key.decode(), at_ms, targets, vector, moment, opened))

    def _sum(self, row: UserRow, event: Event, now_ms: int) -> None:
        """Moves the windows to now and adds the event to their sums."""
        windows, kind = self._fold.windows, event.kind
        column = _WINDOWED.get(kind)
        if column is None:
            windows.slide(row.rings, now_ms)
        else:
            windows.add(row.rings, event.timestamp_ms, now_ms, column, 1)
        if kind == "purchase" and event.price is not None:
            windows.add(row.rings, event.timestamp_ms, now_ms, _SPEND, event.price * (event.quantity or 1))

    def _remember(self, offset: int, row: UserRow, event: Event, now_ms: int) -> int:
        """Updates session and affinities, and tells of the item; returns how often it had been looked at."""
        session, affinities, kind, item_id = row.session, row.affinities, event.kind, event.item_id
        session.last_ms = max(session.last_ms, event.timestamp_ms)
        session.events += 1
        session.last_kind = kind
        session.last_offset = offset
        before = 0
        if weight := _LEANING.get(kind):
            affinities.lean(now_ms, event.category, event.price, weight)
        if kind == "search":
            session.searches += 1
        elif kind == "view" and item_id is not None:
            session.views += 1
            before = affinities.look(item_id)
            self._relating.add(offset, event, item_id, kind, session.look(item_id))
        elif kind == "add_to_cart" and item_id is not None:
            session.carts += 1
            row.cart_ms = now_ms
            affinities.put_in_cart(item_id)
            self._relating.add(offset, event, item_id, kind, [])
        elif kind == "remove_from_cart" and item_id is not None:
            session.removals += 1
            affinities.take_from_cart(item_id)
        elif kind == "purchase" and item_id is not None:
            session.purchases += 1
            row.purchase_ms = now_ms
            affinities.take_from_cart(item_id)
            self._relating.add(offset, event, item_id, kind, session.buy(item_id))
        return before

    def _decide(self, ref: str, offset: int, key: bytes, row: UserRow, event: Event, now_ms: int) -> None:
        """Opens the decision that this view asks for; its slate is chosen with the rest of the batch."""
        fold, affinities = self._fold, row.affinities
        user_id = event.user_id or ""
        policy = fold.experiment.policy_of(user_id)
        decision, displaced = self._feedback.open(row, offset, now_ms, policy)
        if displaced is not None:
            self._partition.count("decisions_displaced")
            self._finish_decision(offset, row, displaced)
        context = Context(
            item_id=event.item_id,
            category=event.category,
            views=dict(affinities.items),
            cart_items=tuple(affinities.cart),
            session_items=row.session.items[::-1],
            category_shares=affinities.shares(),
            usual_log_price=affinities.log_price,
            timestamp_ms=now_ms,
        )
        state = session_state(row.session, bool(affinities.cart))
        pending = PendingDecision(ref, offset, user_id, policy, context, decision, state)
        if policy == Q_AGENT:
            pending.transition = Transition(offset, now_ms, pending.state)
            row.walk.append(pending.transition)
            self._walking.append(row)
        elif row.walk:
            # Shares have changed: what comes of another policy's decisions is no reward of the Q agent's.
            self._partition.count("walks_cut")
            row.walk = []
        self._decisions.append(pending)
        self._undecided.add(key)
        self._partition.count(f"decisions.{policy}")
        for shadow in fold.experiment.current.shadows:
            if shadow != policy:
                self._partition.count(f"shadows.{shadow}")

    def _finish_decision(self, offset: int, row: UserRow, decision: OpenDecision) -> None:
        """Hands on what a closed decision has earned; one that was never shown is no zero, and is dropped."""
        if decision.shown_ms:
            self._experiences.add_rewards(offset, decision, self._feedback.rewards(decision))
        else:
            self._partition.count("decisions_unshown")
            self._fold.labels.drop(row, decision.offset)

    def _show(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        """Joins an impression to its decision."""
        self._settle(key)
        joined = self._feedback.impression(row, event)
        if isinstance(joined, Missed):
            self._miss(joined, "impressions")
            return
        decision, seen = joined
        for started in self._fold.labels.shown(row, decision.offset, event.timestamp_ms):
            if started[1].target in self._fold.labels.corrected:
                self._label(offset, *started, 0.0)
        if step := show(row.walk, offset, decision.offset):
            self._experiences.add_steps([step])
        self._expose(row, decision.policy, impressions=len(seen))
        row.session.impressions += len(seen)
        for slot in seen:
            self._relating.add(offset, event, decision.items[slot], "impression", [])

    def _click(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        """Joins a click to its decision."""
        self._settle(key)
        joined = self._feedback.click(row, event)
        if isinstance(joined, Missed):
            self._miss(joined, "rewards.click")
            return
        decision, first = joined
        row.session.last_ms = max(row.session.last_ms, event.timestamp_ms)
        if not first:
            return
        for clicked in self._fold.labels.clicked(row, decision.offset, event.timestamp_ms):
            if clicked[1].target in self._fold.labels.corrected:
                self._label(offset, *clicked, 1.0)
        self._expose(row, decision.policy, clicks=1)
        self._partition.count("rewards.click")
        row.session.clicks += 1
        pay(row.walk, self._fold.settings.decisions.q_rewards.get("click", 0.0))
        self._relating.add(offset, event, event.item_id or "", "click", [])

    def _miss(self, why: Missed, what: str) -> None:
        self._partition.count(f"late_{what}" if why is Missed.LATE else "unjoinable")

    def _expose(self, row: UserRow, policy: str, impressions: int = 0, clicks: int = 0) -> None:
        if not impressions and not clicks:
            return
        exposure = row.exposures.setdefault(policy, [0, 0])
        count_exposure(self._partition.tallies, policy, exposure, impressions, clicks)

    def _settle(self, key: bytes) -> None:
        """Decides at once if feedback may answer a decision of this very batch, as when a crash is made good."""
        if key in self._undecided:
            self._complete()

    def _complete(self) -> None:
        """Scores and decides what is pending, all at once; a row's bits are the same in any batch."""
        if self._predictions:
            self._outputs += self._predictor.predict(self._predictions)
            self._predictions = []
        if self._decisions:
            self._outputs += self._decider.decide(self._decisions, self._fold.experiment.current.shadows)
            self._decisions = []
        for row in self._walking:
            self._experiences.add_steps(settle(row.walk))
        self._walking = []
        self._undecided.clear()

    def _ends(self, row: UserRow) -> bool:
        """Tells whether something waits for the end of a session."""
        unpredicted = bool(self._fold.labels.at_session_ends) and row.seen is not None and not row.session.ended
        return bool(row.walk) or unpredicted

    def _end_session(self, offset: int, key: bytes, row: UserRow) -> None:
        """Finishes the Q agent's walk, and predicts what is predicted at the end of a session."""
        if row.walk:
            self._experiences.add_walk(offset, row.walk)
            row.walk = []
        labels, session, seen = self._fold.labels, row.session, row.seen
        if not labels.at_session_ends or seen is None or session.ended:
            return
        session.ended = True
        ended_ms = session.last_ms + self._fold.session_gap_ms
        number = self._state.number
        moment = labels.open_session_end(row, number, session.last_offset, ended_ms, self._partition.count)
        ref = f"{event_ref(CLICKSTREAM, number, session.last_offset)}-end"
        self._predict(ref, key, ended_ms, labels.at_session_ends, shopper_vector(row, seen), moment)

    def _schedule(self, key: bytes, row: UserRow) -> None:
        """Sets the row's deadline to the earliest of what is open, and sees that it will be woken by then."""
        earliest_ms = row.session.last_ms + self._fold.session_gap_ms if self._ends(row) else _NEVER_MS
        for moment in row.moments:
            for open_ in moment.predictions:
                if 0 < open_.deadline_ms < earliest_ms:
                    earliest_ms = open_.deadline_ms
        for decision in row.decisions:
            earliest_ms = min(earliest_ms, decision.deadline_ms)
        row.deadline_ms = earliest_ms if earliest_ms < _NEVER_MS else 0
        scheduled = self._state.scheduled
        if earliest_ms < scheduled.get(key, _NEVER_MS):
            scheduled[key] = earliest_ms
            heappush(self._state.due, (earliest_ms, key))


def render_user(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values, for people."""
    row = _decode_row(value)
    names = feature_schema(row.rings).names
    return {
        "user_id": key.decode(),
        "guard": row.guard,
        "deadline_ms": row.deadline_ms,
        "last_ms": row.last_ms,
        "windows": {ring.name: dict(zip(WINDOWED, ring.totals, strict=True)) for ring in row.rings},
        "session": msgspec.structs.asdict(row.session),
        "affinities": msgspec.structs.asdict(row.affinities),
        "open_predictions": [
            {
                "opened_ms": moment.opened_ms,
                "features": dict(zip(names, np.frombuffer(moment.vector, np.float32).tolist(), strict=True)),
                "predictions": [msgspec.structs.asdict(prediction) for prediction in moment.predictions],
            }
            for moment in row.moments
        ],
        "open_decisions": [
            {
                "decision_id": decision.decision_id,
                "items": decision.items,
                "shown_ms": decision.shown_ms,
                "policy": decision.policy,
                "clicked": decision.clicked,
                "credits": [
                    {"slot": credit.slot, "type": REWARD_TYPES[credit.type], "value": credit.value}
                    for credit in decision.credits
                ],
            }
            for decision in row.decisions
        ],
        "exposures": row.exposures,
    }
