"""Behaviour cut off again and again, going on with batches of other sizes."""

from random import Random

from streams.contract.topics import CLICKSTREAM
from streams.engine.protocol import STEPS
from streams.testing import Crash, Crashed, Pipeline


def behave_with_crashes(pipeline: Pipeline, seed: int, *, within_deliveries: bool) -> int:
    """Folds the clickstream while the process is cut off now and then; returns how often it was.

    Args:
        within_deliveries: Cut off with a part of a batch's outputs or rows delivered, rather than between two steps.
    """
    random = Random(seed)
    crashes = 0
    for partition in pipeline.partitions:
        while not _is_done(pipeline, partition):
            crash = None
            if within_deliveries and random.random() < 0.7:
                crash = Crash("fold", random.randrange(250))
            elif not within_deliveries and random.random() < 0.3:
                crash = Crash(random.choice(STEPS))
            try:
                pipeline.behaviour.step(partition, random.choice((3, 20, 60)), crash)
            except Crashed:
                crashes += 1
                pipeline.behaviour.restart()
    return crashes


def _is_done(pipeline: Pipeline, partition: int) -> bool:
    return pipeline.behaviour.committed[partition] == len(pipeline.topics.records[CLICKSTREAM, partition])
