"""Cutting Behaviour off, again and again, and going on with batches of other sizes."""

from random import Random

import pytest

from streams.contract.topics import CLICKSTREAM
from streams.engine import protocol
from tests.pipeline.running import Crash, Pipeline


def behave_with_crashes(pipeline: Pipeline, seed: int, *, within_deliveries: bool) -> int:
    """Folds the clickstream while the process is cut off now and then; returns how often it was.

    Args:
        within_deliveries: Cut off with a part of a batch's outputs or rows delivered, rather than between two steps.
    """
    random = Random(seed)
    crashes = 0
    armed = False

    def crash_point(source: str, step: str) -> None:
        if armed and random.random() < 0.06:
            raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "crash_point", crash_point)
        for partition in pipeline.partitions:
            while not _is_done(pipeline, partition):
                may_crash = random.random() < 0.7
                armed = may_crash and not within_deliveries
                pipeline.topics.budget = random.randrange(250) if may_crash and within_deliveries else None
                try:
                    pipeline.behaviour.step(partition, random.choice((3, 20, 60)))
                except Crash:
                    crashes += 1
                    pipeline.crash()
    pipeline.topics.budget = None
    return crashes


def _is_done(pipeline: Pipeline, partition: int) -> bool:
    return pipeline.behaviour.committed[partition] == len(pipeline.topics.records[CLICKSTREAM, partition])
