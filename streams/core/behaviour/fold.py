"""Behaviour, the fold per user: keeps each shopper's recent past, predicts, decides, and attributes feedback.

Behaviour scores with the weights that it is given and never learns: a label that becomes final leaves as an
*example*, with the probabilities that were served before the label existed.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.event_kinds import EVENT_KINDS, PREDICTED
from streams.contract.events import Event, decode_event, encode_event
from streams.contract.fold import LOG_APPEND_TIME, DueCursor, FoldResult, PartitionRow, RowHeader, SourceRecord
from streams.contract.outputs import Output, dead_letter
from streams.contract.partitioning import partition_of
from streams.contract.records import LEARN, MEASURE, event_ref
from streams.contract.settings import Settings
from streams.contract.source_epoch import plain_offset
from streams.contract.topics import CLICKSTREAM, Q_AGENT, USERS_CHANGELOG
from streams.core.behaviour.admission import Admission
from streams.core.behaviour.attribution import EARNED_BY, Attribution, JoinFailure
from streams.core.behaviour.deadlines import NEVER_MS, Deadlines, Entry, end_of
from streams.core.behaviour.decider import Decider
from streams.core.behaviour.examples import ExampleEncoder, Labelled, Outcomes, Rewarded
from streams.core.behaviour.exclusions import Exclusions
from streams.core.behaviour.item_signals import ItemSignals
from streams.core.behaviour.labels import Label, Labels, Opening
from streams.core.behaviour.predictor import PredictionRequest, predict
from streams.core.behaviour.recent_ids import id_hash, is_recent, with_id, without_old
from streams.core.behaviour.row import (
    USER_ROWS,
    LastEvent,
    LearningSample,
    OpenDecision,
    PredictionPoint,
    Transition,
    UserRow,
    shopper_context,
)
from streams.core.behaviour.slate_choices import DecisionRequest
from streams.core.behaviour.state_update import update_state
from streams.core.behaviour.tallies import SlotStep, count_exposure, count_funnel, count_sale, count_slots
from streams.core.behaviour.transitions import EndedSession, credit, resolve, show
from streams.core.behaviour.watermark import JUMP_MS, TimedEvent, Watermark, watermark_of
from streams.core.experiments.assignment import RunningExperiment
from streams.core.features.schema import feature_schema
from streams.core.features.session import Session
from streams.core.features.vector import feature_vector, with_slate
from streams.core.features.windows import Windows
from streams.core.models.scoring import Scorers
from streams.core.policies.choice import deciding_policies
from streams.core.policies.q_agent import session_state
from streams.core.policies.reward_models import PolicyModels
from streams.core.policies.slate_features import SLOT_PACKING, slot_sources
from streams.core.retrieval.context import decision_context
from streams.core.retrieval.item_table import ItemTable

_COUNTED: Final = {kind: f"kinds.{kind}" for kind in EVENT_KINDS}

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode


@dataclass
class BehaviourState:
    """A source partition in memory: its row, the deadlines of its users' rows, and the parts that know its number."""

    row: PartitionRow
    number: int
    deadlines: Deadlines
    attribution: Attribution
    decider: Decider


