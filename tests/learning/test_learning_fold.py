from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import unpack_arrays
from streams.contract.errors import RefusedStart, RejectedRecord
from streams.contract.fold import Fold, PartitionRow, RowHeader
from streams.contract.metrics import AmountModels, LearnerMetrics, ProbabilityModels, Rewards, decode_metrics
from streams.contract.outputs import Output
from streams.contract.records import MSGPACK, ExampleBatch, Parameters, decode_parameters
from streams.contract.settings import DEFAULT_TARGETS, Decisions, Settings, Target, Window
from streams.contract.settings.policies import SquareCB, Thompson
from streams.contract.topics import METRICS, MODELS
from streams.core.features.schema import feature_schema
from streams.core.learning import LearningFold, learner_view
from streams.core.learning.examples import Examples, read_examples
from streams.core.learning.fold import LearningState
from streams.core.learning.learners import BanditLearner
from streams.core.learning.row import LearnerRow
from streams.core.models.scoring import Scorers
from streams.core.policies.q_agent import N_ACTIONS, N_STATES
from streams.core.policies.slate_features import N_FEATURES
from streams.testing import MemoryTopics, MemoryWorker

PURCHASE = msgspec.structs.replace(DEFAULT_TARGETS[0], models=("linear", "perceptron"))
SETTINGS = Settings(windows=(Window(name="5m", pane_s=60, panes=5),), targets=(PURCHASE, *DEFAULT_TARGETS[1:]))
SCHEMA = feature_schema(SETTINGS.windows)
WIDTHS = dict.fromkeys(("purchase", "cart", "spend"), len(SCHEMA.names)) | {"bandit": N_FEATURES + 2, "q": 4}
LEARNERS = ("purchase", "spend", "bandit", "q")

Events = list[tuple[int, Examples]]


class Record(NamedTuple):
    value: bytes | None
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    timestamp_type: int = 0


def vectors(learner: str, n: int, random: np.random.Generator) -> np.ndarray:
    if learner == "q":
        return np.column_stack(
            [
                random.integers(0, N_STATES, n),
                random.integers(0, N_ACTIONS, n),
                random.integers(-1, N_STATES, n),
                random.integers(1, 1 << N_ACTIONS, n),
            ]
        )
    if learner == "bandit":
        return np.column_stack([random.random((n, N_FEATURES)), random.integers(0, 5, n), random.integers(0, 2, n)])
    return random.lognormal(1.0, 1.0, (n, WIDTHS[learner]))


def batch(learner: str, positions: Sequence[tuple[int, int]], partition: int = 0, /, **changes: Any) -> ExampleBatch:
    """Examples that depend on nothing but their source positions, as Behaviour would send them."""
    parts: dict[str, list[Any]] = {"vectors": [], "labels": [], "probabilities": [], "weights": [], "times": []}
    for offset, index in positions:
        random = np.random.default_rng([partition, offset, index])
        parts["vectors"].append(vectors(learner, 1, random)[0])
        parts["labels"].append(float(random.random() < 0.3))
        parts["probabilities"].append(random.random(1 if learner == "spend" else 2))
        if learner == "spend":
            parts["labels"][-1] *= 40.0 * random.random()
        parts["weights"].append(1.0 / 0.3 if learner in WIDTHS and learner not in ("bandit", "q") else 1.0)
        parts["times"].append(1_700_000_000_000 + offset * 1000)
    predicts = learner not in ("bandit", "q")
    columns: dict[str, Any] = {
        "learner": learner,
        "partition": partition,
        "offsets": np.array([offset for offset, _ in positions], np.int64).tobytes(),
        "indices": np.array([index for _, index in positions], np.int32).tobytes(),
        "columns": WIDTHS.get(learner, 4),
        "vectors": np.array(parts["vectors"], np.float32).tobytes(),
        "labels": np.array(parts["labels"]).tobytes(),
        "models": {"spend": ["hurdle"]}.get(learner, ["linear", "perceptron"] if predicts else []),
        "probabilities": np.array(parts["probabilities"]).tobytes() if predicts else b"",
        "weights": np.array(parts["weights"]).tobytes(),
        "timestamps_ms": np.array(parts["times"], np.int64).tobytes(),
    }
    if learner == "bandit":
        by_type = np.column_stack([parts["labels"], np.array(parts["labels"]) * 0.1])
        columns |= {"reward_types": ["click", "margin"], "rewards": by_type.tobytes()}
    return ExampleBatch(**(columns | changes))


