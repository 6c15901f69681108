"""Reader of topics: lines of JSON for programs, coloured text for terminals."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Message, TopicPartition
from rich.text import Text

from streams.admin.catalogue import find_titles
from streams.admin.topic_reader import require_topics
from streams.contract.connection import reader_configuration
from streams.contract.errors import RejectedRecord
from streams.contract.events import decode_event
from streams.contract.metrics import decode_metrics
from streams.contract.records import (
    LoggedDecision,
    Recommendation,
    decode_logged_decision,
    decode_prediction,
    decode_recommendation,
)
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, DECISIONS, METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.core.retrieval.shortlist import reason_of
from streams.engine.reachability import unreadable

_BATCH: Final = 1000
_WAIT_S: Final = 0.2
_REASONS_SHOWN: Final = 2
_VALUE_SHOWN: Final = 160


def follow(
    settings: Settings,
    topic: str,
    from_beginning: bool,
    limit: int | None,
    notify: Callable[[str], None],
    user: str | None = None,
) -> Iterator[list[Message]]:
    """Yields records of all partitions as they come, in the order of their partition, without joining a group.

    Args:
        topic: A topic, as the code calls it.
        from_beginning: Start with the oldest record; otherwise with the next one written.
        limit: Number of records to yield; ``None`` for no limit.
        notify: Called with a sentence when the broker is lost; reading continues when it is back.
        user: Yield only records of this user; only for topics in :data:`USER_DECODERS`.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: There is no such topic, or the user may not read it.
    """
    kafka, name, has_answered = settings.kafka, settings.names.topic(topic), False

    def on_error(error: KafkaError) -> None:
        if has_answered and error.code() == KafkaError._ALL_BROKERS_DOWN:
            notify(f"no broker answers at {kafka.bootstrap_servers}; waiting")

    consumer = Consumer(
        {
            **reader_configuration(settings),
            "auto.offset.reset": "earliest",
            "error_cb": on_error,
        }
    )
    try:
        partitions = require_topics(consumer, settings, topic)[topic]
        has_answered = True
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(name, partition, start) for partition in range(partitions)])
        while limit is None or limit > 0:
            batch = consumer.consume(_BATCH, timeout=_WAIT_S)
            for message in batch:
                if error := message.error():
                    raise unreadable(name, error)
            if user is not None:
                batch = [message for message in batch if is_of(user, topic, message)]
            batch = batch[:limit]
            if limit is not None:
                limit -= len(batch)
            if batch:
                yield batch
    finally:
        consumer.close()


def json_line(topic: str, message: Message) -> bytes:
    """Turns a record of ``topic`` into one line of JSON, without the line's end; numbers stay as they were written.

    A logged decision, which is MessagePack, becomes an object with its arrays of numbers in base64. A value that is not
    of the topic's encoding becomes ``{"malformed": ...}`` with topic, partition and offset.
    """
    if topic == DEAD_LETTERS:
        return orjson.dumps(dead_letter(message))
    value = message.value() or b""
    try:
        if topic == DECISIONS:
            return msgspec.json.encode(msgspec.structs.asdict(decode_logged_decision(value)))
        orjson.loads(value)
    except (ValueError, msgspec.DecodeError):
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        return orjson.dumps({"malformed": value.decode(errors="replace"), **place})
    return value if b"\n" not in value else msgspec.json.format(value, indent=-1)


def dead_letter(message: Message) -> dict[str, Any]:
    """Decodes a dead letter: reason, origin, and the record's value as text.

    Bytes that are not UTF-8 are replaced; a missing header is ``None``.
    """
    headers = {name: bytes(value).decode(errors="replace") for name, value in _headers(message)}
    return {
        "reason": headers.get("reason"),
        "detail": headers.get("detail"),
        "topic": headers.get("topic"),
        "partition": _integer(headers.get("partition")),
        "offset": _integer(headers.get("offset")),
        "value": (message.value() or b"").decode(errors="replace"),
    }


def terminal_text(topic: str, message: Message, titles: Mapping[str, str] = MappingProxyType({})) -> Text:
    """Formats a record of ``topic`` for a terminal, without control characters from the record.

    Args:
        titles: Item to its title in the shop's catalogue.
    """
    try:
        return LAYOUTS[topic](message, titles)
    except (RejectedRecord, msgspec.DecodeError, IndexError, ValueError):
        return Text(f"{message.partition()}-{message.offset()} malformed: {_shortened(message)}", style="red")


def titles_for(settings: Settings, topic: str) -> dict[str, str]:
    """Reads the titles of the shop's catalogue, if the layout of a topic shows them."""
    return find_titles(settings) if topic in _OF_ITEMS else {}


