"""Mock broker of librdkafka: a TCP server in the confluent-kafka wheel, made for librdkafka's own tests.

Its C interface (``rdkafka_mock.h``) is not stable, so a missing symbol is reported as a refused start. The server binds
to loopback at a port that the kernel chooses; neither can be changed. It keeps everything in memory: 5 MiB as sent, or
100,000 message sets, per partition; beyond that the oldest are dropped silently.
"""

import ctypes
import ctypes.util
import importlib.util
import time
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from streams.contract.errors import ConfigurationError, RefusedStart

REBALANCE_DELAY_MS: Final = 200
ALL_BROKERS: Final = -1

_ONLY_BROKER: Final = 1
_PRODUCER: Final = 0
_ERROR_TEXT_BYTES: Final = 512
_COMMAND_PAUSE_S: Final = 0.002
_LOG_ERRORS_ONLY: Final = b"3"

_handle, _text, _int, _status = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "rd_kafka_conf_new": (_handle, ()),
    "rd_kafka_conf_set": (_status, (_handle, _text, _text, _text, ctypes.c_size_t)),
    "rd_kafka_new": (_handle, (_int, _handle, _text, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (_handle,)),
    "rd_kafka_err2str": (_text, (_status,)),
    "rd_kafka_mock_cluster_new": (_handle, (_handle, _int)),
    "rd_kafka_mock_cluster_destroy": (None, (_handle,)),
    "rd_kafka_mock_cluster_bootstraps": (_text, (_handle,)),
    "rd_kafka_mock_set_controller_id": (_status, (_handle, ctypes.c_int32)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_handle, ctypes.c_int32)),
    "rd_kafka_mock_topic_create": (_status, (_handle, _text, _int, _int)),
    "rd_kafka_mock_broker_set_rtt": (_status, (_handle, ctypes.c_int32, _int)),
    "rd_kafka_mock_broker_set_down": (_status, (_handle, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_status, (_handle, ctypes.c_int32)),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        (_handle, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_status)),
    ),
    "rd_kafka_mock_clear_request_errors": (None, (_handle, ctypes.c_int16)),
}


class Request(IntEnum):
    """Kafka API keys of the requests that faults are injected into."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


class MockCluster:
    """One broker in threads of this process. Close it, or the process may crash in the library's exit handlers.

    Raises:
        RefusedStart: The library is missing, or lacks a function, or could not listen.
    """

    def __init__(self) -> None:
        self._library = _load(_find_library())
        self._client = self._new_client()
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._client)
            raise RefusedStart("the embedded broker could not listen on 127.0.0.1")
        # Without a controller, clients wait for one until their timeout. With it, creating topics fails at once.
        self._call("rd_kafka_mock_set_controller_id", _ONLY_BROKER)
        # A group waits this long for further members; 3 s by default.
        self._call("rd_kafka_mock_group_initial_rebalance_delay_ms", REBALANCE_DELAY_MS)

    @property
    def bootstrap_servers(self) -> str:
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic.

        Raises:
            ConfigurationError: It exists, or the broker takes no such name or number.
        """
        # The library takes an empty name and no partitions, and aborts the process on a negative number.
        if not name or not 0 < partitions <= 10_000:
            raise ConfigurationError(f"no topic {name!r} of {partitions} partitions")
        self._call("rd_kafka_mock_topic_create", name.encode(), partitions, 1)

    def set_round_trip(self, milliseconds: int) -> None:
        self._call("rd_kafka_mock_broker_set_rtt", ALL_BROKERS, milliseconds)

    def fail_requests(self, request: int, errors: Sequence[int]) -> None:
        """Answers the next requests of one kind with these error codes, one each; -195 closes the connection."""
        codes = (_status * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)

    def answer_again(self, request: int) -> None:
        """Forgets the errors that requests of one kind were still to be answered with."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def take_down(self) -> None:
        self._call("rd_kafka_mock_broker_set_down", ALL_BROKERS)

    def bring_up(self) -> None:
        self._call("rd_kafka_mock_broker_set_up", ALL_BROKERS)

    def close(self) -> None:
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None

    def __enter__(self) -> "MockCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_client(self) -> int:
        """Creates the client handle that the library requires for a mock cluster; it connects to nothing."""
        reason = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        configuration = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(configuration, b"log_level", _LOG_ERRORS_ONLY, reason, _ERROR_TEXT_BYTES)
        client: int | None = self._library.rd_kafka_new(_PRODUCER, configuration, reason, _ERROR_TEXT_BYTES)
        if not client:
            raise RefusedStart(f"the embedded broker's library did not start: {reason.value.decode()}")
        return client

    def _call(self, function: str, *arguments: bytes | int) -> None:
        status: int | None = getattr(self._library, function)(self._cluster, *arguments)
        # The broker's thread answers a command before it clears its wake-up pipe. A command that arrives in between
        # would be handled only in the thread's next turn, a second later.
        time.sleep(_COMMAND_PAUSE_S)
        if status:
            reason: bytes = self._library.rd_kafka_err2str(status)
            call = f"{function.removeprefix('rd_kafka_mock_')}{arguments}"
            raise ConfigurationError(f"the embedded broker refused {call}: {reason.decode()}")


def _find_library() -> str:
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise RefusedStart("the embedded broker needs the package confluent-kafka")
    package = Path(spec.origin).parent
    bundled = sorted(
        path
        for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs")
        for path in folder.glob("*rdkafka*")
        if "++" not in path.name
    )
    found = str(bundled[0]) if bundled else ctypes.util.find_library("rdkafka")
    if not found:
        raise RefusedStart(f"no librdkafka beside {package} or in the system: install the wheel of confluent-kafka")
    return found


def _load(path: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise RefusedStart(f"{path} has no mock broker of the expected version: {error}") from error
    return library
