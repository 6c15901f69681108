"""Runs faults on a scene, has the oracle judge after each kind, and writes the report."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from subprocess import TimeoutExpired
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from confluent_kafka import KafkaException

from streams.brokers.apache_kafka import ApacheKafka
from tests.chaos import faults
from tests.chaos.oracle import BrokenPremise, Verdict, judge
from tests.chaos.scene import Scene, embedded_scene, scene
from tests.chaos.shop_scene import EVENTS_A_FAULT, OF_WHOLE_WORKERS, judge_shop, shop_scene

BROKER_KILLED: Final = "broker killed and restarted"
LEADER_CHANGE: Final = "leader change, three nodes"

_BEGUN_S: Final = time.monotonic()


class Stage(Protocol):
    """A scene as the suite sees it."""

    codes: list[int]

    def publish(self, events: int) -> None: ...
    def until_recovered(self) -> float: ...
    def until_quiet(self) -> None: ...


StageT = TypeVar("StageT", bound=Stage)


class Trial(NamedTuple, Generic[StageT]):
    """One kind of fault and how often it is done."""

    name: str
    fault: Callable[[StageT], None]
    times: int


def run(
    it: StageT, trials: Sequence[Trial[StageT]], events: int, judged: Callable[[StageT], Verdict]
) -> Iterator[dict[str, Any]]:
    """Does every fault under load, and yields what came of it; ``events`` are spread evenly over all of them."""
    each = events // max(sum(trial.times for trial in trials), 1)
    before: Verdict | None = None
    for trial in trials:
        recoveries: list[float] = []
        for number in range(trial.times):
            it.publish(each)
            trial.fault(it)
            recoveries.append(it.until_recovered())
            tell(f"{trial.name}: {number + 1} of {trial.times}, recovered in {recoveries[-1]:.1f} s")
        it.until_quiet()
        verdict = judged(it)
        found = entry(trial, verdict, before, recoveries)
        tell(json.dumps(found))
        before = verdict
        yield found


def tell(what: str) -> None:
    """Says how far the suite is, and since when it runs."""
    minutes, seconds = divmod(round(time.monotonic() - _BEGUN_S), 60)
    sys.stdout.write(f"{minutes:3}:{seconds:02} {what}\n")
    sys.stdout.flush()


def exactly_once(it: Scene) -> Verdict:
    """Judges outputs as a reader of committed records sees them."""
    return judge(it.servers)


def at_least_once(it: Scene) -> Verdict:
    """Judges them as a reader does who drops repeats by their event_ref."""
    return judge(it.servers, at_least_once=True)


def entry(
    trial: Trial[StageT], verdict: Verdict, before: Verdict | None, recoveries: Sequence[float]
) -> dict[str, Any]:
    """Says what a kind of fault has added to the differences found before it."""

    def added(field: str) -> int:
        return int(getattr(verdict, field)) - (int(getattr(before, field)) if before else 0)

    return {
        "fault": trial.name,
        "count": trial.times,
        "events": added("events"),
        "lost": added("lost"),
        "duplicated": added("duplicated"),
        "differing_rows": added("differing_rows"),
        "misordered": added("misordered"),
        "committed_ahead": verdict.ahead,
        "lag": verdict.lag,
        "recovery_s": round(median(recoveries), 2),
        "recovery_max_s": round(max(recoveries), 2),
    }


def run_all(folder: Path, kills: int, events: int, others: int, only: str = "") -> dict[str, Any]:
    """The whole suite: ``kills`` random kills, every other fault ``others`` times, on four stages one after another.

    Args:
        only: Plays only the faults whose names contain it.
    """
    begun_s = time.monotonic()
    found: list[dict[str, Any]] = []
    codes: list[int] = []
    broken_off: list[str] = []

    def chosen(
        named: Mapping[str, Callable[[StageT], None]], times: Mapping[str, int] | None = None
    ) -> list[Trial[StageT]]:
        return [Trial(name, fault, (times or {}).get(name, others)) for name, fault in named.items() if only in name]

    def play(it: StageT, trials: Sequence[Trial[StageT]], events: int, judged: Callable[[StageT], Verdict]) -> None:
        """Plays a stage; one that does not get on is broken off, and the next one played."""
        try:
            found.extend(run(it, trials, events, judged))
        except (AssertionError, BrokenPremise, TimeoutExpired, KafkaException) as error:
            broken_off.append(f"{type(error).__name__}: {error}"[:1000])
            tell(f"broken off: {broken_off[-1]}")
        codes.extend(it.codes)

    if any(only in name for name in (*faults.OF_WORKERS, BROKER_KILLED, *OF_WHOLE_WORKERS)):
        with ApacheKafka() as kafka:
            # The kills last: every judgement reads the whole log, and most of it is theirs.
            of_workers = {**faults.OF_WORKERS, BROKER_KILLED: faults.broker_killed(kafka)}
            of_workers["SIGKILL"] = of_workers.pop("SIGKILL")
            if trials := chosen(of_workers, {"SIGKILL": kills}):
                with scene(kafka.bootstrap_servers, folder / "one") as it:
                    play(it, trials, events, exactly_once)
            if of_shop := chosen(OF_WHOLE_WORKERS):
                with shop_scene(kafka.bootstrap_servers, folder / "shop") as shop:
                    play(shop, of_shop, EVENTS_A_FAULT * len(of_shop) * others, judge_shop)
    if only in LEADER_CHANGE:
        with ApacheKafka(3) as kafka, scene(kafka.bootstrap_servers, folder / "three", replication=3) as it:
            play(it, chosen({LEADER_CHANGE: faults.leader_changes(kafka)}), 10_000, exactly_once)
    for number, (name, fault_on) in enumerate(faults.OF_EMBEDDED_BROKER.items()):
        if only in name:
            # A broker of its own for each: it forgets what is older than 5 MiB, and the oracle wants the whole log.
            with embedded_scene(folder / f"embedded-{number}") as (it, broker):
                play(it, [Trial(name, fault_on(broker), others)], EVENTS_A_FAULT, at_least_once)
    found.sort(key=lambda each: each["fault"] != "SIGKILL")
    exits = {str(code): codes.count(code) for code in sorted(set(codes))}
    seconds = round(time.monotonic() - begun_s)
    return {"faults": found, "broken_off": broken_off, "exit_codes": exits, "seconds": seconds}