def _event(message: Message, titles: Mapping[str, str]) -> Text:
    event = decode_event(message.value())
    text = Text.assemble(_clock(event.timestamp_ms))
    if event.user_id is not None:
        text.append(visible(event.user_id), "bold cyan").append("  ")
    text.append(event.kind, "magenta")
    if event.item_id is not None:
        text.append("  ").append_text(_item(event.item_id, titles))
    for shown in (event.category, event.query):
        if shown is not None:
            text.append(f"  {visible(shown)}", "green")
    if event.quantity is not None:
        text.append(f"  {event.quantity} x")
    if event.price is not None:
        text.append(f"  {event.price:.2f}", "yellow")
    if event.candidates is not None:
        text.append(f"  {len(event.candidates)} candidates")
    if event.position is not None:
        text.append(f"  slot {event.position + 1}")
    if event.decision_id is not None:
        text.append(f"  {visible(event.decision_id)}", "dim")
    return text


def _logged_decision(message: Message, titles: Mapping[str, str]) -> Text:
    decision = decode_logged_decision(message.value() or b"")
    text = _heading(decision)
    text.append(f"  of {len(decision.shortlist)} items{', for the log only' if decision.shadow else ''}", "dim")
    for slot, (place, propensity) in enumerate(zip(decision.slate, decision.propensities, strict=True), start=1):
        text.append(f"\n  {slot}. ").append_text(_item(decision.shortlist[place], titles))
        text.append(f"  p {propensity:.3f}  ").append(visible(reason_of(decision.sources[place])), "green")
    if not decision.slate:
        text.append("\n  nothing to recommend", "dim")
    for rule, items in decision.left_out.items():
        text.append(f"\n  left out by {visible(rule)}: ", "dim")
        text.append_text(Text(", ").join(_item(item, titles) for item in items))
    return text


def _recommendation(message: Message, titles: Mapping[str, str]) -> Text:
    decision = decode_recommendation(message.value() or b"")
    text = _heading(decision)
    for slot, item in enumerate(decision.items, start=1):
        score = "score    -" if item.score is None else f"score {item.score:.3f}"
        text.append(f"\n  {slot}. ").append_text(_item(item.item_id, titles))
        text.append(f"  {score}  p {item.propensity:.3f}  ").append(visible(item.reason), "green")
    return text if decision.items else text.append("\n  nothing to recommend", "dim")


def _prediction(message: Message, _: Mapping[str, str]) -> Text:
    prediction = decode_prediction(message.value() or b"")
    text = Text.assemble(_clock(prediction.timestamp_ms), (visible(prediction.user_id), "bold cyan"))
    expected = {target: f"{probability:.1%}" for target, probability in prediction.probabilities.items()}
    expected |= {target: f"{amount:.2f}" for target, amount in prediction.amounts.items()}
    for target, shown in expected.items():
        text.append(f"  {visible(target)} ").append(shown, "bold yellow")
        reasons = prediction.reasons.get(target, [])[:_REASONS_SHOWN]
        if reasons:
            named = ", ".join(f"{visible(reason.group)} {reason.contribution:+.2f}" for reason in reasons)
            text.append(f" ({named})", "dim")
    return text