class Worker:
    """The engine's part: rows go through their encoding between any two batches, and the partition's row is kept."""

    def __init__(self, learner: str = "purchase", chosen: Settings = SETTINGS) -> None:
        self.fold = LearningFold(chosen)
        self.partition = chosen.partition_of_learner(learner)
        self.rows: dict[bytes, bytes] = {}
        self.partition_row = PartitionRow()
        self.outputs: list[Output] = []

    def decode(self, batches: Sequence[ExampleBatch], first_offset: int = 0) -> Events:
        return [
            (offset, self.fold.decode(Record(MSGPACK.encode(record)), self.partition))
            for offset, record in enumerate(batches, first_offset)
        ]

    def run(self, events: Events) -> list[Output]:
        state = self.fold.open(self.partition_row, self.partition, self.rows.items())
        keys = self.fold.keys(state, events)
        rows = {key: self.fold.decode_row(self.rows[key]) if key in self.rows else None for key in keys}
        folded = self.fold.fold(state, events, rows)
        self.rows.update({key: self.fold.encode_row(row) for key, row in folded.rows.items()})
        self.partition_row = state.row
        self.outputs += folded.outputs
        return folded.outputs

    @property
    def row(self) -> LearnerRow:
        (value,) = self.rows.values()
        return self.fold.decode_row(value)

    def parameters(self) -> dict[str, Parameters]:
        """The latest of each model, as a reader of the compacted global table sees them."""
        latest = {output.key: output.value for output in self.outputs if output.topic == MODELS}
        return {(key or b"").decode(): decode_parameters(value) for key, value in latest.items()}

    @property
    def metrics(self) -> LearnerMetrics:
        return learner_metrics(self.outputs)


def learner_metrics(outputs: Sequence[Output]) -> LearnerMetrics:
    """The latest record of metrics."""
    record = decode_metrics([output.value for output in outputs if output.topic == METRICS][-1])
    assert isinstance(record, LearnerMetrics)
    return record


def models_of(record: LearnerMetrics) -> ProbabilityModels:
    assert isinstance(record.quality, ProbabilityModels)
    return record.quality


def rewards_of(record: LearnerMetrics) -> Rewards:
    assert isinstance(record.quality, Rewards)
    return record.quality


def log(learner: str) -> list[ExampleBatch]:
    """Twenty records of two source partitions, some with several examples of one offset."""
    random = np.random.default_rng(7)
    records = []
    reached = [0, 0]
    for number in range(20):
        partition = number % 2
        positions = []
        for _ in range(int(random.integers(1, 6))):
            reached[partition] += int(random.integers(1, 4))
            positions += [(reached[partition], index) for index in range(int(random.integers(1, 4)))]
        records.append(batch(learner, positions, partition))
    return records


def run_whole(learner: str) -> Worker:
    worker = Worker(learner)
    worker.run(worker.decode(log(learner)))
    return worker


WHOLE = {learner: run_whole(learner) for learner in LEARNERS}


def test_it_is_a_fold() -> None:
    conforming: Fold[Examples, LearnerRow, LearningState] = LearningFold(SETTINGS)
    assert (conforming.source, conforming.changelog) == ("examples", "learners-changelog")


@pytest.mark.parametrize("learner", LEARNERS)
@given(cuts=st.lists(st.integers(0, 20), max_size=6))
@settings(deadline=None, max_examples=15)
def test_the_same_records_give_the_same_rows_in_any_batches_and_with_a_restart_anywhere(
    learner: str, cuts: list[int]
) -> None:
    worker = Worker(learner)
    events = worker.decode(log(learner))
    for start, end in pairwise([0, *sorted(cuts), 20]):
        worker.run(events[start:end])
    assert worker.rows == WHOLE[learner].rows
    assert worker.partition_row == WHOLE[learner].partition_row
    assert worker.parameters() == WHOLE[learner].parameters()


@pytest.mark.parametrize("learner", LEARNERS)
@given(suffix=st.integers(0, 19), cut=st.integers(1, 20))
@settings(deadline=None, max_examples=10)
def test_sending_a_suffix_again_at_new_offsets_teaches_nothing(learner: str, suffix: int, cut: int) -> None:
    worker = Worker(learner)
    records = log(learner)
    worker.run(worker.decode(records[:cut]))
    once = worker.row
    again = [worker.fold.decode(Record(MSGPACK.encode(record)), worker.partition) for record in records[suffix:cut]]
    outputs = worker.run(list(enumerate(again, cut)))
    resent = sum(examples.size for examples in again)
    assert outputs == []
    assert worker.row.duplicates == worker.partition_row.counts.get("duplicates", 0) == resent
    assert msgspec.structs.replace(worker.row, applied_offset=once.applied_offset, duplicates=0) == once


