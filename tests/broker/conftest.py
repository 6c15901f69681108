"""Apache Kafka for tests marked ``kafka``: one for the whole run, or the cluster that KAFKA_BOOTSTRAP_SERVERS names."""

import os
from collections.abc import Iterator

import pytest

from streams.contract.errors import RefusedStart
from streams.ops.apache import ApacheKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a broker. Headrace's topics on it are deleted and made anew by every test."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
        return
    cluster = ApacheKafka()
    try:
        cluster.start()
    except RefusedStart as refusal:
        pytest.skip(f"no Apache Kafka: {refusal}; KAFKA_BOOTSTRAP_SERVERS may name a cluster for tests")
    try:
        yield cluster.bootstrap_servers
    finally:
        cluster.stop()
