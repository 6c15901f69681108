"""Follows an output topic: lines of JSON for programs, coloured lines for people."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Message, TopicPartition
from rich.text import Text

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart, UnreachableBroker
from streams.contract.records import decode_prediction, decode_recommendation
from streams.contract.settings import Kafka
from streams.contract.topics import DEAD_LETTERS, METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.ops.clients import QUIET, partition_counts

_BATCH: Final = 1000
_WAIT_S: Final = 0.2
_REASONS_SHOWN: Final = 2
_VALUE_SHOWN: Final = 160


def follow(
    kafka: Kafka, topic: str, from_beginning: bool, limit: int | None, notify: Callable[[str], None]
) -> Iterator[list[Message]]:
    """Yields records of all partitions as they come, in the order of their partition, without joining a group.

    Args:
        kafka: Where the broker is.
        topic: One of Headrace's.
        from_beginning: Or else only what is written from now on.
        limit: Ends after so many records; without one, never.
        notify: Is told, in a sentence, when the broker has gone; reading goes on by itself when it is back.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: There is no such topic.
    """
    has_answered = False

    def on_error(error: KafkaError) -> None:
        if has_answered and error.code() == KafkaError._ALL_BROKERS_DOWN:
            notify(f"no broker answers at {kafka.bootstrap_servers}; waiting")

    consumer = Consumer(
        {
            **client_configuration(kafka),
            **QUIET,
            "group.id": "headrace-tail",  # required by the client; nothing is ever committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "error_cb": on_error,
        }
    )
    try:
        partitions = partition_counts(consumer, kafka.bootstrap_servers).get(topic)
        has_answered = True
        if partitions is None:
            raise RefusedStart(f"there is no topic {topic} at {kafka.bootstrap_servers}: run `headrace topics create`")
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(topic, partition, start) for partition in range(partitions)])
        while limit is None or limit > 0:
            batch = consumer.consume(_BATCH if limit is None else min(limit, _BATCH), timeout=_WAIT_S)
            for message in batch:
                if error := message.error():
                    raise UnreachableBroker(f"{topic} cannot be read: {error.str()}")
            if limit is not None:
                limit -= len(batch)
            if batch:
                yield batch
    finally:
        consumer.close()


def json_line(message: Message) -> bytes:
    """Turns a record into one line of JSON, without the line's end; numbers pass as they were written.

    A value that is not JSON becomes ``{"malformed": ...}`` with its place.
    """
    if message.topic() == DEAD_LETTERS:
        return orjson.dumps(dead_letter(message))
    value = message.value() or b""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        return orjson.dumps({"malformed": value.decode(errors="replace"), **place})
    return value if b"\n" not in value else msgspec.json.format(value, indent=-1)


def dead_letter(message: Message) -> dict[str, Any]:
    """Reads a dead letter: what was wrong, where the record was, and its value as text.

    What is not UTF-8 is replaced; a header that is missing is ``None``.
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


def terminal_text(message: Message) -> Text:
    """Lays a record out for a person; nothing in it can steer the terminal."""
    try:
        return _LAYOUTS[message.topic() or ""](message)
    except (msgspec.DecodeError, orjson.JSONDecodeError):
        return Text(f"{message.partition()}-{message.offset()} malformed: {_shortened(message)}", style="red")


def _recommendation(message: Message) -> Text:
    decision = decode_recommendation(message.value() or b"")
    text = Text.assemble(
        _clock(decision.timestamp_ms),
        (visible(decision.user_id), "bold cyan"),
        "  ",
        (visible(decision.policy), "magenta"),
        (f"  {visible(decision.decision_id)}", "dim"),
    )
    for slot, item in enumerate(decision.items, start=1):
        score = "score    -" if item.score is None else f"score {item.score:.3f}"
        text.append(f"\n  {slot}. ").append(visible(item.item_id), "bold")
        text.append(f"  {score}  p {item.propensity:.3f}  ").append(visible(item.reason), "green")
    return text if decision.items else text.append("\n  nothing to recommend", "dim")


def _prediction(message: Message) -> Text:
    prediction = decode_prediction(message.value() or b"")
    text = Text.assemble(_clock(prediction.timestamp_ms), (visible(prediction.user_id), "bold cyan"))
    expected = {target: f"{probability:.1%}" for target, probability in prediction.probabilities.items()}
    expected |= {target: f"{amount:.2f}" for target, amount in prediction.amounts.items()}
    for target, shown in expected.items():
        text.append(f"  {visible(target)} ").append(shown, "bold yellow")
        reasons = prediction.reasons.get(target, [])[:_REASONS_SHOWN]
        if reasons:
            named = ", ".join(f"{visible(reason.feature)} {reason.contribution:+.2f}" for reason in reasons)
            text.append(f" ({named})", "dim")
    return text


def _metrics(message: Message) -> Text:
    numbers = orjson.loads(message.value() or b"")
    text = Text.assemble(
        _clock(message.timestamp()[1]), (visible((message.key() or b"").decode(errors="replace")), "bold")
    )
    for name, value in _flattened(numbers, ""):
        shown = f"{value:.4g}" if isinstance(value, float) else visible(str(value))
        text.append(f"  {visible(name)} ", "dim").append(shown, "yellow")
    return text


def _dead_letter(message: Message) -> Text:
    letter = dead_letter(message)
    origin = f"{letter['topic']}-{letter['partition']}-{letter['offset']}"
    return Text.assemble(
        _clock(message.timestamp()[1]),
        (visible(str(letter["reason"])), "bold red"),
        f"  {visible(origin)}  {visible(str(letter['detail']))}",
        (f"\n  {_shortened(message)}", "dim"),
    )


_LAYOUTS: Final[dict[str, Callable[[Message], Text]]] = {
    RECOMMENDATIONS: _recommendation,
    PREDICTIONS: _prediction,
    METRICS: _metrics,
    DEAD_LETTERS: _dead_letter,
}


def visible(text: str) -> str:
    """Replaces what does not print: text from a shop must not move the cursor or reverse the line.

    >>> visible("shoe" + chr(27) + "[2J")
    'shoe\ufffd[2J'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


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
