"""Sections of the settings that need no more than their fields, and the numbers that all sections hold."""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from streams.contract.errors import ConfigurationError
from streams.contract.events import MAX_EVENT_BYTES
from streams.contract.names import AUTO, DEFAULT_APP_ID
from streams.contract.topics import Topic

_ADDRESS: Final = re.compile(r"(?:(\w+)://)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")
_PORT: Final = 9092
_APP_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")

Positive = Annotated[int, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Seconds = Annotated[float, Meta(gt=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the TOML file."""


class Kafka(Section, frozen=True):
    """``[kafka]``: connection to the broker, and the topics that are created.

    Attributes:
        learner_partitions: Of ``examples``; the hash of a learner's name says which is its own, so that learners may
            come and go. It cannot change once there are rows.
        bootstrap_servers: ``host:port``, several with commas between; ``PROTOCOL://`` before one has to be
            ``security_protocol``.
        topic_prefix: Beginning of all topics, so that two applications on a cluster do not share any. ``auto`` is none
            for ``engine.app_id`` headrace, and ``<app_id>.`` for all others.
        clickstream: Whole name of the topic with the shop's events, if it is not ``<topic_prefix>clickstream``.
        security_protocol: ``SASL_PLAINTEXT`` sends everything unencrypted, with ``PLAIN`` the password, too.
    """

    bootstrap_servers: str = "localhost:9092"
    topic_prefix: str = AUTO
    clickstream: str = ""
    partitions: Positive = 4
    learner_partitions: Positive = 8
    replication_factor: Positive = 1
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: str = ""


def check_kafka(kafka: Kafka) -> None:
    """Raises a ConfigurationError where keys do not fit together."""
    if kafka.security_protocol.startswith("SASL") and not (kafka.sasl_username and kafka.sasl_password):
        raise ConfigurationError(
            f"kafka.security_protocol is {kafka.security_protocol}: set kafka.sasl_username and kafka.sasl_password"
        )


def check_names(app_id: str, topics: Sequence[Topic]) -> None:
    """Raises a ConfigurationError where Kafka does not take a name, or two topics have one.

    Args:
        topics: With their names on the cluster.
    """
    if not _APP_ID.fullmatch(app_id):
        raise ConfigurationError(f"engine.app_id is {app_id!r}: use letters, digits, - and _, 100 characters at most")
    for topic in topics:
        if not _TOPIC.fullmatch(topic.name) or topic.name in (".", ".."):
            raise ConfigurationError(
                f"kafka.topic_prefix and kafka.clickstream make {topic.name!r} the name of a topic: use letters, "
                "digits, ., - and _, 249 characters at most"
            )
    names = [topic.name for topic in topics]
    if names[0] in names[1:]:
        raise ConfigurationError(f"kafka.clickstream is {names[0]!r}, which is another topic of the application")


def plain_addresses(kafka: Kafka) -> str:
    """Returns the addresses as ``host:port,host:port``, which every client reads alike.

    Raises:
        ConfigurationError: One is no address, or of another protocol than the settings.

    >>> plain_addresses(Kafka(bootstrap_servers="PLAINTEXT://kafka-1:9092, kafka-2"))
    'kafka-1:9092,kafka-2:9092'
    """
    return ",".join(_plain_address(address.strip(), kafka) for address in kafka.bootstrap_servers.split(","))


def _plain_address(address: str, kafka: Kafka) -> str:
    found = _ADDRESS.fullmatch(address)
    protocol, host, port = found.groups() if found else (None, None, None)
    if host is None or (port is not None and not 0 < int(port) < 1 << 16):
        raise ConfigurationError(f"kafka.bootstrap_servers: {address!r} is no address; give host:port, as kafka-1:9092")
    if protocol is not None and protocol.upper() != kafka.security_protocol:
        raise ConfigurationError(
            f"kafka.bootstrap_servers: {address!r} is of the protocol {protocol}, and kafka.security_protocol is "
            f"{kafka.security_protocol}; give host:port alone, and set the protocol to one of "
            "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
        )
    return f"{host}:{port or _PORT}"


class Engine(Section, frozen=True):
    """``[engine]``: micro-batches, tables and the process around them.

    Attributes:
        app_id: Name of the application; its consumer groups and transactional ids begin with it.
        batch_records: Records of one partition that make a micro-batch at the most.
        batch_due_rows: Users whose labels, rewards and sessions one micro-batch makes final at the most. Where one
            event, such as a tick, makes more fall due, several batches do that before it is applied.
        buffer_batches: Micro-batches that Faust buffers for each partition.
        row_cache_bytes: Size of the rows of each partition that are kept decoded in memory, those that changed last, as
            they are encoded; decoded they take several times as much.
        fetch_wait_ms: Longest time for which the broker may hold an empty fetch.
        hold_ms: Time for which ``item-signals`` and ``examples`` are gathered before they are folded.
        watchdog_s: The worker exits after so long with lag and no progress, or without an assignment.
        delivery: ``transactions`` make outputs exactly once for readers of committed records; ``auto`` takes them on
            every broker but the embedded one, which cannot abort them.
        transaction_timeout_s: After so long the broker aborts an open transaction, and readers can go on.
        instance_id: Kafka static membership (``group.instance.id``), unique and stable per worker: a restart within the
            session timeout causes no rebalance. Empty disables it.
        max_output_bytes: Limit of one record; a larger one stops the worker before anything is produced.
        max_row_bytes: The same for one row.
        dead_letter_bytes: Bytes of the record that a dead letter keeps.
        block_cache_bytes: Memory for blocks read from disk, of all tables of a worker together.
        write_buffer_bytes: Memory for rows not yet written to disk, of all tables together.
    """

    app_id: str = DEFAULT_APP_ID
    data_dir: str = ".headrace"
    batch_records: Positive = 2000
    batch_due_rows: Positive = 2000
    buffer_batches: Positive = 8
    row_cache_bytes: Annotated[int, Meta(ge=0)] = 4 * 1024 * 1024
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
    """``[time]``: event time.

    Attributes:
        allowed_lateness_s: Distance of the watermark from the event time that its partition has reached.
        confirming_users: An event whose time the broker's clock does not confirm advances the watermark only as far as
            so many users have come; 1 lets any clock advance it.
        ahead_tolerance_s: An event further ahead of its record's timestamp is a dead letter.
        session_gap_s: A session ends after so long without an event.
    """

    allowed_lateness_s: Seconds = 300.0
    confirming_users: Annotated[int, Meta(ge=1, le=100)] = 3
    ahead_tolerance_s: Seconds = 300.0
    session_gap_s: Seconds = 1800.0


class Admission(Section, frozen=True):
    """``[admission]``: limits of events; one outside of them becomes a dead letter, counted by its reason.

    Attributes:
        event_bytes: Size of one record (``oversized``).
        behind_s: An event further behind its record's timestamp is refused (``behind``). 0 accepts any age, which the
            replay of a recorded file needs.
        late_s: An event further behind its partition's watermark is refused (``stale``); 0 accepts
            any. Few event ids are remembered: the limit bounds how much of a file that is replayed twice is counted
            twice.
        retry_window_s: An event that is sent again within it, by the partition's event time, is a duplicate, if it is
            among the last 64 events of its user; among the last 8 it is one at any time.
        user_events_per_minute: Events of one user, by event time (``flood``).
    """

    event_bytes: Annotated[int, Meta(gt=0, le=MAX_EVENT_BYTES)] = MAX_EVENT_BYTES
    behind_s: NotNegative = 0.0
    late_s: NotNegative = 0.0
    retry_window_s: Annotated[int, Meta(ge=0)] = 600
    user_events_per_minute: Positive = 6000


class Window(Section, frozen=True):
    """``[[windows]]``: a sliding window of a shopper's counts.

    It is a ring of panes and spans ``panes * pane_s`` seconds, half-open.
    """

    name: str
    pane_s: Positive
    panes: Annotated[int, Meta(gt=0, le=128)]


DEFAULT_WINDOWS: Final = (
    Window(name="5m", pane_s=60, panes=5),
    Window(name="1h", pane_s=300, panes=12),
    Window(name="24h", pane_s=3600, panes=24),
    Window(name="7d", pane_s=21600, panes=28),
)


def check_windows(windows: Sequence[Window]) -> None:
    """Raises a ConfigurationError where two have one name."""
    if len({window.name for window in windows}) != len(windows):
        raise ConfigurationError("windows need names of their own")


class Items(Section, frozen=True):
    """``[items]``: statistics of items and relations between them.

    Attributes:
        half_life_s: Half-life of popularity, co-visitation and click counts.
        neighbours: Related items kept for each item.
        publish_interval_s: An item is published to the global table at most once in so long, in event time, and only
            if enough has changed.
        max_items: Items that a worker keeps for retrieval, about 0.8 KB each; beyond it the items seen least recently
            are evicted until they are seen again.
    """

    half_life_s: Seconds = 7 * 86400.0
    neighbours: Annotated[int, Meta(gt=0, le=128)] = 24
    publish_interval_s: Seconds = 5.0
    max_items: Positive = 250_000


class Http(Section, frozen=True):
    """``[http]``: the worker's health and its metrics for Prometheus, over HTTP.

    Attributes:
        host: Address to listen on; whoever reaches it reads all numbers, without a password.
        port: 0 takes a free port, so that several workers can share a machine; the file ``http-address`` in the data
            directory holds the address.
        stalled_s: A worker with lag and no progress for so long is unhealthy.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    stalled_s: Seconds = 20.0


class Serve(Section, frozen=True):
    """``[serve]``: the HTTP door, ``headrace serve``.

    Attributes:
        host: Address to listen on. One that other machines reach requires a key; TLS is a proxy's.
        port: 0 takes a free port.
        key_sha256: SHA-256 of the secret key that requests carry, in hexadecimal; empty for none.
        cors_origins: Origins of pages that may send messages to ``/v1/track`` and ``/v1/batch`` from a browser, such
            as ``https://shop.example``; ``*`` lets all of them.
        body_bytes: Largest body of a request, unpacked.
        inflight_bytes: Bytes of all requests being answered; beyond it, requests are refused with 429.
        page: Whether the page for people and the sample shop are served, at ``/`` and ``/shop``.
        remembered: Slates that are kept in memory: of so many users, and of so many events.
        max_lag_s: When a request for a slate has waited for so long, further ones are answered from memory at once.
        body_timeout_s: A request whose body takes longer to arrive is refused.
        idle_timeout_s: A connection without a whole request for so long is closed, and, on Linux, one whose client
            reads nothing of its answers for so long.
        shutdown_timeout_s: At SIGTERM, requests being answered have so long to end.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    key_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    cors_origins: tuple[Annotated[str, Meta(pattern=r"^(\*|https?://[^/\s]+)$")], ...] = ()
    body_bytes: Positive = 1024 * 1024
    inflight_bytes: Positive = 64 * 1024 * 1024
    page: bool = True
    remembered: Positive = 100_000
    max_lag_s: Seconds = 5.0
    body_timeout_s: Seconds = 10.0
    idle_timeout_s: Seconds = 75.0
    shutdown_timeout_s: Seconds = 15.0


class Log(Section, frozen=True):
    """``[log]``: the worker's log on standard error.

    Attributes:
        form: ``text`` is ``key=value``. Both forms write one line for each incident.
    """

    form: Literal["text", "json"] = "text"
