"""Runs benchmarks and prints what they measured: ``python -m benchmarks [name ...] [--quick] [--report out.json]``.

With ``--peers`` it runs the table of :mod:`benchmarks.table`, and what is named besides.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    choosing,
    delays,
    engine,
    growth,
    items,
    latency,
    learning,
    lift,
    memory,
    offpolicy,
    page,
    pipeline,
    producers,
    rebalancing,
    table,
    transactions,
    tuning,
    users,
    workers,
)

BENCHMARKS: Final[dict[str, Callable[[bool], dict[str, Any]]]] = {
    "choosing": choosing.measure_choosing,
    "engine": engine.measure_throughput,
    "learning": learning.measure_costs,
    "core": pipeline.measure_core,
    "pipeline": pipeline.measure_pipeline,
    "simulator": producers.measure_simulator,
    "replayer": producers.measure_replayer,
    "engine-recovery": engine.measure_recovery,
    "engine-backlog": engine.measure_backlog,
    "lift": lift.measure_lift,
    "offpolicy": offpolicy.measure_offpolicy,
    "users": users.measure_users,
    "items": items.measure_items,
    "memory": memory.measure_memory,
    "growth": growth.measure_growth,
    "workers": workers.measure_workers,
    "latency": latency.measure_latency,
    "transactions": transactions.measure_transactions,
    "tuning": tuning.measure_tuning,
    "rebalancing": rebalancing.measure_rebalancing,
    "delays": delays.measure_delays,
}
"""Name to what measures; it is told whether to be quick, and returns plain values with units in their names."""

LONG: Final = frozenset(
    {
        "delays",
        "growth",
        "items",
        "latency",
        "lift",
        "memory",
        "offpolicy",
        "rebalancing",
        "transactions",
        "tuning",
        "users",
        "workers",
    }
)
"""Run only if they are named."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"one of {', '.join(BENCHMARKS)}; all but {', '.join(sorted(LONG))} if none is given",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; rougher numbers")
    parser.add_argument("--report", type=Path, help="also write the numbers to this file, as JSON")
    parser.add_argument("--peers", action="store_true", help="engine and pipeline beside other engines, in turn")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {sorted(unknown)[0]!r}; there are {', '.join(BENCHMARKS)}")
    report: dict[str, Any] = {"machine": describe_machine()}
    show("machine", report["machine"])
    if arguments.peers:
        measured = table.measure_table(arguments.quick)
        report |= measured
        show("peers", measured)
    for name in arguments.names or [name for name in BENCHMARKS if name not in LONG and not arguments.peers]:
        report[name] = BENCHMARKS[name](arguments.quick)
        show(name, report[name])
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        try:
            for picture in page.draw(report, arguments.report):
                print(f"drawn: {picture}")
        except ImportError:
            print("no picture: install the extra `plots`")


def describe_machine() -> dict[str, Any]:
    """Says what the numbers were measured on; the loop tells how fast the machine was at the time."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "empty_loop_ns_per_pass": loop_ns(),
    }


def loop_ns(passes: int = 5_000_000) -> float:
    begun_ns = time.process_time_ns()
    for _ in range(passes):
        pass
    return round((time.process_time_ns() - begun_ns) / passes, 1)


def show(name: str, numbers: dict[str, Any], indent: str = "") -> None:
    print(f"{indent}{name}", flush=True)
    for key, value in numbers.items():
        if isinstance(value, dict):
            show(key, value, f"{indent}  ")
            continue
        text = f"{value:>14,}" if isinstance(value, int | float) else f"{value!s:>14}"
        print(f"{indent}  {key:32} {text}")


if __name__ == "__main__":
    main()
