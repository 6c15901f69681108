"""A recorded clickstream as examples of a target: the Behaviour fold in memory, predictions, labels and all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from producers.replay.taobao import read_taobao
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.events import Event, encode_event
from streams.contract.outputs import Output
from streams.contract.rules import RULES
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXPERIENCES
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples, read_examples
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.memory import MemoryTopics, MemoryWorker
from streams.ops.evaluate.table import Table

_BATCH: Final = 1000
_YEAR_2100_MS: Final = 4_102_444_800_000


def read_clickstream(path: Path, target: str, settings: Settings, advance: Callable[[int], None]) -> Table:
    """Folds the events of a Taobao file in the order of time and gathers what Behaviour sends of one target.

    The examples are in the order in which their labels became final, and know how many labels were final when they were
    predicted: nothing is scored by weights that have learned from its future.

    Raises:
        UnreadableSource: The file is missing, or a line of it is not of the format.
        ConfigurationError: There is no such target, or it came to no example of both classes.
    """
    names = [declared.name for declared in settings.targets]
    if target not in names:
        raise ConfigurationError(f"there is no target {target!r}; there are {', '.join(names)}")
    if any(RULES[declared.rule].is_amount for declared in settings.targets if declared.name == target):
        raise ConfigurationError(f"{target} is an amount, not one of two classes: `headrace evaluate shop` measures it")
    events = sorted(read_taobao(path), key=lambda event: event.timestamp_ms)
    if not events:
        raise UnreadableSource(f"{path}: there are no events")
    own = tuple(declared for declared in settings.targets if declared.name == target)
    settings = replace(settings, kafka=replace(settings.kafka, partitions=1), targets=own)
    examples = _fold(events, target, settings, advance)
    labels = np.concatenate([batch.labels for batch in examples]) if examples else np.zeros(0)
    if labels.min(initial=1.0) == labels.max(initial=0.0):
        raise ConfigurationError(f"{path.name} makes no examples of both classes for target {target}")
    times = np.array([event.timestamp_ms for event in events] + [_end_ms(events, settings)])
    final_ms = np.concatenate([times[batch.offsets] for batch in examples])
    predicted_ms = np.concatenate([batch.timestamps_ms for batch in examples])
    vectors = np.concatenate([batch.vectors for batch in examples])
    schema = feature_schema(settings.windows)
    return Table(
        schema=schema,
        vectors=vectors,
        labels=labels,
        ordered=True,
        raw=vectors.astype(np.float64),
        categorical=np.zeros(len(schema.names), np.bool_),
        known=np.searchsorted(final_ms, predicted_ms, side="left"),
    )


def _fold(events: Sequence[Event], target: str, settings: Settings, advance: Callable[[int], None]) -> list[Examples]:
    """Sends the events, and at last a tick, through the fold; returns what it sent of ``target``."""
    topics = MemoryTopics(settings, lambda: _YEAR_2100_MS)
    scorers = Scorers(settings.targets, feature_schema(settings.windows))
    fold: Any = BehaviourFold(settings, Catalogue(settings), scorers, PolicyModels(settings.decisions))
    worker = MemoryWorker(fold, topics, settings)
    for start in range(0, len(events), _BATCH):
        part = events[start : start + _BATCH]
        for event in part:
            topics.append(Output(CLICKSTREAM, (event.user_id or "").encode(), encode_event(event), 0))
        worker.step(0, _BATCH)
        advance(len(part))
    tick = Event(event_id="end", timestamp_ms=_end_ms(events, settings), kind="tick")
    topics.append(Output(CLICKSTREAM, None, encode_event(tick), 0))
    worker.step(0, 1)
    return [read_examples(record.value) for record in topics.records[EXPERIENCES, settings.learners.index(target)]]


def _end_ms(events: Sequence[Event], settings: Settings) -> int:
    """A time at which every label is final."""
    wait_s = max(target.horizon_s for target in settings.targets) + settings.time.allowed_lateness_s
    return events[-1].timestamp_ms + int(1000 * wait_s) + 1000
