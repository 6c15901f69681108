"""Runs faults on a scene, has the oracle judge after each kind, and writes the report."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from streams.ops.apache import ApacheKafka
from tests.chaos import faults
from tests.chaos.oracle import Verdict, judge
from tests.chaos.scene import Scene, embedded_scene, scene
from tests.chaos.shop import EVENTS_A_FAULT, OF_WHOLE_WORKERS, judge_shop, shop_scene


class Stage(Protocol):
    """A scene as the suite sees it."""

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
) -> list[dict[str, Any]]:
    """Does every fault under load; ``events`` are spread evenly over all of them."""
    each = events // max(sum(trial.times for trial in trials), 1)
    found = []
    before: Verdict | None = None
    for trial in trials:
        recoveries = []
        for _ in range(trial.times):
            it.publish(each)
            trial.fault(it)
            recoveries.append(it.until_recovered())
        it.until_quiet()
        verdict = judged(it)
        found.append(entry(trial, verdict, before, recoveries))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
        before = verdict
    return found


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


def run_all(folder: Path, kills: int, events: int, others: int) -> dict[str, Any]:
    """The whole suite: ``kills`` random kills, every other fault ``others`` times, on four stages one after another."""
    begun_s = time.monotonic()
    found: list[dict[str, Any]] = []
    codes: list[int] = []
    with ApacheKafka() as kafka:
        with scene(kafka.bootstrap_servers, folder / "one") as it:
            trials = [Trial(name, fault, others) for name, fault in faults.OF_WORKERS.items() if name != "SIGKILL"]
            trials.append(Trial("broker killed and restarted", faults.broker_killed(kafka), others))
            # The kills last: every judgement reads the whole log, and most of it is theirs.
            found += run(it, [*trials, Trial("SIGKILL", faults.sigkill, kills)], events, exactly_once)
            codes += it.codes
        with shop_scene(kafka.bootstrap_servers, folder / "shop") as shop:
            of_shop = [Trial(name, fault, others) for name, fault in OF_WHOLE_WORKERS.items()]
            found += run(shop, of_shop, EVENTS_A_FAULT * len(of_shop) * others, judge_shop)
            codes += shop.codes
    with ApacheKafka(3) as kafka, scene(kafka.bootstrap_servers, folder / "three", replication=3) as it:
        found += run(
            it, [Trial("leader change, three nodes", faults.leader_changes(kafka), others)], 10_000, exactly_once
        )
        codes += it.codes
    with embedded_scene(folder / "embedded") as (it, broker):
        trials = [Trial(name, fault, others) for name, fault in faults.of_embedded_broker(broker).items()]
        found += run(it, trials, EVENTS_A_FAULT * len(trials), at_least_once)
        codes += it.codes
    found.sort(key=lambda each: each["fault"] != "SIGKILL")
    exits = {str(code): codes.count(code) for code in sorted(set(codes))}
    return {"faults": found, "exit_codes": exits, "seconds": round(time.monotonic() - begun_s)}
