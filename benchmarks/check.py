"""Compares the ratios of a new run with the committed ones: ``python -m benchmarks.check``.

Rates differ from machine to machine, and on one machine from hour to hour; ratios of jobs that took turns differ less.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.table import measure_table

EXPECTED: Final = Path(__file__).with_name("expected.json")
MOST_LOST: Final = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round; for a look, not for a verdict")
    parser.add_argument("--write", action="store_true", help="expect from now on what is measured now")
    arguments = parser.parse_args()
    found = measure_table(arguments.quick)["ratios"]
    if arguments.write:
        EXPECTED.write_text(json.dumps({"ratios": found}, indent=2) + "\n", "utf-8")
        return
    expected = json.loads(EXPECTED.read_text("utf-8"))["ratios"]
    for name, ratio in expected.items():
        print(f"{name:24} {found.get(name, 'not measured')!s:>14}, expected {ratio}")
    if fallen := lost(expected, found):
        sys.exit(f"lost more than {MOST_LOST:.0%}: {', '.join(fallen)}")


def lost(expected: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Names the ratios that fell too far; one that could not be measured (a peer that is not there) has not fallen."""
    return [name for name, ratio in expected.items() if name in found and found[name] < ratio * (1 - MOST_LOST)]


if __name__ == "__main__":
    main()