def test_whoever_runs_the_worker_is_told_of_each_duplicate_since_its_start() -> None:
    topics = MemoryTopics({topic.name: topic.partitions for topic in SETTINGS.topics})
    number = SETTINGS.partition_of_learner("purchase")
    worker = MemoryWorker(LearningFold(SETTINGS), topics)
    positions = [(offset, 0) for offset in range(9)]
    counted = []
    for sent in (positions, positions[4:], [*positions, (9, 0)]):
        topics.append(Output("examples", b"purchase", MSGPACK.encode(batch("purchase", sent)), number))
        worker.drain()
        counted.append(worker.alert_counts[f"duplicates.{number}"])
    assert counted == [0, 5, 5 + 9]


@pytest.mark.parametrize("learner", LEARNERS)
def test_examples_regrouped_by_a_repeat_are_learned_once(learner: str) -> None:
    positions = [(offset, index) for offset in range(12) for index in range(2)]
    straight, crashed = Worker(learner), Worker(learner)
    straight.run(straight.decode([batch(learner, positions)]))
    crashed.run(crashed.decode([batch(learner, positions[:9])]))
    crashed.run(crashed.decode([batch(learner, positions[4:16]), batch(learner, positions[2:])], first_offset=1))
    assert crashed.row.state == straight.row.state
    assert crashed.row.evaluation == straight.row.evaluation
    assert (crashed.row.examples, crashed.row.duplicates) == (24, 5 + 14)
    assert crashed.row.label_sum == straight.row.label_sum


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("reached", [11, 14, 20])
def test_a_crash_between_the_row_and_the_partitions_row_changes_nothing(learner: str, reached: int) -> None:
    worker = Worker(learner)
    events = worker.decode(log(learner))
    worker.run(events[:8])
    before = MSGPACK.encode(worker.partition_row)
    worker.run(events[8:14])
    after = MSGPACK.encode(worker.partition_row)
    row = worker.row
    worker.partition_row = msgspec.msgpack.decode(before, type=PartitionRow)
    outputs = worker.run(events[8:reached])
    if reached <= 14:
        assert (outputs, worker.row) == ([], row)
    if reached == 14:
        assert MSGPACK.encode(worker.partition_row) == after
    worker.run(events[reached:])
    assert worker.rows == WHOLE[learner].rows
    assert worker.partition_row == WHOLE[learner].partition_row


def test_marks_are_kept_for_each_source_partition() -> None:
    worker = Worker()
    worker.run(worker.decode([batch("purchase", [(9, 0), (9, 1)], 0), batch("purchase", [(3, 0)], 1)]))
    assert {"purchase": worker.row.applied_positions} == worker.partition_row.applied_positions
    assert worker.row.applied_positions.last == {0: (0, 9, 1), 1: (0, 3, 0)}
    worker.run(worker.decode([batch("purchase", [(2, 0), (3, 0), (3, 1)], 1)], first_offset=2))
    assert {"purchase": worker.row.applied_positions} == worker.partition_row.applied_positions
    assert worker.row.applied_positions.last == {0: (0, 9, 1), 1: (0, 3, 1)}
    assert (worker.row.examples, worker.row.duplicates) == (4, 2)


def test_quality_is_of_the_probabilities_that_came_not_of_the_present_weights() -> None:
    positions = [(offset, 0) for offset in range(300)]
    labels = np.frombuffer(batch("purchase", positions).labels)
    perfect = np.column_stack([labels * 0.8 + 0.1, 0.9 - labels * 0.8])
    worker = Worker()
    worker.run(worker.decode([batch("purchase", positions, probabilities=perfect.tobytes())]))
    measured = models_of(worker.metrics).models
    assert measured["linear"].auc == 1.0
    assert measured["perceptron"].auc == 0.0
    assert measured["linear"].log_loss == pytest.approx(-np.log(0.9))


