"""Configurations of confluent-kafka clients; every client of the project connects alike."""

from typing import Any

from streams.contract.settings import Kafka, Settings


def client_configuration(kafka: Kafka) -> dict[str, Any]:
    """Configures the connection of any client.

    librdkafka logs emergencies only: other errors are raised or passed to a callback.
    """
    configuration: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "log_level": 2,
    }
    if kafka.security_protocol != "PLAINTEXT" and kafka.ssl_ca_location:
        configuration["ssl.ca.location"] = kafka.ssl_ca_location
    if kafka.security_protocol.startswith("SASL"):
        configuration |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.sasl_username,
            "sasl.password": kafka.sasl_password,
        }
    return configuration


def reader_configuration(settings: Settings, group: str = "") -> dict[str, Any]:
    """Configures a consumer that is assigned partitions by hand and commits nothing.

    Args:
        group: Consumer group whose committed offsets it may ask for; librdkafka requires one in any case.
    """
    return {
        **client_configuration(settings.kafka),
        "group.id": group or settings.names.readers,
        "enable.auto.commit": False,
        # The embedded broker holds an empty fetch for the whole wait.
        "fetch.wait.max.ms": 100,
    }


def member_configuration(settings: Settings, group: str) -> dict[str, Any]:
    """Configures a consumer that joins a group, and whose offsets are committed in transactions."""
    engine = settings.engine
    return {
        **reader_configuration(settings, group),
        "auto.offset.reset": "earliest",
        "session.timeout.ms": int(engine.session_timeout_s * 1000),
        "heartbeat.interval.ms": int(engine.heartbeat_interval_s * 1000),
    }


def tool_options(kafka: Kafka) -> str:
    """Returns the options by which a command of Apache Kafka reaches the broker."""
    credentials = "" if kafka.security_protocol == "PLAINTEXT" else " --command-config client.properties"
    return f"--bootstrap-server {kafka.bootstrap_servers}{credentials}"


def producer_configuration(kafka: Kafka, delivery_timeout_s: float) -> dict[str, Any]:
    """Configures an idempotent producer whose keys have the partitions of :func:`partition_of`."""
    return {
        **client_configuration(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "delivery.timeout.ms": int(delivery_timeout_s * 1000),
    }
