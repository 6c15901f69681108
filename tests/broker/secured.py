"""Apache Kafka with a listener that asks for a password, and with rules for its users."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from streams.brokers.apache_kafka import ApacheKafka, free_ports
from streams.contract.acls import Acl
from streams.contract.connection import client_configuration
from streams.contract.settings import Kafka

PASSWORDS: Final = {"worker": "w-secret", "stranger": "s-secret", "admin": "a-secret"}
_USERS: Final = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())


class SecuredKafka(ApacheKafka):
    """One node; who comes without a password, by the plain listener, may do everything, and users nothing."""

    def start(self) -> None:
        [self._secured] = free_ports(1)
        super().start()
        self._client = AdminClient(client_configuration(Kafka(bootstrap_servers=self.bootstrap_servers)))

    def settings_of(self, user: str, password: str = "") -> Kafka:
        """Returns the settings of a user, by default with the right password."""
        return Kafka(
            bootstrap_servers=f"127.0.0.1:{self._secured}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username=user,
            sasl_password=password or PASSWORDS[user],
        )

    def allow(self, user: str, acl: Acl) -> None:
        """Allows a user all of an ACL, at once."""
        bindings = [AclBinding(*each) for each in _fields_of(user, acl)]
        for future in self._client.create_acls(bindings).values():
            future.result()

    def forbid(self, user: str, acl: Acl) -> None:
        """Takes it back."""
        filters = [AclBindingFilter(*each) for each in _fields_of(user, acl)]
        for future in self._client.delete_acls(filters).values():
            assert len(future.result()) == 1

    def _configuration(self, node: int, log: Path) -> dict[str, str]:
        plain = super()._configuration(node, log)
        secured = f",SASL_PLAINTEXT://127.0.0.1:{self._secured}"
        return {
            **plain,
            "listeners": plain["listeners"] + secured,
            "advertised.listeners": plain["advertised.listeners"] + secured,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {_USERS};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


def _fields_of(user: str, acl: Acl) -> Iterable[tuple[Any, ...]]:
    """Lists what confluent-kafka calls bindings: one for each resource and operation."""
    type_ = ResourceType[acl.resource.upper().replace("-", "_")]
    pattern = ResourcePatternType.PREFIXED if acl.are_prefixes else ResourcePatternType.LITERAL
    for name in acl.names:
        for operation in acl.operations:
            yield type_, name, pattern, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW
