"""Writes the log of decisions with what they earned, as ``headrace evaluate policy`` reads it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import ConfigurationError, RefusedStart, RejectedRecord, UnreachableBroker
from streams.contract.events import Event, decode_event
from streams.contract.records import LoggedDecision, decode_logged_decision, decode_parameters
from streams.contract.settings import Decisions, Settings
from streams.contract.topics import CLICKSTREAM, DECISIONS, MODELS
from streams.core.policies.models import PolicyModels
from streams.ops.clients import QUIET, partition_counts
from streams.ops.evaluate.decision_log import FrozenModel, RewardedDecision
from streams.ops.progress import progress

_WAIT_S: Final = 10.0
_SLICE_S: Final = 0.2
_AT_ONCE: Final = 1000


class Dumped(msgspec.Struct):
    """What was written, and what was not.

    Attributes:
        decisions: Lines.
        unseen: Decisions without an impression: they are no zeros, and not in the file.
        shadows: Decisions that were made besides and never to be shown; not in the file either.
    """

    decisions: int = 0
    unseen: int = 0
    shadows: int = 0


def dump_decisions(settings: Settings, file: Path) -> Dumped:
    """Writes the latest models of the policies and every decision that was shown.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: A topic is not there.
        ConfigurationError: The file cannot be written.
    """
    dumped = Dumped()
    consumer = Consumer(
        {
            **client_configuration(settings.kafka),
            **QUIET,
            "group.id": "headrace-decisions",  # required by the client; nothing is ever committed to it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        counts = partition_counts(consumer, settings.kafka.bootstrap_servers)
        for topic in (DECISIONS, CLICKSTREAM, MODELS):
            if topic not in counts:
                raise RefusedStart(f"there is no topic {topic}: run `headrace topics create`")
        with file.open("wb") as lines, progress("reading decisions", "decisions") as advance:
            for model in _models(_values(consumer, MODELS, 0), settings.decisions):
                lines.write(msgspec.json.encode(model) + b"\n")
            # A user's decisions and feedback are in partitions of one number.
            for partition in range(counts[DECISIONS]):
                logged = [decode_logged_decision(value) for value in _values(consumer, DECISIONS, partition)]
                events = _events(_values(consumer, CLICKSTREAM, partition))
                for decision in join(logged, events, settings.decisions.rewards.click.window_s * 1000, dumped):
                    lines.write(msgspec.json.encode(decision) + b"\n")
                    advance(1)
    except KafkaException as error:
        raise UnreachableBroker(f"the topics cannot be read: {error.args[0].str()}") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        consumer.close()
    return dumped


def join(
    logged: Iterable[LoggedDecision], events: Iterable[Event], window_ms: int, dumped: Dumped
) -> Iterator[RewardedDecision]:
    """Gives each slot of the decisions that were shown 1 for a click within ``window_ms`` of the impression, else 0.

    Args:
        logged: Of one partition; what is there twice is given once.
        events: All of the same users.
        window_ms: Of a click.
        dumped: Counts.
    """
    feedback: dict[str, list[Event]] = {}
    for event in events:
        if event.decision_id is not None and event.kind in {"impression", "click"}:
            feedback.setdefault(event.decision_id, []).append(event)
    for decision in {each.decision_id: each for each in logged}.values():
        answers = feedback.get(decision.decision_id, [])
        shown_ms = min((answer.timestamp_ms for answer in answers if answer.kind == "impression"), default=None)
        if decision.shadow:
            dumped.shadows += 1
        elif shown_ms is None:
            dumped.unseen += 1
        else:
            dumped.decisions += 1
            yield _rewarded(decision, [a for a in answers if shown_ms <= a.timestamp_ms <= shown_ms + window_ms])


def _rewarded(decision: LoggedDecision, answers: Iterable[Event]) -> RewardedDecision:
    items = [decision.shortlist[place] for place in decision.slate]
    clicked = {(answer.position, answer.item_id) for answer in answers if answer.kind == "click"}
    n_items = len(decision.shortlist)
    return RewardedDecision(
        decision_id=decision.decision_id,
        user_id=decision.user_id,
        timestamp_ms=decision.timestamp_ms,
        policy=decision.policy,
        shortlist=decision.shortlist,
        features=np.frombuffer(decision.features).reshape(n_items, -1).tolist() if n_items else [],
        slate=decision.slate,
        propensities=decision.propensities,
        rewards=[float(slot in clicked) for slot in enumerate(items)],
        kind_probability=decision.kind_probability,
    )


def _models(values: Iterable[bytes], decisions: Decisions) -> Iterator[FrozenModel]:
    """The latest of each learner of the policies that has learned, on the features in use."""
    models = PolicyModels(decisions)
    for value in values:
        models.apply(decode_parameters(value))
    for learner, model in models.rewards.items():
        if models.versions[learner]:
            yield FrozenModel(
                model=learner,
                theta=model.theta.tolist(),
                examples=model.examples,
                version=models.versions[learner],
                factor=model.factor.tolist(),
            )


def _events(values: Iterable[bytes]) -> Iterator[Event]:
    for value in values:
        try:
            yield decode_event(value)
        except RejectedRecord:
            continue


def _values(consumer: Consumer, topic: str, partition: int) -> Iterator[bytes]:
    """Yields the values of a partition up to its present end."""
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    deadline_s = monotonic() + _WAIT_S
    while True:
        # A call waits until it has as many as it may return, so that it waits in slices.
        batch: list[Message] = consumer.consume(_AT_ONCE, timeout=_SLICE_S)
        if batch:
            deadline_s = monotonic() + _WAIT_S
        elif monotonic() > deadline_s:
            raise UnreachableBroker(f"{topic} could not be read within {_WAIT_S:g} s")
        for message in batch:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return
            if error is not None:
                raise UnreachableBroker(f"{topic} cannot be read: {error.str()}")
            if value := message.value():
                yield value