class BehaviourFold:
    """``(user rows, events) -> (user rows, predictions, recommendations, decisions, examples, signals)``.

    Args:
        item_table: The items global table.
        scorers: The targets' weights, from the models global table.
        models: What the policies have learned, from the models global table.

    Attributes:
        experiment: Who decides for whom, from the experiments global table.
    """

    source = CLICKSTREAM
    changelog = USERS_CHANGELOG
    schema, oldest_schema = USER_ROWS.schema, USER_ROWS.oldest

    def __init__(self, settings: Settings, item_table: ItemTable, scorers: Scorers, models: PolicyModels) -> None:
        self.settings = settings
        self.item_table = item_table
        self.scorers = scorers
        self.models = models
        self.policies = deciding_policies(settings.decisions)
        self.experiment = RunningExperiment(settings.decisions)
        self.windows = Windows(settings.windows)
        self.labels = Labels(settings.targets, settings.decisions.at)
        self.examples = ExampleEncoder(settings)
        self.lateness_ms = int(settings.time.allowed_lateness_s * 1000)
        self.admission = Admission(settings.admission, settings.time.ahead_tolerance_s)
        self.exclusions = Exclusions(settings.decisions.rules)
        self.retry_window_s = settings.admission.retry_window_s
        self.session_gap_ms = int(settings.time.session_gap_s * 1000)
        self.vector_bytes = 4 * len(feature_schema(settings.windows).names)

    def decode(self, record: SourceRecord, partition: int) -> TimedEvent:
        event = decode_event(record.value)
        self.admission.check(record, event)
        if event.kind == "decide" and "decide" not in self.settings.decisions.at:
            raise RejectedRecord("unanswered", "decisions.at does not have decide: no decision is made at it")
        timed = self._timed(record, event)
        if event.user_id is None:
            return timed
        key = event.user_id.encode()
        if record.key != key:
            raise RejectedRecord("wrong-key", "the record's key is not the event's user_id")
        if partition_of(key, self.settings.kafka.partitions) != partition:
            raise RejectedRecord("wrong-partition", f"murmur2 puts user {event.user_id!r} into another partition")
        return timed

    def _timed(self, record: SourceRecord, event: Event) -> TimedEvent:
        """Bounds an event's time by the broker's clock, where that made the record's timestamp."""
        if record.timestamp_type != LOG_APPEND_TIME or record.timestamp < 0:
            return TimedEvent(event)
        if event.timestamp_ms > record.timestamp:
            bounded = msgspec.structs.replace(event, timestamp_ms=record.timestamp)
            return TimedEvent(bounded, is_confirmed=True, is_clamped=True)
        return TimedEvent(event, is_confirmed=record.timestamp - event.timestamp_ms <= self.lateness_ms)

    def _watermark(self, row: PartitionRow) -> Watermark:
        return watermark_of(row, self.lateness_ms, self.settings.time.confirming_users)

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> BehaviourState:
        deadlines = Deadlines((key, _read_header(value).deadline_ms) for key, value in rows)
        attribution = Attribution(self.settings.decisions, partition)
        decider = Decider(self.settings, partition, self.item_table, self.models, self.policies)
        return BehaviourState(row, partition, deadlines, attribution, decider)

    def keys(self, state: BehaviourState, events: Sequence[tuple[int, TimedEvent]]) -> Iterable[bytes]:
        # What one wild event would make due by itself is not loaded.
        watermark, deadlines = self._watermark(state.row), state.deadlines
        limit = self.settings.engine.batch_due_rows
        deadlines.begin(state.row.watermark_ms if state.row.due_cursor is None else -1)
        users: set[bytes] = set()
        for _, timed in events:
            if not deadlines.take(watermark.advance(timed), limit):
                break
            if timed.event.user_id is not None:
                users.add(timed.event.user_id.encode())
        return users.union(deadlines.taken())

    def fold(
        self, state: BehaviourState, events: Sequence[tuple[int, TimedEvent]], rows: dict[bytes, UserRow | None]
    ) -> FoldResult[UserRow]:
        """Applies the events before the first that makes more rows due than were taken.

        If that is the very first, a slice of those rows matures, and the event stays for a later batch. Until then a
        repeated advance of the watermark by it changes nothing.
        """
        batch, watermark = _Batch(self, state, rows), self._watermark(state.row)
        n_applied = 0
        for offset, timed in events:
            reached_ms = watermark.advance(timed)
            if reached_ms > state.deadlines.taken_ms:
                if not n_applied:
                    batch.mature_slice(offset, reached_ms)
                break
            batch.advance(offset, reached_ms)
            batch.apply(offset, timed.event)
            if timed.is_clamped:
                state.row.count("clock_ahead")
            n_applied += 1
        state.row.latest = watermark.latest
        return batch.finish()._replace(n_left=len(events) - n_applied)

    def decode_row(self, value: bytes) -> UserRow:
        return USER_ROWS.decode(value)

    def encode_row(self, row: UserRow) -> bytes:
        return USER_ROWS.encode(row)


