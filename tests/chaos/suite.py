"""Runs faults on a scene, has the oracle judge after each kind, and writes the report."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from streams.ops.apache import ApacheKafka
from tests.chaos import faults
from tests.chaos.oracle import Verdict, judge
from tests.chaos.scene import Fault, Scene, scene


class Trial(NamedTuple):
    """One kind of fault and how often it is done."""

    name: str
    fault: Fault
    times: int


def run(it: Scene, trials: Sequence[Trial], events: int, *, at_least_once: bool = False) -> list[dict[str, Any]]:
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
        verdict = judge(it.servers, at_least_once=at_least_once)
        found.append(entry(trial, verdict, before, recoveries))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
        before = verdict
    return found


def entry(trial: Trial, verdict: Verdict, before: Verdict | None, recoveries: Sequence[float]) -> dict[str, Any]:
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
    """The whole suite: ``kills`` random kills, and every other fault ``others`` times; one broker, then three."""
    begun_s = time.monotonic()
    with ApacheKafka() as kafka, scene(kafka.bootstrap_servers, folder / "one") as it:
        trials = [Trial(name, fault, others) for name, fault in faults.OF_WORKERS.items() if name != "SIGKILL"]
        trials.append(Trial("broker killed and restarted", faults.broker_killed(kafka), others))
        trials.insert(0, Trial("SIGKILL", faults.sigkill, kills))
        found = run(it, trials, events)
        codes = it.codes
    with ApacheKafka(3) as kafka, scene(kafka.bootstrap_servers, folder / "three", replication=3) as it:
        found += run(it, [Trial("leader change, three nodes", faults.leader_changes(kafka), others)], 10_000)
        codes += it.codes
    exits = {str(code): codes.count(code) for code in sorted(set(codes))}
    return {"faults": found, "exit_codes": exits, "seconds": round(time.monotonic() - begun_s)}
