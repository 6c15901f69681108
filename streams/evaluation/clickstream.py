"""Examples of a target from a recorded clickstream, made by the Behaviour fold in memory."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.contract.errors import ConfigurationError
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.settings import Settings
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples
from streams.evaluation.table import Table
from streams.testing import Pipeline

_BATCH: Final = 1000


def clickstream_table(
    events: Sequence[Event], name: str, target: str, settings: Settings, advance: Callable[[int], None]
) -> Table:
    """Folds events, which are in the order of time, and collects the examples of one target.

    The examples are in the order in which their labels became final. ``known`` is the number of labels that were final
    at each prediction, so that no example is scored by weights that have learned from its future.

    Args:
        name: That of their file, for messages.

    Raises:
        ConfigurationError: There is no such target, or its examples are not of both classes.
    """
    names = [declared.name for declared in settings.targets]
    if target not in names:
        raise ConfigurationError(f"there is no target {target!r}; known: {', '.join(names)}")
    if any(RULES[declared.rule].is_amount for declared in settings.targets if declared.name == target):
        raise ConfigurationError(f"{target} is an amount, not one of two classes: `headrace evaluate shop` measures it")
    own = tuple(declared for declared in settings.targets if declared.name == target)
    settings = replace(settings, kafka=replace(settings.kafka, partitions=1), targets=own)
    examples = _fold(events, target, settings, advance)
    labels = np.concatenate([batch.labels for batch in examples]) if examples else np.zeros(0)
    if labels.min(initial=1.0) == labels.max(initial=0.0):
        raise ConfigurationError(f"the examples of target {target} from {name} are not of both classes")
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
        positive=target,
        negative=f"no {target}",
        columns={},
        known=np.searchsorted(final_ms, predicted_ms, side="left"),
    )


def _fold(events: Sequence[Event], target: str, settings: Settings, advance: Callable[[int], None]) -> list[Examples]:
    """Folds the events, and finally a tick; returns the examples of ``target``."""
    pipeline = Pipeline(settings)
    for start in range(0, len(events), _BATCH):
        part = events[start : start + _BATCH]
        for event in part:
            pipeline.publish(event)
        pipeline.behaviour.drain(_BATCH)
        advance(len(part))
    pipeline.tick(_end_ms(events, settings))
    pipeline.behaviour.drain()
    return pipeline.example_batches(target)


def _end_ms(events: Sequence[Event], settings: Settings) -> int:
    """Returns a time at which every label is final."""
    wait_s = max(target.horizon_s for target in settings.targets) + settings.time.allowed_lateness_s
    return events[-1].timestamp_ms + int(1000 * wait_s) + 1000