def _metrics(message: Message, _: Mapping[str, str]) -> Text:
    numbers = msgspec.to_builtins(decode_metrics(message.value()))
    text = Text.assemble(
        _clock(message.timestamp()[1]), (visible((message.key() or b"").decode(errors="replace")), "bold")
    )
    for name, value in _flattened(numbers, ""):
        shown = f"{value:.4g}" if isinstance(value, float) else visible(str(value))
        text.append(f"  {visible(name)} ", "dim").append(shown, "yellow")
    return text


def _dead_letter(message: Message, _: Mapping[str, str]) -> Text:
    letter = dead_letter(message)
    origin = f"{letter['topic']}-{letter['partition']}-{letter['offset']}"
    return Text.assemble(
        _clock(message.timestamp()[1]),
        (visible(str(letter["reason"])), "bold red"),
        f"  {visible(origin)}  {visible(str(letter['detail']))}",
        (f"\n  {_shortened(message)}", "dim"),
    )


LAYOUTS: Final[dict[str, Callable[[Message, Mapping[str, str]], Text]]] = {
    CLICKSTREAM: _event,
    DECISIONS: _logged_decision,
    RECOMMENDATIONS: _recommendation,
    PREDICTIONS: _prediction,
    METRICS: _metrics,
    DEAD_LETTERS: _dead_letter,
}
"""Topic that can be followed to the layout of its records."""
_OF_ITEMS: Final = frozenset({CLICKSTREAM, DECISIONS, RECOMMENDATIONS})


class _OfUser(msgspec.Struct, frozen=True, gc=False):
    user_id: str | None = None


class _LoggedOfUser(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of :class:`~streams.contract.records.LoggedDecision`."""

    decision_id: str
    event_ref: str
    user_id: str


_of_user: Final = msgspec.json.Decoder(_OfUser).decode
USER_DECODERS: Final[dict[str, Callable[[bytes], _OfUser | _LoggedOfUser]]] = {
    CLICKSTREAM: _of_user,
    DECISIONS: msgspec.msgpack.Decoder(_LoggedOfUser).decode,
    PREDICTIONS: _of_user,
    RECOMMENDATIONS: _of_user,
}
"""Topic whose records are of a user to the decoder of the user's id."""


def is_of(user: str, topic: str, message: Message) -> bool:
    """Returns whether a record of ``topic``, one of :data:`USER_DECODERS`, is of a user, by its key or its value."""
    if message.key() == user.encode():
        return True
    try:
        return USER_DECODERS[topic](message.value() or b"").user_id == user
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def visible(text: str) -> str:
    """Replaces characters that are not printable: text from a shop must not move the cursor.

    >>> visible("shoe" + chr(27) + "[2J")
    'shoe\ufffd[2J'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _heading(decision: Recommendation | LoggedDecision) -> Text:
    return Text.assemble(
        _clock(decision.timestamp_ms),
        (visible(decision.user_id), "bold cyan"),
        "  ",
        (visible(decision.policy), "magenta"),
        (f"  {visible(decision.decision_id)}", "dim"),
    )


def _item(item_id: str, titles: Mapping[str, str]) -> Text:
    """Names an item, with its title if the catalogue has one."""
    title = titles.get(item_id)
    return Text.assemble((visible(item_id), "bold"), f"  {visible(title)}" if title else "")


def _flattened(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for name, inner in value.items():
        yield from _flattened(inner, f"{path}.{name}" if path else name)


def _headers(message: Message) -> list[tuple[str, bytes]]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value) for name, value in pairs if isinstance(value, bytes)]


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _clock(timestamp_ms: int) -> tuple[str, str]:
    return f"{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%H:%M:%S}  ", "dim"


def _shortened(message: Message) -> str:
    text = (message.value() or b"").decode(errors="replace")
    return visible(text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…")
