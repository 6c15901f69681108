"""The suite against wrong versions of the system: each mechanism is taken away once, and an invariant must go red.

Every scenario is run with the mechanism, too, and then nothing may be wrong: what goes red is of the mutant, not of the
scenario.
"""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from streams.brokers.apache_kafka import ApacheKafka
from streams.contract.settings import Settings
from tests.broker.on_kafka import OnKafka, on_kafka
from tests.broker.test_transactions import applied, uncommitted_totals, wait_until_stopped
from tests.chaos.oracle import committed_offsets, judge, read
from tests.engine.supervised import PARTITIONS, Process
from tests.system import closed_loop
from tests.system.closed_loop import ClosedLoop
from tests.system.cluster import cluster
from tests.timeouts import scaled, wait_until

STANDING_S: Final = scaled(60.0)
"""Longer than a worker takes to start. Where a mechanism is missing, a group may get no further for good."""
UNTIL_SEEN_S: Final = scaled(2.0)
"""After the last commit, for what a wrong worker may still write."""
EVENTS: Final = 600
PORTIONS: Final = 12


class Mutant(NamedTuple):
    """What is taken away, and where that is missed.

    Attributes:
        run: Plays the scenario with the named mutant, or with none, and names the invariants that were broken.
    """

    name: str
    mechanism: str
    scenario: str
    run: Callable[[str, Path, str], list[str]]


def judged(
    play: Callable[[OnKafka, str], Process], *, at_least_once: bool = False, **settings: str
) -> Callable[[str, Path, str], list[str]]:
    """Has the suite's oracle judge what workers of the counting fold leave after a scenario."""

    def run(servers: str, folder: Path, mutant: str) -> list[str]:
        delivery = '"at-least-once"' if at_least_once else '"auto"'
        with on_kafka(servers, folder, 1, ENGINE__DELIVERY=delivery, **settings) as it:
            publish_with_rubbish(it)
            settle(it, play(it, mutant))
            verdict = judge(servers, at_least_once=at_least_once)
        found = {
            "outputs missing": verdict.lost,
            "outputs twice": verdict.duplicated,
            "rows and totals": verdict.differing_rows,
            "order per key": verdict.misordered,
            "commits ahead of the changelog": verdict.ahead,
            "lag": verdict.lag,
        }
        return [f"{name} ({count})" for name, count in found.items() if count]

    return run


