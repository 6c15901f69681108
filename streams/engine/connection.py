"""Credentials for Faust's and aiokafka's connections to the broker."""

import ssl
from collections.abc import Mapping
from typing import Any

from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.contract.settings import Kafka


def faust_credentials(kafka: Kafka) -> Credentials | None:
    """Builds Faust's credentials; without an SSL context Faust sends plain text."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = None
    if kafka.security_protocol != "SASL_PLAINTEXT":
        context = ssl.create_default_context(cafile=kafka.ssl_ca_location or None)
    if kafka.security_protocol == "SSL":
        return SSLCredentials(context)
    return SASLCredentials(
        username=kafka.sasl_username, password=kafka.sasl_password, mechanism=kafka.sasl_mechanism, ssl_context=context
    )


def aiokafka_credentials(kafka: Kafka) -> Mapping[str, Any]:
    """Builds aiokafka's connection arguments, the same as Faust's."""
    return dict(credentials_to_aiokafka_auth(faust_credentials(kafka)))
