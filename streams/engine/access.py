"""Check of the access that a worker needs, made at its start: later, a refusal would be one of many errors."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.contract.acls import WORKERS, Acl, acl_command, acls
from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings
from streams.engine.reachability import is_unauthorised, user_of

_ANSWER_S: Final = 10.0


class Missing(NamedTuple):
    """Operations on a resource that are not allowed."""

    resource: str
    name: str
    operations: tuple[str, ...]


def refuse_missing_access(settings: Settings, group: str) -> None:
    """Asks the broker what the user of the settings may do with topics and groups.

    Transactional ids cannot be asked for; they are refused when the first partitions are assigned.

    Args:
        group: Consumer group of the worker.

    Raises:
        RefusedStart: They may not do all that a worker needs; the message has the commands that allow it.
        KafkaException: The broker did not answer.
    """
    if settings.kafka.security_protocol == "PLAINTEXT":
        return
    client = AdminClient(client_configuration(settings.kafka))
    client.list_topics(timeout=_ANSWER_S)
    topics = TopicCollection([topic.name for topic in settings.topics])
    groups = [group, settings.names.readers]
    options = {"include_authorized_operations": True, "request_timeout": _ANSWER_S}
    answers = [
        *(("topic", name, future) for name, future in client.describe_topics(topics, **options).items()),
        *(("group", name, future) for name, future in client.describe_consumer_groups(groups, **options).items()),
    ]
    missing = [
        Missing(resource, name, operations)
        for resource, name, future in answers
        if (operations := _missing_of(future, _acl_of(settings, resource, name).operations))
    ]
    if missing:
        raise RefusedStart(no_access(settings, missing))


def no_access(settings: Settings, missing: Iterable[Missing]) -> str:
    """Says what the user of the settings may not do, and how to allow it."""
    places: dict[tuple[str, str], list[str]] = {}
    for each in missing:
        places.setdefault((", ".join(each.operations), each.resource), []).append(each.name)
    named = "; ".join(f"{what} on the {resource} {', '.join(names)}" for (what, resource), names in places.items())
    lacking = dict.fromkeys(
        _acl_of(settings, resource, name) for (_, resource), names in places.items() for name in names
    )
    commands = " && ".join(acl_command(acl, settings) for acl in lacking)
    return f"the broker does not allow {user_of(settings.kafka)} {named}. An administrator allows it by: {commands}"


def _acl_of(settings: Settings, resource: str, name: str) -> Acl:
    """Returns the ACL for a resource that workers need."""
    return next(acl for acl in acls(settings) if acl[:2] == (WORKERS, resource) and acl.covers(name))


def _missing_of(future: Any, operations: Sequence[str]) -> tuple[str, ...]:
    """Returns the operations that the broker says are not allowed; what it does not say is not missing."""
    try:
        allowed = future.result().authorized_operations
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        return tuple(operations) if is_unauthorised(cause) else ()
    if allowed is None:
        return ()
    names = {each.name for each in allowed}
    return tuple(operation for operation in operations if operation not in names)
