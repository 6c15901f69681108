"""Access that an application needs on a cluster with an authorizer. This is the only list."""

import shlex
from typing import Final, Literal, NamedTuple

from streams.contract.connection import tool_options
from streams.contract.settings import Settings

WORKERS: Final = "workers, and commands that read"
PUBLISHERS: Final = "replay, simulate, ingest, dead-letters replay"
ADMINISTRATORS: Final = "topics create"

Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]


class Acl(NamedTuple):
    """Operations that are allowed on resources of one type.

    Attributes:
        needed_by: Who needs it.
        names: Of the resources, or their beginnings.
        are_prefixes: Whether ``names`` are beginnings.
    """

    needed_by: str
    resource: Literal["topic", "group", "transactional-id"]
    names: tuple[str, ...]
    are_prefixes: bool
    operations: tuple[Operation, ...]

    def covers(self, name: str) -> bool:
        """Returns whether it is for this resource."""
        return name.startswith(self.names) if self.are_prefixes else name in self.names


def acls(settings: Settings) -> list[Acl]:
    """Lists the access that the application needs, that of its workers first.

    Consumer groups and transactional ids begin with ``engine.app_id``. Topics begin with their prefix; without one,
    each is named. READ and WRITE imply DESCRIBE.
    """
    names, app_id = settings.names, (settings.names.app_id,)
    others = tuple(topic.name for topic in settings.topics if topic.name != names.events)
    own = (names.prefix,) if names.prefix else others
    is_apart = not (names.prefix and names.events.startswith(names.prefix))
    events = (names.events,)
    listed = [
        Acl(WORKERS, "topic", own, bool(names.prefix), ("READ", "WRITE", "DESCRIBE_CONFIGS")),
        Acl(WORKERS, "topic", events, False, ("READ", "DESCRIBE_CONFIGS")),
        Acl(WORKERS, "group", app_id, True, ("READ",)),
        Acl(WORKERS, "transactional-id", app_id, True, ("WRITE",)),
        Acl(PUBLISHERS, "topic", events, False, ("WRITE",)),
        Acl(ADMINISTRATORS, "topic", own, bool(names.prefix), ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS")),
        Acl(ADMINISTRATORS, "topic", events, False, ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS")),
    ]
    return [acl for acl in listed if is_apart or acl.names != events]


def acl_command(acl: Acl, settings: Settings, principal: str = "") -> str:
    """Returns the command of Apache Kafka that allows it.

    Args:
        principal: As Kafka calls the user; by default the one of the settings.
    """
    operations = " ".join(f"--operation {''.join(map(str.title, each.split('_')))}" for each in acl.operations)
    resources = " ".join(f"--{acl.resource} {shlex.quote(name)}" for name in acl.names)
    pattern = " --resource-pattern-type prefixed" if acl.are_prefixes else ""
    return (
        f"kafka-acls.sh {tool_options(settings.kafka)} --add --allow-principal "
        f"{shlex.quote(principal or principal_of(settings))} {operations} {resources}{pattern}"
    )


def principal_of(settings: Settings) -> str:
    """Returns the user of the settings as Kafka calls them; with a certificate it is called otherwise."""
    return f"User:{settings.kafka.sasl_username or settings.engine.app_id}"
