"""The settings: one frozen tree, read from one TOML file, overridden by environment variables, passed down."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from streams.contract.errors import ConfigurationError
from streams.contract.events import MAX_EVENT_BYTES, Kind
from streams.contract.experiment import misfit_of
from streams.contract.policies import DEFAULT_POLICIES, KINDS, Learned, Policy, Uniform, learner_of
from streams.contract.rewards import Rewards
from streams.contract.rules import RULES, RuleName
from streams.contract.topics import BANDIT, CONTROL, POPULAR, Q_AGENT, Topic, topics

ENVIRONMENT_PREFIX: Final = "HEADRACE_"

Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Member = Literal["linear", "ftrl", "additive", "kernel", "perceptron", "blend", "hurdle"]
"""The kinds of members a family may have."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the TOML file."""


class Kafka(Section, frozen=True):
    """Where the broker is and how to talk to it."""

    bootstrap_servers: str = "localhost:9092"
    partitions: Positive = 4
    replication_factor: Positive = 1
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: str = ""


class Engine(Section, frozen=True):
    """Micro-batches, tables and the process around them.

    Attributes:
        batch_records: Records of one partition that make a micro-batch at the most.
        buffer_batches: Micro-batches that Faust buffers for each partition.
        hot_bytes: Size of the rows of each partition that are kept decoded in memory, those that changed last, as they
            are encoded; decoded they take several times as much.
        fetch_wait_ms: How long the broker may hold an empty fetch.
        hold_ms: How long ``relations`` and ``experiences`` are gathered before they are folded.
        watchdog_s: With lag and no progress, or without an assignment, for so long, the worker exits.
        delivery: ``transactions`` make outputs exactly once for readers of committed records; ``auto`` takes them on
            every broker but the embedded one, which cannot abort them.
        transaction_timeout_s: The broker aborts a transaction that is open for so long, so it holds readers no longer.
        instance_id: Of this worker alone, the same at every start: then a restart within the session moves no
            partitions. Empty for none.
        max_output_bytes: Of one record; a larger one stops the worker before anything is produced.
        max_row_bytes: Likewise of one row.
        dead_letter_bytes: What a dead letter keeps of the record.
        block_cache_bytes: What all tables of a worker keep in memory of what is on disk, together.
        write_buffer_bytes: What they keep in memory before it is written to disk, together.
    """

    app_id: str = "headrace"
    data_dir: str = ".headrace"
    batch_records: Positive = 2000
    buffer_batches: Positive = 8
    hot_bytes: Annotated[int, Meta(ge=0)] = 4 * 1024 * 1024
    fetch_wait_ms: Positive = 20
    hold_ms: Annotated[int, Meta(ge=0)] = 500
    commit_interval_s: Seconds = 0.5
    session_timeout_s: Seconds = 10.0
    heartbeat_interval_s: Seconds = 1.0
    delivery: Literal["auto", "transactions", "at-least-once"] = "auto"
    delivery_timeout_s: Seconds = 30.0
    transaction_timeout_s: Seconds = 15.0
    instance_id: str = ""
    shutdown_timeout_s: Seconds = 15.0
    watchdog_s: Seconds = 60.0
    standby_replicas: Annotated[int, Meta(ge=0)] = 0
    max_output_bytes: Positive = 900_000
    max_row_bytes: Positive = 900_000
    dead_letter_bytes: Positive = 4096
    block_cache_bytes: Positive = 32 * 1024 * 1024
    write_buffer_bytes: Positive = 32 * 1024 * 1024


class Time(Section, frozen=True):
    """Event time.

    Attributes:
        allowed_lateness_s: How far the watermark stays behind the latest event of its partition.
        ahead_tolerance_s: An event further ahead of its record's timestamp is a dead letter.
        session_gap_s: A session ends after so long without an event.
    """

    allowed_lateness_s: Seconds = 300.0
    ahead_tolerance_s: Seconds = 300.0
    session_gap_s: Seconds = 1800.0


