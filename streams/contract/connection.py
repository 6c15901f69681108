"""How to reach the broker, in the words of librdkafka; every client of the project connects alike."""

from typing import Any

from streams.contract.settings import Kafka


def client_configuration(kafka: Kafka) -> dict[str, Any]:
    """Says how to connect, as confluent-kafka's configuration."""
    configuration: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.security_protocol != "PLAINTEXT" and kafka.ssl_ca_location:
        configuration["ssl.ca.location"] = kafka.ssl_ca_location
    if kafka.security_protocol == "SASL_SSL":
        configuration |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.sasl_username,
            "sasl.password": kafka.sasl_password,
        }
    return configuration