def test_a_member_is_measured_where_it_was_served_and_by_its_name() -> None:
    positions = [(offset, 0) for offset in range(40)]
    labels = np.frombuffer(batch("purchase", positions).labels)
    given_ = np.column_stack([np.where(np.arange(40) < 30, np.nan, 0.2), labels * 0.8 + 0.1, np.full(40, 0.5)])
    models = ["perceptron", "linear", "retired"]
    worker = Worker()
    worker.run(worker.decode([batch("purchase", positions, models=models, probabilities=given_.tobytes())]))
    measured = models_of(worker.metrics).models
    assert (measured["linear"].examples, measured["linear"].auc) == (40, 1.0)
    assert measured["perceptron"].examples == 10
    assert set(measured) == {"linear", "perceptron", "mixture"}
    assert measured["mixture"].examples == 0


def test_every_batch_exports_each_member_and_its_metrics() -> None:
    worker = WHOLE["purchase"]
    keys = [(output.topic, output.key) for output in worker.outputs]
    assert keys == [(MODELS, b"purchase/linear"), (MODELS, b"purchase/perceptron"), (METRICS, b"learning/purchase")]
    exported = worker.parameters()
    metrics, quality = worker.metrics, models_of(worker.metrics)
    assert [parameters.model for parameters in exported.values() if parameters.champion] == [metrics.champion]
    assert all(parameters.weights == quality.weights for parameters in exported.values())
    assert sum(quality.weights.values()) == pytest.approx(1.0)
    assert {parameters.version for parameters in exported.values()} == {20}
    assert (metrics.source, metrics.version) == ("learning/purchase", 20)
    assert metrics.examples == worker.row.examples == quality.models["linear"].examples
    assert quality.positives == quality.models["linear"].positives == worker.row.label_sum
    assert metrics.timestamp_ms == worker.row.timestamp_ms


def test_scorers_serve_what_was_exported() -> None:
    scorers = Scorers(SETTINGS.targets, SCHEMA)
    rows = vectors("purchase", 30, np.random.default_rng(0)).astype(np.float32)
    before = scorers.score("purchase", rows)
    assert all(scorers.apply(parameters) for parameters in WHOLE["purchase"].parameters().values())
    assert scorers.version("purchase") == 20
    assert (scorers.score("purchase", rows) != before).all()


