"""Runs benchmarks and prints what they measured: ``python -m benchmarks [name ...] [--quick] [--report out.json]``."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import batches, door, engine, latency, learning, memory, offpolicy, pipeline, table

BENCHMARKS: Final[dict[str, Callable[[bool], dict[str, Any]]]] = {
    "engine": engine.measure_throughput,
    "engine-recovery": engine.measure_recovery,
    "engine-backlog": engine.measure_backlog,
    "core": pipeline.measure_core,
    "batches": batches.measure_batches,
    "pipeline": pipeline.measure_pipeline,
    "learning": learning.measure_costs,
    "latency": latency.measure_latency,
    "door": door.measure_door,
    "memory": memory.measure_memory,
    "offpolicy": offpolicy.measure_offpolicy,
    "peers": table.measure_table,
}
"""Name to function; its argument is whether to be quick, and its result plain values with units in their names."""

LONG: Final = frozenset({"door", "latency", "memory", "offpolicy", "peers"})
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
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {sorted(unknown)[0]!r}; there are {', '.join(BENCHMARKS)}")
    report: dict[str, Any] = {"machine": describe_machine()}
    show("machine", report["machine"])
    for name in arguments.names or [name for name in BENCHMARKS if name not in LONG]:
        report[name] = BENCHMARKS[name](arguments.quick)
        show(name, report[name])
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def describe_machine() -> dict[str, Any]:
    """Describes the machine; the empty loop shows how fast it was at the time."""
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
