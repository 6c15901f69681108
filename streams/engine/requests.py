"""Kafka protocol requests DescribeTransactions and DescribeProducers (KIP-664), which the Python clients lack.

A coordinator knows the state of an id's last transaction. A partition's leader knows which producers have a transaction
open in it.
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_text = CompactString("utf-8")
_topics = CompactArray(("name", _text), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))


class _DescribedTransactions(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", _text),
                ("state", _text),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", _topics),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeTransactions(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = _DescribedTransactions
    SCHEMA = Schema(("transactional_ids", CompactArray(_text)), ("tags", TaggedFields))


class DescribeTransactions(Request[_DescribeTransactions]):  # type: ignore[misc]
    """Request to the coordinator of these ids for their last transactions."""

    API_KEY = 65

    def __init__(self, transactional_ids: Sequence[str]) -> None:
        self._transactional_ids = list(transactional_ids)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._transactional_ids, {})


class _DescribedProducers(Response):  # type: ignore[misc]
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _text),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", _text),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("transaction_begins", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducers(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = _DescribedProducers
    SCHEMA = Schema(("topics", _topics), ("tags", TaggedFields))


class DescribeProducers(Request[_DescribeProducers]):  # type: ignore[misc]
    """Request to a leader for the producers of its partitions and the start offsets of their open transactions.

    Args:
        topics: Names, each with its partitions.
    """

    API_KEY = 61

    def __init__(self, topics: Sequence[tuple[str, Sequence[int]]]) -> None:
        self._topics: list[tuple[str, list[int], dict[int, bytes]]] = [
            (name, list(partitions), {}) for name, partitions in topics
        ]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._topics, {})