def centred_ridge(seen: np.ndarray, rewards: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Solves the regression whose penalty pulls the first weight to the mean reward."""
    gram, moment = (weights * seen).T @ seen, (weights * seen).T @ rewards
    moment[0] += moment[0] / gram[0, 0]
    return np.linalg.solve(gram + np.eye(N_FEATURES), moment)


def test_the_bandit_recovers_appeal_behind_the_slots_and_reports_rewards() -> None:
    random = np.random.default_rng(3)
    n = 12_000
    phi = np.zeros((n, N_FEATURES))
    phi[np.arange(n), np.arange(n) % 2] = 1.0
    positions = random.integers(0, 4, n)
    looked_at = np.array([1.0, 0.7, 0.4, 0.2])
    rewards = (random.random(n) < looked_at[positions] * (phi @ ([0.3, 0.6] + [0.0] * (N_FEATURES - 2)))) * 1.0
    content = np.column_stack([phi, positions, np.ones(n)]).astype(np.float32)
    sources = [(offset, 0) for offset in range(n)]
    worker = Worker("bandit")
    worker.run(worker.decode([batch("bandit", sources, vectors=content.tobytes(), labels=rewards.tobytes())]))
    arrays = unpack_arrays(worker.parameters()["bandit/ridge"].arrays)
    seen = phi * arrays["examination"][positions][:, None]
    assert arrays["theta"] == pytest.approx(centred_ridge(seen, rewards, np.ones((n, 1))), abs=1e-9)
    # Five standard errors (0.05), and what 200 impressions of the prior still weigh (0.015).
    assert arrays["theta"][:3] == pytest.approx([0.3, 0.6, 0.0], abs=0.065)
    assert arrays["examination"][:4] == pytest.approx(looked_at, abs=0.065)
    assert arrays["examples"].tolist() == [n]
    precision = seen.T @ seen + np.eye(N_FEATURES)
    assert arrays["factor"] @ precision @ arrays["factor"].T == pytest.approx(np.eye(N_FEATURES), abs=1e-9)
    assert rewards_of(worker.metrics).mean_reward == pytest.approx(rewards.mean())


def test_every_type_of_reward_is_summed_once_an_example() -> None:
    worker = Worker("bandit")
    for _ in range(2):
        worker.run(worker.decode(log("bandit"), first_offset=worker.row.applied_offset + 1 if worker.rows else 0))
    rewards = rewards_of(worker.metrics)
    assert 0.0 < rewards.mean_reward < 1.0
    assert rewards.mean_reward_by_type["click"] == pytest.approx(rewards.mean_reward)
    assert rewards.mean_reward_by_type["margin"] == pytest.approx(0.1 * rewards.mean_reward)


def test_the_bandit_learns_the_slots_from_the_control_alone() -> None:
    n = 800
    content = np.column_stack([np.ones((n, N_FEATURES)), np.arange(n) % 4, np.zeros(n)]).astype(np.float32)
    worker = Worker("bandit")
    positions = [(offset, 0) for offset in range(n)]
    worker.run(worker.decode([batch("bandit", positions, vectors=content.tobytes())]))
    arrays = unpack_arrays(worker.parameters()["bandit/ridge"].arrays)
    assert arrays["examination"] == pytest.approx(1.0 / (1.0 + 0.1 * np.arange(20)))


def test_a_policy_with_a_learner_of_its_own_learns_nothing_but_the_slots_from_the_control() -> None:
    decisions = Decisions(policies={"bandit": SquareCB(), "mine": Thompson(learns_from="own", discount=0.999)})
    learners = {name: BanditLearner(name, decisions) for name in ("bandit", "mine")}
    random = np.random.default_rng(4)
    n = 900
    own, control = random.random((2, n, N_FEATURES))
    rewards = random.random((2, n))
    for is_control, phi in enumerate((own, control)):
        content = np.column_stack([phi, np.arange(n) % 3, np.full(n, is_control)]).astype(np.float32)
        positions = [(n * is_control + number, 0) for number in range(n)]
        examples = read_examples(
            MSGPACK.encode(batch("bandit", positions, vectors=content.tobytes(), labels=rewards[is_control].tobytes()))
        )
        for learner in learners.values():
            learner.learn_many(examples)
        if not is_control:
            theta_before = learners["mine"].parameters()["ridge"]["theta"]
    exported = {name: learner.parameters()["ridge"] for name, learner in learners.items()}
    assert exported["bandit"]["examples"] == [2 * n]
    assert exported["mine"]["examples"][0] == pytest.approx((1 - 0.999**n) / (1 - 0.999))
    assert (exported["mine"]["examination"] == exported["bandit"]["examination"]).all()
    assert (exported["mine"]["examination"][1:3] != 1.0 / (1.0 + 0.1 * np.arange(1, 3))).all()
    seen = own.astype(np.float32) * exported["mine"]["examination"][np.arange(n) % 3][:, None]
    ages = 0.999 ** np.arange(n)[::-1, None]
    assert exported["mine"]["theta"] == pytest.approx(centred_ridge(seen, rewards[0], ages), abs=1e-6)
    assert (theta_before != exported["mine"]["theta"]).any()


def test_the_q_table_learns_the_reward_of_a_last_action() -> None:
    steps = np.tile(np.array([[2, 1, -1, 0]], np.float32), (200, 1))
    worker = Worker("q")
    positions = [(offset, 0) for offset in range(200)]
    worker.run(worker.decode([batch("q", positions, vectors=steps.tobytes(), labels=np.full(200, 3.0).tobytes())]))
    arrays = unpack_arrays(worker.parameters()["q/table"].arrays)
    assert arrays["table"].shape == (N_STATES, N_ACTIONS)
    assert arrays["table"][2, 1] == pytest.approx(3.0, abs=0.1)
    assert (arrays["visits"][2, 1], arrays["visits"].sum()) == (200, 200)
    assert rewards_of(worker.metrics).mean_reward == 3.0


def test_a_row_begins_with_its_guard_and_no_deadline() -> None:
    (value,) = WHOLE["purchase"].rows.values()
    assert msgspec.msgpack.decode(value, type=RowHeader) == RowHeader(applied_offset=19, deadline_ms=0)
    assert len(value) < SETTINGS.engine.max_row_bytes / 2


def test_a_person_can_read_a_row() -> None:
    for learner in LEARNERS:
        ((key, value),) = WHOLE[learner].rows.items()
        rendered = orjson.loads(orjson.dumps(learner_view(key, value)))
        assert (rendered["learner"], rendered["examples"]) == (learner, WHOLE[learner].row.examples)
    rendered = learner_view(*next(iter(WHOLE["purchase"].rows.items())))
    assert rendered["models"]["linear"]["examples"] == rendered["examples"]
    assert rendered["arrays"]["linear/weights"]["shape"] == [len(SCHEMA.names)]


def changed(name: str, place: int, value: float) -> dict[str, bytes]:
    column = np.frombuffer(
        getattr(batch("purchase", [(1, 0), (2, 0)]), name), np.float32 if name == "vectors" else float
    )
    spoiled = column.copy()
    spoiled[place] = value
    return {name: spoiled.tobytes()}


@pytest.mark.parametrize(
    "changes",
    [
        changed("vectors", 3, float("nan")),
        changed("vectors", 3, float("inf")),
        changed("labels", 0, float("nan")),
        changed("labels", 0, 0.5),
        changed("weights", 1, 0.0),
        changed("weights", 1, float("inf")),
        changed("probabilities", 1, 1.5),
        {"labels": b"\x00" * 8},
        {"columns": 7},
        {"columns": 3, "vectors": bytes(2 * 3 * 4)},
        {"columns": -1},
        {"models": ["linear"]},
        {"offsets": b""},
        {"offsets": np.array([2, 1], np.int64).tobytes()},
        {"offsets": np.array([2, 2], np.int64).tobytes()},
        {"learner": "weather"},
    ],
)
def test_what_would_spoil_a_model_is_malformed(changes: dict[str, Any]) -> None:
    record = batch("purchase", [(1, 0), (2, 0)], **changes)
    with pytest.raises(RejectedRecord) as rejected:
        LearningFold(SETTINGS).decode(Record(MSGPACK.encode(record)), Worker().partition)
    assert rejected.value.reason == "malformed"


@pytest.mark.parametrize("learner", ["bandit", "q"])
@pytest.mark.parametrize("column", [-1, -2])
@pytest.mark.parametrize("value", [-2.0, 0.5, 1e9])
def test_a_policys_whole_numbers_are_whole_and_in_range(learner: str, column: int, value: float) -> None:
    content = np.frombuffer(batch(learner, [(1, 0)]).vectors, np.float32).copy()
    content[column] = value
    with pytest.raises(RejectedRecord) as rejected:
        Worker(learner).decode([batch(learner, [(1, 0)], vectors=content.tobytes())])
    assert rejected.value.reason == "malformed"


@pytest.mark.parametrize("value", [None, b"", b"\xc1", b"{}", MSGPACK.encode([1, 2])])
def test_bytes_of_no_batch_are_malformed(value: bytes | None) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        LearningFold(SETTINGS).decode(Record(value), 0)
    assert rejected.value.reason == "malformed"


def test_a_learner_of_another_partition_is_refused() -> None:
    with pytest.raises(RejectedRecord) as rejected:
        LearningFold(SETTINGS).decode(Record(MSGPACK.encode(batch("cart", [(1, 0)]))), 0)
    assert rejected.value.reason == "wrong-partition"


def test_it_refuses_to_start_on_rows_of_other_columns() -> None:
    rows = WHOLE["purchase"].rows.items()
    other_windows = Settings(windows=(Window(name="6m", pane_s=60, panes=6),))
    with pytest.raises(RefusedStart, match="windows"):
        LearningFold(other_windows).open(PartitionRow(), 0, rows)


def test_learners_that_share_a_partition_learn_as_if_each_had_its_own() -> None:
    one = msgspec.structs.replace(SETTINGS.kafka, learner_partitions=1)
    shared = Worker("purchase", msgspec.structs.replace(SETTINGS, kafka=one))
    logs = [log(learner) for learner in ("purchase", "bandit", "q")]
    mixed = [record for together in zip(*logs, strict=True) for record in together]
    for begin in range(0, len(mixed), 7):
        shared.run(shared.decode(mixed[begin : begin + 7], begin))
    for learner in ("purchase", "bandit", "q"):
        row, alone = shared.fold.decode_row(shared.rows[learner.encode()]), WHOLE[learner].row
        assert msgspec.structs.replace(row, applied_offset=alone.applied_offset) == alone
        positions = WHOLE[learner].partition_row.applied_positions
        assert shared.partition_row.applied_positions[learner] == positions[learner]


def test_a_learner_that_is_gone_keeps_its_row_and_others_take_no_notice() -> None:
    one = msgspec.structs.replace(SETTINGS.kafka, learner_partitions=1)
    whole = msgspec.structs.replace(SETTINGS, kafka=one)
    worker = Worker("purchase", whole)
    records = log("purchase")
    worker.run(worker.decode([*log("cart"), *records[:10]]))
    without = msgspec.structs.replace(whole, targets=tuple(each for each in whole.targets if each.name != "cart"))
    later = Worker("purchase", without)
    later.rows, later.partition_row = dict(worker.rows), worker.partition_row
    later.run(later.decode(records[10:], first_offset=1000))
    assert later.rows[b"cart"] == worker.rows[b"cart"]
    row = later.fold.decode_row(later.rows[b"purchase"])
    assert row.state == WHOLE["purchase"].row.state
    with pytest.raises(RejectedRecord, match="there is no learner 'cart'"):
        later.decode(log("cart"))


def test_a_challenger_that_is_declared_later_starts_from_new_beside_the_champion() -> None:
    alone = (msgspec.structs.replace(SETTINGS.targets[0], models=("linear",)), *SETTINGS.targets[1:])
    before = Worker("purchase", msgspec.structs.replace(SETTINGS, targets=alone))
    records = log("purchase")
    before.run(before.decode(records[:10]))
    after = Worker("purchase")
    after.rows, after.partition_row = before.rows, before.partition_row
    after.run(after.decode(records[10:], first_offset=10))
    exported, straight = after.parameters(), WHOLE["purchase"].parameters()
    assert exported["purchase/linear"].arrays == straight["purchase/linear"].arrays
    assert exported["purchase/linear"].weights.keys() == {"linear", "perceptron"}
    assert exported["purchase/perceptron"].arrays != straight["purchase/perceptron"].arrays


def test_first_weights_differ_by_target_and_by_seed() -> None:
    def first_weights(name: str, seed: int) -> bytes:
        target = Target(name=name, label="purchase", horizon_s=60, sampling_rate=1.0, prior=0.1, models=("perceptron",))
        worker = Worker(name, msgspec.structs.replace(SETTINGS, targets=(target,), seed=seed))
        WIDTHS[name] = WIDTHS["purchase"]
        worker.run(worker.decode([batch(name, [(1, 0)])]))
        content: bytes = worker.parameters()[f"{name}/perceptron"].arrays["weights_1"][2]
        return content

    assert first_weights("purchase", 0) == first_weights("purchase", 0)
    assert first_weights("purchase", 0) != first_weights("churn", 0)
    assert first_weights("purchase", 0) != first_weights("purchase", 1)


def test_a_switch_of_the_champion_is_on_the_metrics_and_on_the_models_feed() -> None:
    positions = [(offset, 0) for offset in range(400)]
    examples = batch("purchase", positions)
    labels = np.frombuffer(examples.labels)
    said = np.column_stack([np.full(400, 0.5), np.where(labels > 0, 0.9, 0.1)])
    fold = LearningFold(SETTINGS)
    [(_, event)] = Worker().decode([msgspec.structs.replace(examples, probabilities=said.tobytes())])
    folded = fold.fold(LearningState(PartitionRow()), [(0, event)], {b"purchase": None})
    metrics = learner_metrics(folded.outputs)
    assert (metrics.champion, models_of(metrics).switches) == ("perceptron", 1)
    assert models_of(metrics).drift.alarms == 0
    sent = [decode_parameters(output.value) for output in folded.outputs if output.topic == MODELS]
    assert {parameters.model: parameters.champion for parameters in sent}["perceptron"]
    assert sum(parameters.champion for parameters in sent) == 1


def test_expected_amounts_are_measured_beside_the_mean_and_an_amount_below_zero_is_refused() -> None:
    measured = WHOLE["spend"].metrics.quality
    assert isinstance(measured, AmountModels)
    quality = measured.models["hurdle"]
    spent = [example for record in log("spend") for example in np.frombuffer(record.labels).tolist()]
    assert measured.amount_sum == pytest.approx(sum(spent))
    assert (quality.examples, quality.positives) == (len(spent), sum(amount > 0.0 for amount in spent))
    assert quality.base_rmse
    refused = msgspec.structs.replace(log("spend")[0], labels=np.full(len(log("spend")[0].labels) // 8, -1.0).tobytes())
    with pytest.raises(RejectedRecord, match="below 0"):
        WHOLE["spend"].fold.decode(Record(MSGPACK.encode(refused)), WHOLE["spend"].partition)