def publish_with_rubbish(it: OnKafka) -> None:
    """Publishes events, and among them what is none: there is something in every batch that no user's row remembers."""
    for _ in range(PORTIONS):
        it.shop.publish(EVENTS // PORTIONS)
        for number in range(PARTITIONS):
            it.shop.publish_raw(b"{not json", number)


def settle(it: OnKafka, worker: Process) -> None:
    """Waits until the group has committed all there is, or gets no further."""
    ends = {number: offset + 1 for number, offset, *_ in read(it.servers, "clickstream")}
    group = Settings().engine.app_id
    committed, moved_s = committed_offsets(it.servers, group), time.monotonic()
    while any(committed[number] < end for number, end in ends.items()):
        if time.monotonic() > moved_s + STANDING_S:
            return
        worker = it.supervisor.keep(worker)
        time.sleep(0.3)
        before, committed = committed, committed_offsets(it.servers, group)
        if committed != before:
            moved_s = time.monotonic()
    time.sleep(UNTIL_SEEN_S)


def killed_among_rows(it: OnKafka, mutant: str) -> Process:
    killed = it.supervisor.start("killed", mutant="killed-among-rows")
    assert killed.wait() == -signal.SIGKILL, killed.log.read_text()
    return it.supervisor.start("other", mutant=mutant)


def killed_before_its_commit_is_known(it: OnKafka, mutant: str) -> Process:
    """The rows are in the changelog, its disk is lost, and the group's offset is behind."""
    it.supervisor.run_until_killed("killed", "store:2")
    return it.supervisor.start("other", mutant=mutant)


def killed_between_two_steps(it: OnKafka, mutant: str) -> Process:
    it.supervisor.run_until_killed("disk", "emit:2", mutant=mutant)
    return it.supervisor.start("disk")


def killed_in_a_commit(it: OnKafka, mutant: str) -> Process:
    killed = it.supervisor.start("killed", mutant="killed-in-commit")
    assert killed.wait() == -signal.SIGKILL, killed.log.read_text()
    return it.supervisor.start("other", mutant=mutant)


def killed_around_a_commit(it: OnKafka, mutant: str) -> Process:
    it.supervisor.run_until_killed("disk", "stored-first:2" if mutant else "store:2", mutant=mutant)
    return it.supervisor.start("disk")


def paused_in_a_commit(it: OnKafka, mutant: str) -> Process:
    paused = it.supervisor.start("paused", mutant=f"{mutant}+paused-in-commit")
    wait_until_stopped(paused.pid)
    other = it.supervisor.start("other")
    wait_until(lambda: applied(uncommitted_totals(it.servers)) >= EVENTS, lambda: uncommitted_totals(it.servers))
    paused.send(signal.SIGCONT)
    time.sleep(UNTIL_SEEN_S)
    return other


def repeated_triggers(servers: str, folder: Path, mutant: str) -> list[str]:
    """Behaviour is killed when its examples and item signals are out and its rows are not, and makes them again."""
    with cluster(folder, HEADRACE_ENGINE__BATCH_RECORDS="60") as it:
        shop = ClosedLoop(it)
        shop.shop(1500)
        it.until_killed("behaviour", "clickstream:emit:4", folds=("behaviour",))
        workers = [
            it.start("behaviour", "behaviour"),
            it.start("others", "items", "learning", program="tests.system.mutated_cli", MUTANT=mutant),
        ]
        workers = it.settle(*workers)
        shop.answer()
        workers = it.settle(*workers)
        shop.close()
        for worker in it.settle(*workers):
            worker.stop()
        return [
            name
            for name, check in {"models": closed_loop.check_learners, "items": closed_loop.check_items}.items()
            if fails(lambda check=check: check(it, "others"))  # type: ignore[misc] # a default binds the loop's variable
        ]


def fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


MUTANTS: Final = (
    Mutant(
        "applied_offset",
        "each row's applied offset",
        "killed with half of a batch's rows logged, at least once",
        judged(killed_among_rows, at_least_once=True),
    ),
    Mutant(
        "partition-row",
        "the partition's row",
        "killed before its offset is committed, and its disk lost",
        judged(killed_before_its_commit_is_known),
    ),
    Mutant(
        "applied_positions",
        "the applied positions of Learning and Relations",
        "source positions come twice, at least once",
        repeated_triggers,
    ),
    Mutant(
        "order",
        "outputs before the changelog",
        "killed between the two steps, at least once",
        judged(killed_between_two_steps, at_least_once=True),
    ),
    Mutant("store-first", "rows to the disk after the commit", "killed around it", judged(killed_around_a_commit)),
    Mutant(
        "fencing",
        "one transactional id a partition",
        "paused in a commit, woken up",
        # As long as Kafka allows, since the broker would fence the paused one by its time limit.
        judged(paused_in_a_commit, ENGINE__TRANSACTION_TIMEOUT_S="900.0"),
    ),
    Mutant("read-committed", "recovery of what is committed", "killed in a commit", judged(killed_in_a_commit)),
)


def run_mutants(folder: Path, only: str = "") -> list[dict[str, str]]:
    """Runs every scenario with its mechanism and without, and says which invariants went red.

    Args:
        only: Runs those whose mechanism has this in its name.
    """
    found = []
    with ApacheKafka() as kafka:
        for mutant in (each for each in MUTANTS if only in each.mechanism):
            sound = mutant.run(kafka.bootstrap_servers, made(folder / mutant.name / "sound"), "")
            broken = mutant.run(kafka.bootstrap_servers, made(folder / mutant.name / "mutant"), mutant.name)
            found.append(
                {
                    "without": mutant.mechanism,
                    "scenario": mutant.scenario,
                    "with it": ", ".join(sound) or "nothing wrong",
                    "red": ", ".join(broken) or "NOTHING",
                }
            )
            sys.stdout.write(f"{found[-1]}\n")
            sys.stdout.flush()
    return found


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def survivors(found: list[dict[str, str]]) -> list[str]:
    """Names the mechanisms that nobody missed, and those whose scenario is red anyway."""
    return [each["without"] for each in found if each["red"] == "NOTHING" or each["with it"] != "nothing wrong"]
