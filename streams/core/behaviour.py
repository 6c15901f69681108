"""Behaviour: the fold per user. It keeps each shopper's recent past, predicts, decides, and joins what came of it.

Behaviour scores with the weights that it is given and never learns: a label that becomes final leaves as an
*experience*, with the probabilities that were served before the label existed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.events import KINDS, Event, decode_event, encode_event
from streams.contract.fold import Folded, PartitionRow, RowHeader, SourceRecord
from streams.contract.outputs import Output, dead_letter
from streams.contract.partitioning import partition_of
from streams.contract.records import event_ref
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, Q_AGENT, USERS_CHANGELOG
from streams.core.admission import Admission
from streams.core.answering import Answering
from streams.core.deadlines import NEVER_MS, Deadlines
from streams.core.deciding import Decider, PendingDecision
from streams.core.experiences import Experiences
from streams.core.features.schema import feature_schema
from streams.core.features.session import Session
from streams.core.features.windows import Windows
from streams.core.feedback import Feedback, Missed
from streams.core.labels import Labels
from streams.core.models.scoring import Scorers
from streams.core.outcomes import Outcomes
from streams.core.policies.choice import deciding_policies
from streams.core.policies.experiment import RunningExperiment
from streams.core.policies.models import PolicyModels
from streams.core.policies.q_agent import session_state
from streams.core.predicting import Predictor
from streams.core.relating import Relating
from streams.core.remembering import remember
from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import known
from streams.core.row import MAX_EVENT_IDS, ROW_SCHEMA, Seen, Transition, UserRow, shopper_context, shopper_vector
from streams.core.tallies import count_exposure, count_funnel
from streams.core.transitions import pay, show

_COUNTED: Final = {kind: f"kinds.{kind}" for kind in KINDS}
_PREDICTED: Final = frozenset({"view", "search", "add_to_cart", "remove_from_cart", "purchase"})

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode
_decode_row: Final = msgspec.msgpack.Decoder(UserRow).decode
_encode_row: Final = msgspec.msgpack.Encoder().encode


@dataclass
class BehaviourState:
    """A source partition in memory: its row, and when which of its users' rows fall due."""

    row: PartitionRow
    number: int
    deadlines: Deadlines


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
        return BehaviourState(row, partition, Deadlines((key, _read_header(value).deadline_ms) for key, value in rows))

    def keys(self, state: BehaviourState, events: Sequence[tuple[int, Event]]) -> Iterable[bytes]:
        latest_ms = max((event.timestamp_ms for _, event in events), default=-1)
        users = {event.user_id.encode() for _, event in events if event.user_id is not None}
        return users.union(state.deadlines.begin(max(state.row.watermark_ms, latest_ms - self.lateness_ms)))

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
        settings, number = fold.settings, state.number
        self._fold = fold
        self._number = number
        self._partition = state.row
        self._deadlines = state.deadlines
        self._rows = rows
        self._changed: dict[bytes, UserRow] = {}
        self._dead_letters: list[Output] = []
        self._labels = fold.labels
        self._feedback = Feedback(settings.decisions, number)
        self._experiences = Experiences(settings, number)
        self._relating = Relating(number, settings.kafka.partitions)
        self._outcomes = Outcomes(fold.labels, self._feedback, self._experiences, state.row, fold.vector_bytes)
        decider = Decider(settings, number, fold.catalogue, fold.models, fold.policies)
        self._answering = Answering(Predictor(fold.scorers), decider, self._experiences, fold.experiment)

    def advance(self, offset: int, watermark_ms: int) -> None:
        """Lets time pass: what falls due by then matures, triggered by the event at ``offset``."""
        if watermark_ms <= self._partition.watermark_ms:
            return
        self._partition.watermark_ms = watermark_ms
        while due := self._deadlines.pop(watermark_ms):
            deadline_ms, key = due
            row = self._rows[key]
            if row is None:
                continue
            # A row whose deadline has moved on waits for its turn, as it would after a restart.
            if row.deadline_ms == deadline_ms:
                self._mature(offset, key, row)
            self._schedule(key, row)

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
        if self._guarded(offset, row):
            # The row came out before a crash, the partition's did not: what the event itself says is counted here.
            partition.count("applied")
            partition.count(_COUNTED[kind])
            return
        row.guard = offset
        self._changed[key] = row
        if event.event_id in row.event_ids:
            partition.count("duplicates")
            return
        if refusal := self._fold.admission.admits(row, event, partition.watermark_ms):
            self._refuse(offset, key, event, refusal)
            return
        row.event_ids.append(event.event_id)
        del row.event_ids[:-MAX_EVENT_IDS]
        partition.count("applied")
        partition.count(_COUNTED[kind])
        late = event.timestamp_ms < partition.watermark_ms
        if late:
            partition.count("late")
        if kind == "impression":
            self._show(offset, key, row, event)
        elif kind == "click":
            self._click(offset, key, row, event)
        else:
            self._behave(offset, key, row, event, late=late)
        self._schedule(key, row)

    def finish(self) -> Folded[UserRow]:
        """Scores and decides what is left, and gathers the outputs."""
        self._answering.complete()
        outputs = [
            *self._dead_letters,
            *self._answering.outputs,
            *self._experiences.outputs(),
            *self._relating.outputs(),
        ]
        self._deadlines.end()
        return Folded(outputs, self._changed)

    def _guarded(self, offset: int, row: UserRow) -> bool:
        return offset <= row.guard

    def _refuse(self, offset: int, key: bytes, event: Event, refusal: RejectedRecord) -> None:
        self._partition.count(f"dead_letters.{refusal.reason}")
        value = encode_event(event)[: self._fold.settings.engine.dead_letter_bytes]
        self._dead_letters.append(dead_letter(CLICKSTREAM, self._number, offset, key, value, refusal))

    def _mature(self, offset: int, key: bytes, row: UserRow) -> None:
        """Takes out of a row what the watermark has passed: labels, rewards, the session's last step."""
        watermark_ms = self._partition.watermark_ms
        matured = self._outcomes.mature(offset, row, watermark_ms)
        ended = self._ends(row) and row.session.last_ms + self._fold.session_gap_ms <= watermark_ms
        if ended:
            self._end_session(offset, key, row)
        if matured or ended:
            self._changed[key] = row

    def _behave(self, offset: int, key: bytes, row: UserRow, event: Event, *, late: bool) -> None:
        """Applies what a shopper did of their own accord, and predicts and decides at it unless it is late."""
        fold, labels, kind, at_ms = self._fold, self._labels, event.kind, event.timestamp_ms
        if at_ms - row.session.last_ms > fold.session_gap_ms or (row.session.ended and not late):
            self._end_session(offset, key, row)
            row.session = Session(start_ms=at_ms)
        if answered := labels.observe(row, event):
            self._outcomes.learn_early(offset, answered, 1.0)
        for name in self._feedback.behave(row, event):
            self._partition.count(name)
        if row.walk:
            pay(row.walk, fold.settings.decisions.q_rewards.get(kind, 0.0))
        previous_ms, now_ms = row.last_ms, max(row.last_ms, at_ms)
        row.last_ms = now_ms
        before = remember(offset, row, event, now_ms, fold.windows, self._relating)
        count_funnel(self._partition.tallies, kind, event.category)
        if late or kind not in _PREDICTED:
            return
        row.seen = Seen(kind, event.category, event.price, previous_ms, before)
        moment = labels.open(row, self._number, offset, now_ms, event, self._partition.count)
        if moment is not None and labels.corrected:
            started = [(moment, opened) for opened in moment.predictions if opened.deadline_ms]
            self._outcomes.learn_early(offset, started, 0.0)
        ref = event_ref(CLICKSTREAM, self._number, offset)
        targets = labels.predicted_at(event)
        self._answering.predict(ref, key, at_ms, targets, shopper_vector(row, row.seen), moment)
        if kind == "view":
            self._decide(ref, offset, key, row, event, now_ms)

    def _decide(self, ref: str, offset: int, key: bytes, row: UserRow, event: Event, now_ms: int) -> None:
        """Opens the decision that this view asks for; its slate is chosen with the rest of the batch."""
        fold, count = self._fold, self._partition.count
        policy = fold.experiment.policy_of(event.user_id or "")
        decision, displaced = self._feedback.open(row, offset, now_ms, policy)
        if displaced is not None:
            count("decisions_displaced")
            self._outcomes.close(offset, row, displaced)
        asked = known(fold.catalogue, shopper_context(row, event, now_ms))
        state = session_state(row.session, bool(row.affinities.cart))
        transition = Transition(offset, now_ms, state) if policy == Q_AGENT else None
        if transition is None and row.walk:
            # Shares have changed: what comes of another policy's decisions is no reward of the Q agent's.
            count("walks_cut")
            row.walk = []
        self._answering.decide(PendingDecision(ref, offset, key, policy, asked, decision, state, transition), row)
        count(f"decisions.{policy}")
        for shadow in fold.experiment.current.shadows:
            if shadow != policy:
                count(f"shadows.{shadow}")

    def _show(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        """Joins an impression to its decision."""
        self._answering.settle(key)
        joined = self._feedback.impression(row, event)
        if isinstance(joined, Missed):
            self._miss(joined, "impressions")
            return
        decision, seen = joined
        self._outcomes.learn_early(offset, self._labels.shown(row, decision.offset, event.timestamp_ms), 0.0)
        if step := show(row.walk, offset, decision.offset):
            self._experiences.add_steps([step])
        self._expose(row, decision.policy, impressions=len(seen))
        row.session.impressions += len(seen)
        for slot in seen:
            self._relating.add(offset, event, decision.items[slot], "impression", [])

    def _click(self, offset: int, key: bytes, row: UserRow, event: Event) -> None:
        """Joins a click to its decision."""
        self._answering.settle(key)
        joined = self._feedback.click(row, event)
        if isinstance(joined, Missed):
            self._miss(joined, "rewards.click")
            return
        decision, first = joined
        row.session.last_ms = max(row.session.last_ms, event.timestamp_ms)
        if not first:
            return
        self._outcomes.learn_early(offset, self._labels.clicked(row, decision.offset, event.timestamp_ms), 1.0)
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

    def _ends(self, row: UserRow) -> bool:
        """Tells whether something waits for the end of a session."""
        if row.walk:
            return True
        return bool(self._labels.at_session_ends) and row.seen is not None and not row.session.ended

    def _end_session(self, offset: int, key: bytes, row: UserRow) -> None:
        """Finishes the Q agent's walk, and predicts what is predicted at the end of a session."""
        if row.walk:
            self._experiences.add_walk(offset, row.walk)
            row.walk = []
        labels, session, seen, number = self._labels, row.session, row.seen, self._number
        if not labels.at_session_ends or seen is None or session.ended:
            return
        session.ended = True
        ended_ms = session.last_ms + self._fold.session_gap_ms
        moment = labels.open_session_end(row, number, session.last_offset, ended_ms, self._partition.count)
        ref = f"{event_ref(CLICKSTREAM, number, session.last_offset)}-end"
        self._answering.predict(ref, key, ended_ms, labels.at_session_ends, shopper_vector(row, seen), moment)

    def _schedule(self, key: bytes, row: UserRow) -> None:
        """Sets the row's deadline to the earliest of what is open, and sees that it will be woken by then."""
        earliest_ms = row.session.last_ms + self._fold.session_gap_ms if self._ends(row) else NEVER_MS
        for moment in row.moments:
            for prediction in moment.predictions:
                deadline_ms = prediction.deadline_ms
                if 0 < deadline_ms < earliest_ms:
                    earliest_ms = deadline_ms
        for decision in row.decisions:
            deadline_ms = decision.deadline_ms
            earliest_ms = min(earliest_ms, deadline_ms)
        row.deadline_ms = earliest_ms if earliest_ms < NEVER_MS else 0
        self._deadlines.wake(key, earliest_ms)
