"""``make chaos``: the whole suite, or the suite against its mutants, and its report."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chaos.mutants import run_mutants, survivors
from tests.chaos.page import findings, mutant_table, write_page
from tests.chaos.suite import run_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="random SIGKILLs (%(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="published at least (%(default)s)")
    parser.add_argument("--others", type=int, default=3, help="times that every other fault is done (%(default)s)")
    parser.add_argument("--report", type=Path, help="gets the findings, JSON")
    parser.add_argument("--page", type=Path, help="gets them for people: docs/measurements/chaos.md")
    parser.add_argument("--mutants", action="store_true", help="instead: take each mechanism away, and see what is red")
    parser.add_argument("--only", default="", help="plays only what has this in its name: a fault, or what is missing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        return against_mutants(Path(folder), options) if options.mutants else against_faults(Path(folder), options)


def against_faults(folder: Path, options: argparse.Namespace) -> int:
    """Ends with 1 where a fault has made a difference, or a stage did not come to its end."""
    report = run_all(folder, options.kills, options.events, options.others, options.only)
    publish(report, findings(report), "findings", options)
    differences = ("lost", "duplicated", "differing_rows", "misordered", "committed_ahead", "lag")
    return int(any(found[name] for found in report["faults"] for name in differences) or bool(report["broken_off"]))


def against_mutants(folder: Path, options: argparse.Namespace) -> int:
    """Ends with 1 where a mechanism can be taken away and nothing goes red."""
    found = run_mutants(folder, options.only)
    publish({"mutants": found}, mutant_table(found), "mutants", options)
    return int(bool(survivors(found)))


def publish(report: dict[str, Any], table: str, mark: str, options: argparse.Namespace) -> None:
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if options.page:
        write_page(table, mark, options.page)


if __name__ == "__main__":
    sys.exit(main())
