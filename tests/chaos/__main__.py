"""``make chaos``: the whole suite on Apache Kafka, and its report."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.chaos.page import write_page
from tests.chaos.suite import run_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="random SIGKILLs (%(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="published at least (%(default)s)")
    parser.add_argument("--others", type=int, default=3, help="times that every other fault is done (%(default)s)")
    parser.add_argument("--report", type=Path, help="gets the findings, JSON")
    parser.add_argument("--page", type=Path, help="gets them for people: docs/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        report = run_all(Path(folder), options.kills, options.events, options.others)
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if options.page:
        write_page(report, options.page)
    differences = ("lost", "duplicated", "differing_rows", "misordered", "committed_ahead", "lag")
    return int(any(found[name] for found in report["faults"] for name in differences))


if __name__ == "__main__":
    sys.exit(main())
