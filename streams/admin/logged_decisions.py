"""Search for one decision, with what the shadows decided beside it, in the log of decisions."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException

from streams.admin.topic_reader import partition_reader, read_to_end, require_topics
from streams.contract.errors import UnreachableBroker, UnreadableSource
from streams.contract.records import LoggedDecision, decode_logged_decision, without_epoch
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DECISIONS


class FoundDecision(NamedTuple):
    """A decision that was shown, and those that its shadows made for the log."""

    decision: LoggedDecision
    shadows: list[LoggedDecision]


_REFERENCE: Final = re.compile(rf"{CLICKSTREAM}(?:@\d+)?-(?P<partition>\d+)-(?P<offset>\d+)(?:\.[0-9a-f]{{12}})?")


def is_reference(text: str) -> bool:
    """Returns whether ``text`` has the form of a decision's id or of its event's reference.

    >>> is_reference("clickstream-3-41"), is_reference("clickstream@1-3-41.0123456789ab"), is_reference("user-3")
    (True, True, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def find_decision(settings: Settings, reference: str) -> FoundDecision:
    """Reads a decision from the topic.

    Args:
        reference: Its id, or the reference of its event, with or without the epoch. An event that was decided again
            after a crash has several decisions: then the last one is returned.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: There is no such topic.
        UnreadableSource: The log does not have it, or it is not of the form of such an id.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UnreadableSource(f"{reference!r} is no decision_id or event_ref: they begin like {CLICKSTREAM}-3-41")
    partition = int(match["partition"])
    consumer = partition_reader(settings)
    try:
        # A shopper's events and decisions have the same partition number.
        if partition >= require_topics(consumer, settings, DECISIONS)[DECISIONS]:
            raise _unknown(settings, reference)
        records = read_to_end(consumer, settings.names.topic(DECISIONS), partition)
        return find_among(settings, reference, (message.value() or b"" for message in records))
    except KafkaException as error:
        raise UnreachableBroker(f"the topics cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()


def find_among(settings: Settings, reference: str, values: Iterable[bytes]) -> FoundDecision:
    """Finds a decision among the values of its partition; see :func:`find_decision`."""
    offset = f"-{reference.partition('.')[0].rpartition('-')[2]}".encode()
    found: dict[str, LoggedDecision] = {}
    for value in values:
        if offset not in value:
            continue  # decoding takes longer
        try:
            logged = decode_logged_decision(value)
        except msgspec.DecodeError:
            continue  # no record of ours, or of another version: it is not the one, or the search says so
        names = (logged.event_ref, logged.decision_id.partition("/")[0])
        if reference in names or reference in map(without_epoch, names):
            found[logged.decision_id] = logged
    shown = [each for each in found.values() if not each.shadow]
    if not shown:
        raise _unknown(settings, reference)
    decision = shown[-1]
    shadows = [each for id_, each in found.items() if each.shadow and id_.startswith(f"{decision.decision_id}/")]
    return FoundDecision(decision, shadows)


def _unknown(settings: Settings, reference: str) -> UnreadableSource:
    rate = settings.decisions.log_rate
    return UnreadableSource(
        f"{settings.names.topic(DECISIONS)} has no decision {reference}: no slate was asked for there, the broker has"
        f" deleted it, or it is not in the sample (decisions.log_rate is {rate:g})"
    )
