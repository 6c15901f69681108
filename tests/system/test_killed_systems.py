"""Whole workers are killed after any step and at any moment, on a disk that stays or is lost: every promise holds."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from streams.contract.topics import RECOMMENDATIONS
from tests.system import closed_loop
from tests.system.closed_loop import ClosedLoop
from tests.system.cluster import Cluster, Worker, cluster
from tests.timeouts import Deadline

POINTS: Final = (
    "clickstream:emit:3",
    "clickstream:log:2",
    "clickstream:store:2",
    "clickstream:acknowledge:3",
    "item-signals:emit:2",
    "item-signals:log:3",
    "examples:emit:2",
    "examples:log:2",
)
MOMENTS: Final = 2
SMALL_BATCHES: Final = {"HEADRACE_ENGINE__BATCH_RECORDS": "60"}


def disks(kind: str) -> Iterator[str]:
    number = 0
    while True:
        yield "disk" if kind == "same" else f"disk-{number}"
        number += 1


def finish(it: Cluster, shop: ClosedLoop, *workers: Worker) -> list[Worker]:
    """Lets all be folded, shown and answered, and everything mature."""
    running = it.settle(*workers, meanwhile=shop.answer)
    shop.answer()
    running = it.settle(*running)
    shop.close()
    return it.settle(*running)


def check_all(it: Cluster, behaviour_disk: str, other_disk: str) -> None:
    closed_loop.check_users(it, behaviour_disk)
    closed_loop.check_learners(it, other_disk)
    closed_loop.check_items(it, other_disk)
    closed_loop.check_decisions(it)
    closed_loop.check_rewards(it)


@pytest.mark.parametrize("disk", ["same", "empty"])
def test_kills_of_a_worker_at_any_step_and_moment_lose_and_repeat_nothing(tmp_path: Path, disk: str) -> None:
    draw = random.Random(disk)
    places = disks(disk)
    with cluster(tmp_path, **SMALL_BATCHES) as it:
        shop = ClosedLoop(it)
        for point in POINTS:
            shop.shop(400)
            if point.startswith("examples"):
                shop.close()
            it.until_killed(next(places), point, shop.answer)
        for _ in range(MOMENTS):
            shop.shop(1500)
            known = len(it.records(RECOMMENDATIONS))
            worker = it.start(next(places))
            deadline = Deadline(worker.said)
            while len(it.records(RECOMMENDATIONS)) == known and worker.code is None:
                deadline.check()
                time.sleep(0.02)
            time.sleep(draw.uniform(0.0, 0.5))
            worker.kill()
        last = next(places)
        finish(it, shop, it.start(last))[0].stop()
        check_all(it, last, last)


@pytest.mark.parametrize("disk", ["same", "empty"])
def test_kills_of_behaviour_while_the_others_go_on_learning(tmp_path: Path, disk: str) -> None:
    places = disks(disk)
    with cluster(tmp_path, **SMALL_BATCHES) as it:
        shop = ClosedLoop(it)
        # The models must be other ones when a decision is made again, so there must be something to learn first.
        shop.shop(1500)
        learning = it.start("learning", "items", "learning")
        behaviour, learning = finish(it, shop, it.start(next(places), "behaviour"), learning)
        behaviour.stop()
        for point in ("clickstream:emit:2", "clickstream:emit:4", "clickstream:log:3", "clickstream:store:2"):
            shop.shop(400)
            it.until_killed(next(places), point, shop.answer, folds=["behaviour"])
        last = next(places)
        behaviour, learning = finish(it, shop, it.start(last, "behaviour"), learning)
        behaviour.stop()
        learning.stop()
        check_all(it, last, "learning")
        assert closed_loop.repeats(it) > 0
        assert closed_loop.totals(it)["unjoinable"] > 0