class Admission(Section, frozen=True):
    """What of ``clickstream`` is taken; what is not becomes a dead letter, and is counted by its reason.

    Attributes:
        event_bytes: Of one record (``oversized``).
        behind_s: An event further behind its record's timestamp is refused (``behind``); 0 takes any age, as the replay
            of a recorded file needs.
        late_s: An event further behind its partition's watermark is refused (``stale``); 0 applies any, as late. It
            bounds what a file that is replayed twice counts twice, as only the last few event ids are remembered.
        user_events_per_minute: Of one user, by event time (``flood``): no shopper makes a hundred a second.
    """

    event_bytes: Annotated[int, Meta(gt=0, le=MAX_EVENT_BYTES)] = MAX_EVENT_BYTES
    behind_s: Annotated[float, Meta(ge=0.0)] = 0.0
    late_s: Annotated[float, Meta(ge=0.0)] = 0.0
    user_events_per_minute: Positive = 6000


class Window(Section, frozen=True):
    """A sliding window as a ring of panes; it spans ``panes * pane_s`` seconds, half-open."""

    name: str
    pane_s: Positive
    panes: Annotated[int, Meta(gt=0, le=128)]


class Target(Section, frozen=True):
    """Something to predict.

    Attributes:
        rule: How its label comes about, one of :data:`~streams.contract.rules.RULES`.
        label: The kind of event that makes the label 1 within the horizon; of rule ``event`` only, which needs it.
        horizon_s: After the prediction; for ``click`` after the impression.
        sampling_rate: Share of the eligible moments at which a prediction is kept to be labelled, by hash of the event.
        prior: Probability, or of rule ``spend`` the amount, that is served before anything has been learned.
        members: Of its family, champion first; ``hurdle`` predicts amounts, the others probabilities.
        at_least: From which rating on feedback is good; of rule ``rating`` only.
        negatives: Share of the examples of label 0 that are learned from, by hash, each weighing as much more: what is
            learned stays calibrated. All are measured. Not for amounts, nor where labels are corrected.
        labels: ``wait`` for the horizon, then learn; or learn a negative at once and ``correct`` it when its label
            comes, which counts up to the horizon; of rule ``event`` only. Both are measured by final labels alone.
    """

    name: str
    horizon_s: Positive
    sampling_rate: Annotated[float, Meta(gt=0.0, le=1.0)]
    prior: Annotated[float, Meta(gt=0.0, le=1e9)]
    rule: RuleName = "event"
    label: Kind | None = None
    members: tuple[Member, ...] = ("linear",)
    at_least: Annotated[float, Meta(ge=0.0, le=5.0)] = 4.0
    labels: Literal["wait", "correct"] = "wait"
    negatives: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0


