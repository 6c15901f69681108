"""Tables of a report of the chaos suite: ``python -m tests.chaos.page out.json docs/measurements/chaos.md``."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_COLUMNS: Final = {
    "fault": "fault",
    "count": "times",
    "events": "events",
    "lost": "lost",
    "duplicated": "duplicated",
    "differing_rows": "differing rows",
    "misordered": "out of order",
    "recovery_s": "recovery, median s",
    "recovery_max_s": "longest s",
}


def write_page(table: str, mark: str, page: Path) -> None:
    """Puts a table between the page's two marks of its name; what stands around them stays."""
    line = f"<!-- {mark} -->"
    before, _, after = page.read_text("utf-8").split(line)
    page.write_text(f"{before}{line}\n{table}{line}{after}", "utf-8")


def findings(report: dict[str, Any]) -> str:
    """Lays a report out as a table and a sentence.

    >>> print(findings({"faults": [], "broken_off": []}).splitlines()[-1])
    0 events in all.
    """
    lines = [[_shown(found[name]) for name in _COLUMNS] for found in report["faults"]]
    events = sum(found["events"] for found in report["faults"])
    broken = "".join(f"\nA stage was broken off: {why}\n" for why in report["broken_off"])
    return f"{_table(list(_COLUMNS.values()), lines)}\n\n{events:,} events in all.\n{broken}"


def mutant_table(found: Sequence[Mapping[str, str]]) -> str:
    """Lays the mutation run out: what was taken away, where, and which invariants went red.

    >>> print(
    ...     mutant_table(
    ...         [{"without": "applied offsets", "scenario": "killed", "with it": "nothing wrong", "red": "rows"}]
    ...     )
    ... )
    | without | scenario | with it | red |
    |---|---|---|---|
    | applied offsets | killed | nothing wrong | rows |
    <BLANKLINE>
    """
    return _table(list(found[0]), [list(each.values()) for each in found]) + "\n"


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines)])


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    write_page(findings(json.loads(Path(sys.argv[1]).read_text("utf-8"))), "findings", Path(sys.argv[2]))
