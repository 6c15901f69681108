"""Names of an application on its cluster: topics, consumer groups, transactional ids. They are made here only."""

from typing import Final, NamedTuple

from streams.contract.topics import CLICKSTREAM

DEFAULT_APP_ID: Final = "headrace"
AUTO: Final = "auto"


class Names(NamedTuple):
    """Names of one application on its cluster; those of two applications are never equal.

    Attributes:
        app_id: Beginning of all consumer groups and transactional ids.
        prefix: Beginning of all topics.
        clickstream: Whole name of the topic with the shop's events; empty for ``<prefix>clickstream``.
        prefix_is_default: Whether the application's id alone names its groups.
    """

    app_id: str = DEFAULT_APP_ID
    prefix: str = ""
    clickstream: str = ""
    prefix_is_default: bool = True

    def topic(self, name: str) -> str:
        """Returns the name on the cluster of a topic that the code calls ``name``.

        >>> shop = Names("shop", "shop.", clickstream="web-events")
        >>> shop.topic("clickstream"), shop.topic("predictions")
        ('web-events', 'shop.predictions')
        """
        return self.clickstream if name == CLICKSTREAM and self.clickstream else self.prefix + name

    def group(self, *parts: str) -> str:
        """Returns a consumer group; without ``parts`` that of workers, which producers compare themselves with.

        Two applications may share an id if their topics have other prefixes, so the prefix belongs to the group.

        >>> Names("shop", "shop.").group(), Names("shop", "test.", prefix_is_default=False).group("readers")
        ('shop', 'shop.readers@test.')
        """
        return ".".join([self.app_id, *parts]) + ("" if self.prefix_is_default else f"@{self.prefix}")

    @property
    def events(self) -> str:
        """Name on the cluster of the topic with the shop's events."""
        return self.topic(CLICKSTREAM)

    @property
    def readers(self) -> str:
        """Consumer group that readers name who join no group and commit nothing."""
        return self.group("readers")

    def transactional_id(self, source: str, partition: int) -> str:
        """Returns the transactional id of whoever owns a source partition."""
        return self.group(source, str(partition))


def names_of(app_id: str, topic_prefix: str = AUTO, clickstream: str = "") -> Names:
    """Makes the names of an application.

    Args:
        topic_prefix: ``auto`` for nothing if the application is ``headrace``, and ``<app_id>.`` for all others.

    >>> names_of("headrace").topic("items"), names_of("shop").topic("items"), names_of("shop", "").topic("items")
    ('items', 'shop.items', 'items')
    """
    default = "" if app_id == DEFAULT_APP_ID else f"{app_id}."
    prefix = default if topic_prefix == AUTO else topic_prefix
    return Names(app_id, prefix, clickstream, prefix == default)