class Decisions(Section, frozen=True):
    """What is shown, by whom, and how its reward joins.

    Attributes:
        shares: Policy to its share of the users, by keyed hash; they sum to 1 and ``control`` has one.
        shadows: Policies that decide everything besides, and log it, without being shown.
        salt: Keys that hash; another salt is another draw of users.
        rewards: What a shown item can earn.
        impression_window_s: A decision that was not shown for so long is dropped, and is no zero.
        log_rate: Share of the decisions that are logged for evaluation.
        policies: Name to a policy of a kind; ``control`` and ``q`` need no entry. What a file says replaces all of it.
        q_filled_by: The policy that draws the items of the kind that the Q agent has chosen.
        q_rewards: Kind of event to what the Q agent is paid for it, between one decision and the next.
    """

    slate: Annotated[int, Meta(gt=0, le=20)] = 5
    shortlist: Annotated[int, Meta(gt=0, le=20)] = 20
    shares: dict[str, Share] = msgspec.field(
        default_factory=lambda: {"control": 0.2, "bandit": 0.4, "q": 0.2, "thompson": 0.1, "epsilon": 0.1}
    )
    shadows: tuple[str, ...] = ()
    salt: str = "headrace"
    rewards: Rewards = Rewards()
    impression_window_s: Positive = 600
    log_rate: Share = 1.0
    policies: dict[str, Policy] = msgspec.field(default_factory=lambda: dict(DEFAULT_POLICIES))
    q_filled_by: str = BANDIT
    q_gamma: Share = 0.9
    q_epsilon: Share = 0.1
    q_learning_rate: Share = 0.1
    q_rewards: dict[Kind, float] = msgspec.field(
        default_factory=lambda: {"click": 1.0, "add_to_cart": 2.0, "purchase": 5.0}
    )

    @property
    def policy_names(self) -> tuple[str, ...]:
        """Who can decide: the control, another that draws uniformly from what is popular, the Q agent, and others."""
        return CONTROL, POPULAR, Q_AGENT, *self.policies

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of the policies' learners, the Q agent's first, then the others' in the order of their table."""
        names = [learner_of(name, self.policies) for name in self.policies]
        return Q_AGENT, *dict.fromkeys(name for name in names if name is not None)

    def learners_from(self, policy: str) -> list[str]:
        """Names who learns from what a policy has shown; from the control all do, of which they learn the slots."""
        return [
            name
            for name in self.learners
            if name != Q_AGENT and (policy in (name, CONTROL) or not self.learns_from_own(name))
        ]

    def learns_from_own(self, learner: str) -> bool:
        """Tells a policy's own learner from a pooled one."""
        policy = self.policies[learner]
        return isinstance(policy, Learned) and policy.learns_from == "own"

    def discount(self, learner: str) -> float:
        """Returns what an example of a policy's learner still weighs when it learns the next one."""
        policy = self.policies[learner]
        return policy.discount if isinstance(policy, Learned) else 1.0


class Items(Section, frozen=True):
    """Relations between items.

    Attributes:
        half_life_s: Of popularity, co-visitation and click counts.
        neighbours: Kept of each item.
        publish_interval_s: An item is published to the feed at most once in so long, event time, and only with news.
        max_items: That a worker knows for retrieval, about 0.6 KB each; beyond it the items seen least recently are
            forgotten until they are seen again.
    """

    half_life_s: Seconds = 7 * 86400.0
    neighbours: Annotated[int, Meta(gt=0, le=128)] = 24
    publish_interval_s: Seconds = 5.0
    max_items: Positive = 250_000


class Http(Section, frozen=True):
    """What a worker answers over HTTP: whether it is well, and its numbers for Prometheus.

    Attributes:
        host: Address to listen on; whoever reaches it reads all numbers, without a password.
        port: 0 takes any that is free, so that several workers share a machine; the file ``http-address`` of the data
            directory says which.
        stalled_s: A worker that has something to read and has not moved for so long is not well.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    stalled_s: Seconds = 20.0


class Log(Section, frozen=True):
    """What a worker says on standard error.

    Attributes:
        form: ``text`` is ``key=value``; one line an incident either way.
    """

    form: Literal["text", "json"] = "text"


DEFAULT_WINDOWS: Final = (
    Window(name="5m", pane_s=60, panes=5),
    Window(name="1h", pane_s=300, panes=12),
    Window(name="24h", pane_s=3600, panes=24),
    Window(name="7d", pane_s=21600, panes=28),
)
DEFAULT_TARGETS: Final = (
    Target(
        name="purchase",
        label="purchase",
        horizon_s=1800,
        sampling_rate=1.0,
        prior=0.1,
        members=("linear", "additive", "perceptron", "blend"),
    ),
    Target(name="cart", label="add_to_cart", horizon_s=600, sampling_rate=1.0, prior=0.25),
    Target(name="click", label="click", horizon_s=300, sampling_rate=1.0, prior=0.6),
    Target(name="spend", rule="spend", horizon_s=1800, sampling_rate=1.0, prior=2.5, members=("hurdle",)),
)


class Settings(Section, frozen=True):
    """Everything that can be set. Build it with :func:`load_settings`; the defaults run on a laptop."""

    kafka: Kafka = Kafka()
    engine: Engine = Engine()
    time: Time = Time()
    admission: Admission = Admission()
    windows: tuple[Window, ...] = DEFAULT_WINDOWS
    targets: tuple[Target, ...] = DEFAULT_TARGETS
    decisions: Decisions = Decisions()
    items: Items = Items()
    http: Http = Http()
    log: Log = Log()
    seed: Annotated[int, Meta(ge=0)] = 0
    frozen_feeds: bool = False

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of all learners; the position of each is its partition of ``experiences``."""
        return tuple(target.name for target in self.targets) + self.decisions.learners

    @property
    def topics(self) -> list[Topic]:
        """Lists all topics, as these settings make them."""
        return topics(self.kafka.partitions, self.learners)


