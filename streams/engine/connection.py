"""How to reach the broker, in the words of Faust and of aiokafka."""

import ssl
from collections.abc import Mapping
from typing import Any

from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.contract.settings import Kafka


def faust_credentials(kafka: Kafka) -> Credentials | None:
    """Says how to connect, as Faust's credentials; always with an SSL context, without which Faust sends plain text."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context(cafile=kafka.ssl_ca_location or None)
    if kafka.security_protocol == "SSL":
        return SSLCredentials(context)
    return SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password,
        mechanism=kafka.sasl_mechanism,
        ssl_context=context,
    )


def aiokafka_credentials(kafka: Kafka) -> Mapping[str, Any]:
    """Says how to connect, as aiokafka's arguments, the same that Faust gives it."""
    return dict(credentials_to_aiokafka_auth(faust_credentials(kafka)))