class _Prediction(NamedTuple):
    """A prediction that the batch has yet to make.

    Attributes:
        event: The shopper's last event with a prediction; this batch may still decide its slate.
        point: In the shopper's row; ``None`` where nothing waits for a label.
    """

    request: PredictionRequest
    event: LastEvent
    point: PredictionPoint | None

    def after_deciding(self) -> PredictionRequest:
        """Returns the request with the slate in its vector, also at the end of a session of the same batch."""
        request, score = self.request, self.event.slate_score
        return request if score is None else request._replace(vector=with_slate(request.vector, score))


class _Decision(NamedTuple):
    """A decision that the batch has yet to make.

    Attributes:
        decision: In the shopper's row.
        asked_at: The event that it answers, in the shopper's row unless another has taken its place; ``None`` where
            nothing is predicted.
        transition: The Q agent's that may begin with it.
    """

    request: DecisionRequest
    row: UserRow
    decision: OpenDecision
    asked_at: LastEvent | None
    transition: Transition | None


class _Batch:
    """One batch of one partition. Its methods stand in the order in which an event passes through them.

    Time passes (1), the event is admitted (2) and applied to its shopper's row (3, or 4 where it is feedback), which
    opens a prediction point (5) and a decision (6). Predictions and decisions are made for the whole batch at once (7);
    only then are the examples encoded (8).
    """

    def __init__(self, fold: BehaviourFold, state: BehaviourState, rows: dict[bytes, UserRow | None]) -> None:
        self._fold = fold
        self._state = state
        self._number = state.number
        self._partition = state.row
        self._begun_at = state.row.due_cursor
        self._slice: tuple[int, Entry] | None = None
        self._deadlines = state.deadlines
        self._rows = rows
        self._changed: dict[bytes, UserRow] = {}
        self._attribution = state.attribution
        self._decider = state.decider
        self._predictions: list[_Prediction] = []
        self._decisions: list[_Decision] = []
        self._undecided: set[bytes] = set()
        self._dead_letters: list[Output] = []
        self._published: list[Output] = []
        self._outcomes = Outcomes()
        self._source_id = state.row.identity.topic_ids.get(CLICKSTREAM, "")
        self._item_signals = ItemSignals(state.number, fold.settings.kafka.partitions, self._source_id)

    # 1. Time passes: what falls due leaves the rows.

    def advance(self, offset: int, watermark_ms: int) -> None:
        """Advances the watermark, caused by the event at ``offset``; what falls due by then is final."""
        if watermark_ms <= self._partition.watermark_ms and self._partition.due_cursor is None:
            return
        self._mature_due(offset, watermark_ms, end_of(watermark_ms))
        self._partition.due_cursor = None

    def mature_slice(self, offset: int, watermark_ms: int) -> None:
        """Advances the watermark, and makes final what was taken of all that falls due by then."""
        before = self._deadlines.first_left()
        self._mature_due(offset, watermark_ms, before)
        self._slice = offset, before

    def _mature_due(self, offset: int, watermark_ms: int, before: Entry) -> None:
        if (cursor := self._partition.due_cursor) is not None:
            self._mature_again(cursor)
        reached_ms = self._partition.watermark_ms
        if reached_ms >= 0 and watermark_ms - reached_ms > JUMP_MS:
            self._partition.count("watermark_jumps")
        self._partition.watermark_ms = watermark_ms
        self._mature_before(offset, before)

    def _mature_again(self, cursor: DueCursor) -> None:
        """Matures the rows of earlier slices that a crash cut off; what comes of them was counted and delivered."""
        row = deepcopy(self._partition)
        row.due_cursor = None
        again = _Batch(self._fold, replace(self._state, row=row), self._rows)
        again._mature_before(cursor.offset, (cursor.deadline_ms, cursor.key))
        again._make()
        self._changed |= again._changed

    def _mature_before(self, offset: int, before: Entry) -> None:
        while due := self._deadlines.pop(before):
            deadline_ms, key = due
            row = self._rows[key]
            if row is None:
                continue
            # A row whose deadline has moved on waits for its turn, as it would after a restart.
            if row.deadline_ms == deadline_ms:
                self._mature(offset, key, row)
            self._schedule(key, row)

    def _mature(self, offset: int, key: bytes, row: UserRow) -> None:
        """Takes final labels, final rewards and the session's end out of a row."""
        watermark_ms = self._partition.watermark_ms
        labels = self._fold.labels.mature(row, watermark_ms)
        self._learn(offset, key, labels)
        closed = self._attribution.mature(row, watermark_ms)
        for decision in closed:
            self._close(offset, row, decision)
        ended = self._waits_for_session_end(row) and row.session.last_ms + self._fold.session_gap_ms <= watermark_ms
        if ended:
            self._end_session(offset, key, row)
        if labels or closed or ended:
            row.recent_ids = without_old(row.recent_ids, watermark_ms, self._fold.retry_window_s)
            self._changed[key] = row

    def _learn(self, offset: int, key: bytes, labels: Sequence[Label]) -> None:
        """Keeps labels for the examples; one that is missing, or whose vector is of other windows, is counted."""
        for label in labels:
            if label.value is None:
                self._partition.count("unlabelled")
            elif label.sample is None or self._is_current(label.sample):
                self._outcomes.labelled.append(Labelled(offset, key, label))
            else:
                self._partition.count("outdated_vectors")
                if label.use != LEARN:
                    measured = label._replace(use=MEASURE, sample=None)
                    self._outcomes.labelled.append(Labelled(offset, key, measured))

    def _is_current(self, sample: LearningSample) -> bool:
        """Tells whether a vector, if it was made already, is of the windows of the settings."""
        return not sample.vector or len(sample.vector) == self._fold.vector_bytes

    def _close(self, offset: int, row: UserRow, decision: OpenDecision) -> None:
        """Keeps a closed decision's rewards for the examples; one that was never shown is no zero, and is dropped."""
        if decision.shown_ms:
            vectors = SLOT_PACKING.unpack(decision.features).tobytes()
            unpacked = msgspec.structs.replace(decision, features=vectors)
            self._outcomes.rewarded.append(Rewarded(offset, unpacked, self._attribution.rewards(decision)))
        else:
            self._partition.count("decisions_unshown")
            self._fold.labels.drop(row, decision.offset)

    def _waits_for_session_end(self, row: UserRow) -> bool:
        if row.open_transitions:
            return True
        if not self._fold.labels.at_session_ends or row.last_event is None:
            return False
        return row.session.events > 0 and not row.session.ended

    def _end_session(self, offset: int, key: bytes, row: UserRow) -> None:
        """Ends the Q agent's transitions, and opens what is predicted at the end of a session."""
        if row.open_transitions:
            self._outcomes.transitions.append(EndedSession(offset, row.open_transitions))
            row.open_transitions = []
        labels, session, last_event, number = self._fold.labels, row.session, row.last_event, self._number
        if not labels.at_session_ends or last_event is None or not session.events or session.ended:
            return
        session.ended = True
        ended_ms = session.last_ms + self._fold.session_gap_ms
        opening = labels.open_session_end(row, number, session.last_offset, ended_ms)
        ref = f"{event_ref(CLICKSTREAM, number, session.last_offset)}-end"
        vector = feature_vector(row, last_event)
        self._predict(PredictionRequest(ref, key, ended_ms, opening.targets, vector), last_event, opening)

    # 2. An event is admitted, or counted as a duplicate or refused.

    def apply(self, offset: int, event: Event) -> None:
        """Applies one event to its user's row, unless it is there already."""
        partition, kind = self._partition, event.kind
        if event.user_id is None:
            partition.count("applied")
            return
        key = event.user_id.encode()
        row = self._rows[key]
        if row is None:
            row = self._rows[key] = UserRow(rings=self._fold.windows.empty())
        if self._is_applied(offset, row):
            # The row came out before a crash, the partition's did not: what the event itself says is counted here.
            partition.count("applied")
            partition.count(_COUNTED[kind])
            return
        row.applied_offset = offset
        self._changed[key] = row
        hashed = id_hash(event.event_id)
        if is_recent(row.recent_ids, hashed):
            partition.count("duplicates")
            return
        if refusal := self._fold.admission.admits(row, event, partition.watermark_ms):
            self._refuse(offset, key, event, refusal)
            return
        row.recent_ids = with_id(row.recent_ids, hashed, partition.watermark_ms, self._fold.retry_window_s)
        partition.count("applied")
        partition.count(_COUNTED[kind])
        late = event.timestamp_ms < partition.watermark_ms
        if late:
            partition.count("late")
        if kind == "impression":
            self._show(offset, key, row, event)
        elif kind == "click":
            self._click(offset, key, row, event)
        elif kind == "decide":
            self._ask(offset, key, row, event)
        else:
            self._behave(offset, key, row, event, late=late)
        self._schedule(key, row)

    def _is_applied(self, offset: int, row: UserRow) -> bool:
        return offset <= row.applied_offset

    def _refuse(self, offset: int, key: bytes, event: Event, refusal: RejectedRecord) -> None:
        self._partition.count(f"dead_letters.{refusal.reason}")
        value = encode_event(event)[: self._fold.settings.engine.dead_letter_bytes]
        self._dead_letters.append(dead_letter(CLICKSTREAM, self._number, plain_offset(offset), key, value, refusal))

    # 3. An event of the shopper's own changes the row, and opens a prediction point and a decision.

    def _behave(self, offset: int, key: bytes, row: UserRow, event: Event, *, late: bool) -> None:
        """Applies an event of the shopper's own; a late one changes the row only."""
        fold, kind, at_ms = self._fold, event.kind, event.timestamp_ms
        if at_ms - row.session.last_ms > fold.session_gap_ms or (row.session.ended and not late):
            self._end_session(offset, key, row)
            row.session = Session(start_ms=at_ms)
        elif not row.session.events:
            # Until now only a decision was asked for.
            row.session.start_ms = at_ms
        previous_ms, now_ms = row.last_ms, max(row.last_ms, at_ms)
        row.last_ms = now_ms
        predicts = kind in PREDICTED and not late
        opening = fold.labels.apply(row, self._number, offset, now_ms, event, opens=predicts)
        self._learn(offset, key, opening.learned)
        if kind in EARNED_BY:
            credited = self._attribution.credit(row, event)
            for name in credited.counters:
                self._partition.count(name)
            if credited.policy is not None:
                count_sale(self._partition.tallies, credited.policy, event)
        if row.open_transitions:
            credit(row.open_transitions, fold.settings.decisions.q_rewards.get(kind, 0.0))
        update = update_state(offset, row, event, now_ms, fold.windows)
        if kind == "purchase":
            fold.exclusions.purchase(row, event.item_id or "")
        if update.is_signal:
            self._item_signals.add(offset, event, event.item_id or "", kind, update.related)
        count_funnel(self._partition.tallies, kind, event.category)
        if not predicts:
            return
        row.last_event = last_event = LastEvent(
            kind, event.category, event.price, previous_ms, update.item_views_before
        )
        ref = event_ref(CLICKSTREAM, self._number, offset)
        vector = feature_vector(row, last_event)
        self._predict(PredictionRequest(ref, key, at_ms, opening.targets, vector), last_event, opening)
        if kind in fold.settings.decisions.at:
            self._open_decision(offset, ref, key, row, event, row.last_ms, last_event)

    def _ask(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        """Opens a decision without an event of the shopper's own, who is there all the same; also where it is late.

        The decision is of the latest time that is known, or else one that is late would be over before it is shown.
        """
        now_ms = max(event.timestamp_ms, row.last_ms, self._partition.watermark_ms)
        if now_ms - row.session.last_ms > self._fold.session_gap_ms or row.session.ended:
            self._end_session(offset, key, row)
            row.session = Session(start_ms=now_ms)
        row.session.last_ms = max(row.session.last_ms, now_ms)
        self._open_decision(offset, event_ref(CLICKSTREAM, self._number, offset), key, row, event, now_ms)

    # 4. Feedback joins a decision of the row.

    def _show(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        self._make_if_undecided(key)
        joined = self._attribution.join_impression(row, event)
        if isinstance(joined, JoinFailure):
            self._count_failure(joined, "impressions")
            return
        decision, seen = joined
        self._learn(offset, key, self._fold.labels.start(row, decision.offset, event.timestamp_ms))
        if step := show(row.open_transitions, offset, decision.offset):
            self._outcomes.transitions.append(step)
        self._expose(row, decision.policy, impressions=len(seen))
        self._count_slots(decision, seen, SlotStep.SHOWN)
        row.session.impressions += len(seen)
        for slot in seen:
            self._fold.exclusions.show(row, decision.items[slot], event.timestamp_ms)
            self._item_signals.add(offset, event, decision.items[slot], "impression", [])

    def _click(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        self._make_if_undecided(key)
        joined = self._attribution.join_click(row, event)
        if isinstance(joined, JoinFailure):
            self._count_failure(joined, "rewards.click")
            return
        decision, first = joined
        row.session.last_ms = max(row.session.last_ms, event.timestamp_ms)
        if not first:
            return
        self._learn(offset, key, self._fold.labels.click(row, decision.offset, event.timestamp_ms))
        self._expose(row, decision.policy, clicks=1)
        self._count_slots(decision, [decision.items.index(event.item_id or "")], SlotStep.CLICKED)
        self._partition.count("rewards.click")
        row.session.clicks += 1
        credit(row.open_transitions, self._fold.settings.decisions.q_rewards.get("click", 0.0))
        self._item_signals.add(offset, event, event.item_id or "", "click", [])

    def _make_if_undecided(self, key: bytes) -> None:
        """Makes what is pending if feedback may refer to a decision of this very batch, as on replay after a crash."""
        if key in self._undecided:
            self._make()

    def _count_failure(self, failure: JoinFailure, name: str) -> None:
        self._partition.count(f"late_{name}" if failure is JoinFailure.LATE else "unjoinable")

    def _expose(self, row: UserRow, policy: str, impressions: int = 0, clicks: int = 0) -> None:
        if impressions or clicks:
            exposure = row.exposures.setdefault(policy, [0, 0])
            count_exposure(self._partition.tallies, policy, exposure, impressions, clicks)

    def _count_slots(self, decision: OpenDecision, slots: Sequence[int], step: SlotStep) -> None:
        sources = slot_sources(decision.features) if slots else []
        count_slots(self._partition.tallies, decision.policy, [sources[slot] for slot in slots], step)

    # 5. A prediction point: the shopper's vector now, and the predictions that will get a label.

    def _predict(self, request: PredictionRequest, event: LastEvent, opening: Opening) -> None:
        for target in opening.dropped:
            self._partition.count(f"predictions_dropped.{target}")
        self._predictions.append(_Prediction(request, event, opening.point))

    # 6. A decision: who decides, and what retrieval and ranking may know.

    def _open_decision(
        self,
        offset: int,
        ref: str,
        key: bytes,
        row: UserRow,
        event: Event,
        now_ms: int,
        asked_at: LastEvent | None = None,
    ) -> None:
        fold, count = self._fold, self._partition.count
        policy = fold.experiment.policy_of(event.user_id or "")
        decision, displaced = self._attribution.open(row, offset, now_ms, policy)
        if displaced is not None:
            count("decisions_displaced")
            self._close(offset, row, displaced)
        excluded = fold.exclusions.excluded(row, now_ms)
        context = decision_context(fold.item_table, shopper_context(row, event, now_ms, excluded))
        state = session_state(row.session, bool(row.affinities.cart))
        transition = None
        # Among candidates of the caller the Q agent has no source to choose: its transition goes on.
        if policy == Q_AGENT and event.candidates is None:
            transition = Transition(offset, now_ms, state)
            row.open_transitions.append(transition)
        elif policy != Q_AGENT and row.open_transitions:
            # Shares have changed: what comes of another policy's decisions is no reward of the Q agent's.
            count("open_transitions_cut")
            row.open_transitions = []
        request = DecisionRequest(
            ref,
            offset,
            key,
            policy,
            context,
            state,
            event.event_id,
            event.surface,
            event.n or fold.settings.decisions.slate,
            event.candidates,
            excluded,
        )
        self._decisions.append(_Decision(request, row, decision, asked_at, transition))
        self._undecided.add(key)
        count(f"decisions.{policy}")
        for shadow in fold.experiment.current.shadows:
            if shadow != policy:
                count(f"shadows.{shadow}")

    # 7. All pending decisions and predictions are made at once, and kept in the rows.

    def _make(self) -> None:
        fold, predictions, decisions = self._fold, self._predictions, self._decisions
        self._predictions, self._decisions, self._undecided = [], [], set()
        decided = self._decider.decide([each.request for each in decisions], fold.experiment.current.shadows)
        for each, made in zip(decisions, decided, strict=True):
            if each.asked_at is not None:
                each.asked_at.decide(made.slate_score)
        requests = [each.after_deciding() for each in predictions]
        for (_, _, point), predicted in zip(predictions, predict(fold.scorers, requests), strict=True):
            self._published.append(predicted.output)
            if point is not None:
                point.serve(predicted.served, predicted.from_prior)
                if point.sample is not None:
                    point.sample.keep(predicted.vector, predicted.scores, predicted.models)
        for (_, _, decision, _, transition), made in zip(decisions, decided, strict=True):
            self._published += made.outputs
            decision.decide(made.decision_id, made.items, made.features)
            self._count_slots(decision, range(len(made.items)), SlotStep.DECIDED)
            if transition is not None:
                transition.decide(made.action, made.mask)
        for _, row, _, _, transition in decisions:
            if transition is not None:
                self._outcomes.transitions += resolve(row.open_transitions)

    # 8. The batch ends: examples are encoded, and rows know when they fall due.

    def finish(self) -> FoldResult[UserRow]:
        """Makes what is left, and gathers the outputs."""
        self._make()
        self._deadlines.end()
        examples, last_positions = self._fold.examples.encode(
            self._outcomes, self._number, self._source_id, self._begun_at
        )
        if self._slice is not None:
            self._partition.due_cursor = _cursor(*self._slice, self._begun_at, last_positions)
        outputs = [*self._dead_letters, *self._published, *examples, *self._item_signals.outputs()]
        return FoldResult(outputs, self._changed)

    def _schedule(self, key: bytes, row: UserRow) -> None:
        """Sets the row's deadline to the earliest of what is open, and schedules it."""
        gap_ms = self._fold.session_gap_ms
        earliest_ms = row.session.last_ms + gap_ms if self._waits_for_session_end(row) else NEVER_MS
        earliest_ms = min(earliest_ms, self._fold.labels.earliest_ms(row))
        for decision in row.decisions:
            earliest_ms = min(earliest_ms, decision.deadline_ms)
        row.deadline_ms = earliest_ms if earliest_ms < NEVER_MS else 0
        self._deadlines.wake(key, earliest_ms)


def _cursor(
    offset: int, reached: Entry, before: DueCursor | None, last_positions: Mapping[str, tuple[int, int]]
) -> DueCursor:
    """Moves the cursor behind a slice that the event at ``offset`` made due."""
    last_indices: dict[str, int] = {}
    if before is not None:
        # Fewer rows than a slice had before a restart may be left of it, and fewer still be taken at once.
        reached = max(reached, (before.deadline_ms, before.key))
        if before.offset == offset:
            last_indices |= before.last_indices
    last_indices |= {learner: index for learner, (at, index) in last_positions.items() if at == offset}
    return DueCursor(offset, *reached, last_indices)
