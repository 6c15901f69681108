"""Export of the logged decisions with their rewards, in the format of ``headrace evaluate policy``."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
from confluent_kafka import Consumer, KafkaException

from streams.admin.catalogue import find_titles
from streams.admin.topic_reader import partition_reader, read_to_end, require_topics
from streams.contract.errors import ConfigurationError, RejectedRecord, UnreachableBroker
from streams.contract.events import Event, decode_event
from streams.contract.records import NO_SOURCE, LoggedDecision, decode_logged_decision, decode_parameters
from streams.contract.settings import Decisions, Settings
from streams.contract.topics import CLICKSTREAM, DECISIONS, MODELS
from streams.core.policies.reward_models import PolicyModels
from streams.core.policies.slate_features import PACKING
from streams.evaluation.offpolicy.decision_log import FrozenModel, RewardedDecision
from streams.observability.progress import progress


class Dumped(msgspec.Struct):
    """Counts of written and omitted decisions.

    Attributes:
        decisions: Lines written.
        unseen: Decisions without an impression; omitted, since their reward is unknown, not zero.
        shadows: Decisions for the log only; omitted.
    """

    decisions: int = 0
    unseen: int = 0
    shadows: int = 0


def dump_decisions(settings: Settings, file: Path) -> Dumped:
    """Writes the latest models of the policies and every decision that was shown, with the titles of its items.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: A topic is missing.
        ConfigurationError: The file cannot be written.
    """
    dumped, name, titles = Dumped(), settings.names.topic, find_titles(settings)
    window_ms = settings.decisions.rewards.click.window_s * 1000
    consumer = partition_reader(settings)
    try:
        counts = require_topics(consumer, settings, DECISIONS, CLICKSTREAM, MODELS)
        with file.open("wb") as lines, progress("reading decisions", "decisions") as advance:
            for model in _models(_values(consumer, name(MODELS), 0), settings.decisions):
                lines.write(msgspec.json.encode(model) + b"\n")
            # A user's decisions and feedback have the same partition number.
            for partition in range(counts[DECISIONS]):
                logged = [decode_logged_decision(value) for value in _values(consumer, name(DECISIONS), partition)]
                events = _events(_values(consumer, name(CLICKSTREAM), partition))
                for decision in join(logged, events, window_ms, dumped, titles):
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
    logged: Iterable[LoggedDecision],
    events: Iterable[Event],
    window_ms: int,
    dumped: Dumped,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RewardedDecision]:
    """Yields the shown decisions with a reward for each slot: 1 for a click within ``window_ms`` of the impression.

    Args:
        logged: Decisions of one partition; repeats are dropped.
        events: Events of the same partition.
        window_ms: Reward window of a click.
        dumped: Counts, updated in place.
        titles: Item to its title in the shop's catalogue.
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
            timely = [answer for answer in answers if shown_ms <= answer.timestamp_ms <= shown_ms + window_ms]
            yield _rewarded(decision, timely, titles)


def _rewarded(decision: LoggedDecision, answers: Iterable[Event], titles: Mapping[str, str]) -> RewardedDecision:
    items = [decision.shortlist[place] for place in decision.slate]
    clicked = {(answer.position, answer.item_id) for answer in answers if answer.kind == "click"}
    return RewardedDecision(
        decision_id=decision.decision_id,
        user_id=decision.user_id,
        timestamp_ms=decision.timestamp_ms,
        policy=decision.policy,
        shortlist=decision.shortlist,
        features=PACKING.unpack(decision.features).tolist(),
        slate=decision.slate,
        propensities=decision.propensities,
        rewards=[float(slot in clicked) for slot in enumerate(items)],
        source_probability=decision.source_probability,
        given=NO_SOURCE in decision.sources,
        titles={item: titles[item] for item in decision.shortlist if item in titles},
        categories=decision.categories,
        max_per_category=decision.max_per_category,
    )


def _models(values: Iterable[bytes], decisions: Decisions) -> Iterator[FrozenModel]:
    """Yields the latest model of each policy learner that has learned on the present features."""
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
    return (value for message in read_to_end(consumer, topic, partition) if (value := message.value()))
