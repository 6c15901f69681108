"""Reasons for which a broker does not answer or refuses a request, each with what to do."""

from collections.abc import Collection
from time import monotonic
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.contract.connection import client_configuration
from streams.contract.errors import HeadraceError, RefusedStart, UnreachableBroker
from streams.contract.settings import Kafka, Settings
from streams.contract.topic_config import unprefixed_topics

_SLICE_S: Final = 0.5
_ALL_ACLS: Final = "`headrace topics acls` prints all that the application needs"

_UNAUTHORISED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)


def refusal_of(error: KafkaException) -> KafkaError:
    """Returns a broker's refusal; a client's own error means that no broker answered, and is raised again."""
    cause: KafkaError = error.args[0]
    if cause.code() < 0:
        raise error
    return cause


def why_unreachable(kafka: Kafka, timeout_s: float = 5.0) -> str:
    """Connects once more and says why that fails, and what to do; empty if a broker answers now.

    A client's own error is the same for every reason ("broker transport failure"); the reason is in its error callback.
    """
    errors: list[KafkaError] = []
    callback: dict[str, Any] = {"log_level": 0, "error_cb": errors.append}
    client = AdminClient({**client_configuration(kafka), **callback})
    deadline_s = monotonic() + timeout_s
    while monotonic() < deadline_s:
        try:
            client.list_topics(timeout=_SLICE_S)
        except KafkaException as error:
            errors.append(error.args[0])
        else:
            return ""
        client.poll(0)
        for each in errors:
            if why := _reason(each, kafka):
                return why
    return "nothing came back: check that a firewall lets connections through, and that the broker is up"


class _Reason(NamedTuple):
    """One reason: an error with one of the codes, or with one of the phrases in librdkafka's text, has it."""

    codes: tuple[int, ...]
    phrases: tuple[str, ...]
    what: str
    todo: str


_REASONS: Final = (
    _Reason((KafkaError._RESOLVE,), (), "there is no such host", "correct kafka.bootstrap_servers, or the DNS"),
    _Reason(
        (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED),
        (),
        "the broker refused the credentials of {kafka.sasl_username!r}",
        "correct kafka.sasl_username, kafka.sasl_password or kafka.sasl_mechanism ({kafka.sasl_mechanism})",
    ),
    _Reason(
        (),
        ("certificate verify failed",),
        "the broker's certificate is not trusted",
        "set kafka.ssl_ca_location to the file of the authority that signed it",
    ),
    _Reason(
        (KafkaError._SSL, KafkaError._BAD_MSG),
        ("PLAINTEXT broker listener", "security.protocol"),
        "the broker speaks another protocol",
        "kafka.security_protocol is {kafka.security_protocol}; set it to what the listener speaks",
    ),
    _Reason(
        (), ("Connection refused",), "nobody listens there", "start the broker, or correct kafka.bootstrap_servers"
    ),
)
"""The first that fits."""


def _reason(error: KafkaError, kafka: Kafka) -> str:
    said = error.str()
    for reason in _REASONS:
        if error.code() in reason.codes or any(phrase in said for phrase in reason.phrases):
            return f"{reason.what.format(kafka=kafka)} ({said}): {reason.todo.format(kafka=kafka)}"
    return ""


def is_unauthorised(error: KafkaError) -> bool:
    """Returns whether the broker knows the user, who may not do this."""
    return error.code() in _UNAUTHORISED


def unauthorised(error: KafkaError, kafka: Kafka) -> RefusedStart:
    """Makes the error of a user who may not do something."""
    return RefusedStart(f"the broker does not allow this to {user_of(kafka)}: {error.str()}. {_ALL_ACLS}")


def unreadable(topic: str, error: KafkaError) -> HeadraceError:
    """Makes the error of a topic that cannot be read."""
    why = f"{topic} cannot be read: {error.str()}"
    return RefusedStart(f"{why}. {_ALL_ACLS}") if is_unauthorised(error) else UnreachableBroker(why)


def no_topic(topic: str, settings: Settings, there: Collection[str]) -> str:
    """Says that a topic is not there; a broker says the same of one that the user may not describe.

    Args:
        topic: As the code calls it.
        there: Topics of the cluster.
    """
    kafka = settings.kafka
    hidden = "" if kafka.security_protocol == "PLAINTEXT" else f", or allow {user_of(kafka)} to describe it"
    others = unprefixed_topics(settings, there)
    return (
        f"there is no topic {settings.names.topic(topic)} at {kafka.bootstrap_servers}: run `headrace topics create`"
        f"{hidden}{others and f'. {others}'}"
    )


def user_of(kafka: Kafka) -> str:
    """Names the user that clients are."""
    return repr(kafka.sasl_username) if kafka.security_protocol.startswith("SASL") else "a client without a name"