_SCALARS: Final = frozenset({"seed", "frozen_feeds"})


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings.

    Args:
        path: A TOML file; without one the defaults hold.
        environment: ``HEADRACE_<SECTION>__<KEY>`` overrides a key, with a TOML value or a bare string, and
            ``HEADRACE_<KEY>`` one outside of the sections; ``KAFKA_BOOTSTRAP_SERVERS`` sets the broker, as everywhere.

    Raises:
        ConfigurationError: The file cannot be read, a key is unknown (the nearest known one is named), a value is of
            the wrong type or range, or the values do not fit together.

    >>> load_settings(environment={"HEADRACE_KAFKA__PARTITIONS": "8"}).kafka.partitions
    8
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: {error}") from error
    _override(tree, environment or {})
    _refuse_unknown(tree, Settings, "")
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        complaint, _, key = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{key.removesuffix('`')}: {complaint}") from error
    _refuse_misfits(settings)
    return settings


def dump_settings(settings: Settings) -> dict[str, Any]:
    """Turns the settings into plain values, secrets blanked, for a person to read."""
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    if tree["kafka"]["sasl_password"]:
        tree["kafka"]["sasl_password"] = "***"
    return tree


def _override(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    if servers := environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        tree.setdefault("kafka", {})["bootstrap_servers"] = servers
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            # Others share the prefix: HEADRACE_CONFIG names the file.
            if section in _SCALARS:
                tree[section] = _parse(environment[name])
            continue
        if section not in Settings.__struct_fields__:
            raise ConfigurationError(f"{name}: there is no section {section!r}{_nearest(section, Settings)}")
        target = tree.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigurationError(f"{name}: {section} is a list; set it in the file")
        target[key] = _parse(environment[name])


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _refuse_unknown(tree: Mapping[str, Any], section: type[msgspec.Struct], path: str) -> None:
    types = {field.name: field.type for field in msgspec.structs.fields(section)}
    for key, value in tree.items():
        if key not in types:
            raise ConfigurationError(f"unknown key {path}{key}{_nearest(key, section)}")
        inner = types[key]
        if get_origin(inner) is tuple and isinstance(value, list):
            element = get_args(inner)[0]
            for number, entry in enumerate(value):
                if isinstance(element, type) and issubclass(element, msgspec.Struct) and isinstance(entry, dict):
                    _refuse_unknown(entry, element, f"{path}{key}[{number}].")
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
            _refuse_unknown(value, inner, f"{path}{key}.")
        elif inner == dict[str, Policy] and isinstance(value, dict):
            for name, entry in value.items():
                _refuse_unknown_policy(entry, f"{path}{key}.{name}")


def _refuse_unknown_policy(entry: Any, path: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{path} is not a table")
    kind = entry.get("kind")
    if kind not in KINDS:
        found = "is missing" if kind is None else f"is {kind!r}"
        raise ConfigurationError(f"{path}.kind {found}; known: {', '.join(KINDS)}")
    _refuse_unknown({key: value for key, value in entry.items() if key != "kind"}, KINDS[kind], f"{path}.")
    try:
        msgspec.convert(entry, KINDS[kind])
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _nearest(key: str, section: type[msgspec.Struct]) -> str:
    near = difflib.get_close_matches(key, section.__struct_fields__, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?" if near else ""


def _refuse_misfits(settings: Settings) -> None:
    decisions = settings.decisions
    _refuse_misfit_policies(decisions)
    if misfit := misfit_of(decisions.shares, decisions.shadows, decisions.policy_names):
        raise ConfigurationError(f"decisions.{misfit}")
    if not any(reward.weight for reward in settings.decisions.rewards.by_type):
        raise ConfigurationError(
            "decisions.rewards weigh nothing: give one a weight, so that there is something to learn"
        )
    if settings.decisions.slate > settings.decisions.shortlist:
        raise ConfigurationError("decisions.slate is larger than decisions.shortlist")
    names = [target.name for target in settings.targets]
    if len(set(settings.learners)) != len(settings.learners):
        of_policies = ", ".join(settings.decisions.learners)
        raise ConfigurationError(f"targets need names of their own, other than {of_policies}: {names}")
    for number, target in enumerate(settings.targets):
        _refuse_misfit_target(target, f"targets[{number}]")
        if set(target.members) <= {"blend"} or len(set(target.members)) != len(target.members):
            raise ConfigurationError(
                f"members of target {target.name}: {', '.join(target.members) or 'none'}; "
                "they need to differ, and blend needs others to combine"
            )
    if len({window.name for window in settings.windows}) != len(settings.windows):
        raise ConfigurationError("windows need names of their own")
    kafka = settings.kafka
    if kafka.security_protocol == "SASL_SSL" and not (kafka.sasl_username and kafka.sasl_password):
        raise ConfigurationError("kafka.security_protocol is SASL_SSL: set kafka.sasl_username and kafka.sasl_password")


def _refuse_misfit_target(target: Target, path: str) -> None:
    rule = RULES[target.rule]
    if "label" in rule.reads and target.label is None:
        raise ConfigurationError(f"{path}.label is missing: rule event needs the kind of event that it waits for")
    for key, default in (("label", None), ("at_least", 4.0)):
        if key not in rule.reads and getattr(target, key) != default:
            takers = ", ".join(name for name, other in RULES.items() if key in other.reads)
            raise ConfigurationError(f"{path}.{key} is read by rule {takers} only, not by {target.rule}: leave it out")
    if not rule.is_amount and target.prior >= 1.0:
        raise ConfigurationError(f"{path}.prior is {target.prior}: rule {target.rule} needs a probability, below 1")
    if set(target.members) != {"hurdle"} if rule.is_amount else "hurdle" in target.members:
        own = 'an amount: write members = ["hurdle"]' if rule.is_amount else "a probability, and hurdle an amount"
        raise ConfigurationError(f"{path}.members: rule {target.rule} predicts {own}")
    if target.labels == "correct" and not rule.corrects:
        raise ConfigurationError(
            f"{path}.labels is correct: rule {target.rule} has no label to correct before its horizon"
        )
    if target.negatives < 1.0 and (rule.is_amount or target.labels == "correct"):
        raise ConfigurationError(
            f"{path}.negatives is {target.negatives}: amounts and corrected labels are learned from whole"
        )


def _refuse_misfit_policies(decisions: Decisions) -> None:
    policies = decisions.policies
    if reserved := {CONTROL, POPULAR, Q_AGENT} & set(policies):
        raise ConfigurationError(f"decisions.policies.{min(reserved)}: the name is taken; choose another")
    filling = policies.get(decisions.q_filled_by)
    if filling is None or isinstance(filling, Uniform):
        learning = [name for name, policy in policies.items() if not isinstance(policy, Uniform)]
        raise ConfigurationError(
            f"decisions.q_filled_by is {decisions.q_filled_by!r}; it is one of decisions.policies that learns: "
            f"{', '.join(learning) or 'there is none'}"
        )
